"""A run's rows from its file to columns: in blocks, and a large file by several processes.

Memory stays far below the text's size; each line is held to be a row as strictly as by `bench.row.Row.from_json`.
"""

from __future__ import annotations

import gc
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from bench.columns import LISTS, joined, table_of
from bench.machine import usable_cores
from bench.outline import read_outline
from bench.row import checked, decode, decoder
from bench.store import ROWS, is_torn
from networks.errors import InputError
from networks.files import check_regular

BLOCK_BYTES = 2**18  # decoded at once: few enough for its objects to stay in the processor's cache
GROUP = 64  # blocks that are handed on together
SHARE_BYTES = 2**26  # what makes a process of its own worth its start
MOST_PROCESSES = 4
NEWLINE = ord("\n")
TORN = b"torn"  # in a table's metadata: where the lines begin that were passed over
KEY = ["cell", "seed", "repeat"]  # of two rows with the same, the last one counts
Span = tuple[int, int]  # of the file: its first byte, and the first one behind it


def read_table(folder: Path) -> tuple[pa.Table, list[str]]:
    """The rows of a run that count, the last one of each cell, seed and repeat of its present plan, and notes.

    Returns
    -------
    table : Table
        See `bench.columns.table_of`; also `offset` and `length`, the bytes of each row's line in the file.
    notes : list of str

    Raises
    ------
    InputError
        No such folder, no rows in it, or a line that is no row; the message has the file and the line's number.
    """
    table, notes = _counted_once(*_all_rows(folder))
    plan = read_outline(folder)
    if plan is None:
        return table, notes
    kept = table.filter(pc.is_in(table["cell"], pa.array([*plan.cells], pa.large_string())))
    if not kept.num_rows:
        raise InputError(f"{folder / ROWS}: no row of suite {plan.suite} as it was last run; expected one at least")
    return kept, [*notes, *plan.note(table.num_rows - kept.num_rows)]


def _all_rows(folder: Path) -> tuple[pa.Table, list[str]]:
    if not folder.is_dir():
        raise InputError(f"run {folder} is not a folder; expected one that `relubench run` wrote")
    path = folder / ROWS
    try:
        check_regular(path)
        blocks = [block for span in _read_spans(path) for block in span]
    except OSError as error:
        expected = "expected a folder that `relubench run` wrote"
        raise InputError(f"{path} cannot be read: {error.strerror}; {expected}") from error
    notes = [_torn_note(path, offset) for block in blocks for offset in _torn_in(block)]
    if not any(block.num_rows for block in blocks):
        raise InputError(f"{path}: no complete row; expected one at least")
    return joined(blocks), notes


def _read_spans(path: Path) -> list[list[pa.Table]]:
    """The blocks of each span of the file; where there are several, each in a process of its own."""
    spans = _spans(path)
    if len(spans) == 1:
        return [[*_groups(path, spans[0])]]
    with ThreadPoolExecutor(len(spans)) as threads:
        return [*threads.map(lambda span: _groups_by_process(path, span), spans)]


def _spans(path: Path) -> list[Span]:
    """The file in pieces of about the same size that end where lines end."""
    size = path.stat().st_size
    count = max(1, min(len(usable_cores()), MOST_PROCESSES, size // SHARE_BYTES))
    cuts = [0]
    with path.open("rb") as file:
        for index in range(1, count):
            file.seek(max(cuts[-1], size * index // count))
            file.readline()
            cuts.append(file.tell())
    return [*zip(cuts, [*cuts[1:], size], strict=True)]


def _groups_by_process(path: Path, span: Span) -> list[pa.Table]:
    """What `_groups` gives, by a process. Where it fails this one tries itself, and so says what is wrong."""
    command = [sys.executable, "-m", __name__, str(path), *map(str, span)]
    blocks = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            while process.stdout.peek(1):  # type: ignore[attr-defined]  # it is a BufferedReader
                lists, others = (pa.ipc.open_stream(process.stdout).read_all() for _ in range(2))
                blocks.append(_beside(others, lists))
        except pa.ArrowInvalid:  # it ended in the midst of a block
            process.wait()
    return blocks if process.returncode == 0 else [*_groups(path, span)]


def _beside(table: pa.Table, more: pa.Table) -> pa.Table:
    """The columns of both, each in its own memory, with the metadata of the first."""
    names = [*table.column_names, *more.column_names]
    return pa.table([*table.columns, *more.columns], names=names).replace_schema_metadata(table.schema.metadata)


def _groups(path: Path, span: Span) -> Iterator[pa.Table]:
    """The rows of some whole lines of the file, many together.

    Raises
    ------
    InputError
        A line is JSON and no row.
    """
    blocks = _blocks(path, span)
    while group := [*itertools.islice(blocks, GROUP)]:
        torn = [offset for block in group for offset in _torn_in(block)]
        yield joined(group).combine_chunks().replace_schema_metadata({TORN: json.dumps(torn)})


def _blocks(path: Path, span: Span) -> Iterator[pa.Table]:
    """The rows of some whole lines of the file, block by block.

    Raises
    ------
    InputError
        A line is JSON and no row.
    """
    offset, end = span
    with path.open("rb") as file:
        file.seek(offset)
        while offset < end and (block := file.read(min(BLOCK_BYTES, end - offset))):
            block += b"" if block.endswith(b"\n") else file.readline()
            yield _block_table(path, block, offset)
            offset += len(block)


def _block_table(path: Path, block: bytes, start: int) -> pa.Table:
    ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == NEWLINE) + 1
    ends = ends if block.endswith(b"\n") else np.append(ends, len(block))
    offsets = np.concatenate([[0], ends[:-1]])
    records = _all_decoded(block, len(ends))
    whole = np.ones(len(ends), dtype=bool)
    if records is None:
        lines = [block[one:other] for one, other in zip(offsets.tolist(), ends.tolist(), strict=True)]
        whole = np.array([not is_torn(line) for line in lines], dtype=bool)
        records = [
            _decoded(path, line, start + offset)
            for line, offset, kept in zip(lines, offsets.tolist(), whole, strict=True)
            if kept
        ]
    table = table_of(records, offset=start + offsets[whole], length=(ends - offsets)[whole])
    return table.replace_schema_metadata({TORN: json.dumps((start + offsets[~whole]).tolist())})


def _all_decoded(block: bytes, count: int) -> list[Any] | None:
    """The records of a block; None where one of its lines must be looked at by itself."""
    try:
        records = [checked(record) for record in decoder().decode_lines(block)]
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    return records if len(records) == count and block.endswith(b"\n") else None


def _decoded(path: Path, line: bytes, offset: int) -> Any:
    try:
        return decode(line)
    except ValueError as error:
        raise InputError(f"{path}, line {_line_number(path, offset)}: {error}") from error


def _torn_in(block: pa.Table) -> list[int]:
    return list(json.loads(block.schema.metadata[TORN]))


def _torn_note(path: Path, offset: int) -> str:
    return f"{path.name}, line {_line_number(path, offset)}: torn while it was written; passed over"


def _line_number(path: Path, offset: int) -> int:
    """Of the line that begins at a byte, from 1 on."""
    number = 1
    with path.open("rb") as file:
        while offset > 0 and (block := file.read(min(BLOCK_BYTES, offset))):
            number += block.count(b"\n")
            offset -= len(block)
    return number


def _counted_once(table: pa.Table, notes: list[str]) -> tuple[pa.Table, list[str]]:
    """The last of the rows with the same KEY, in the place of the first, and a note where there are such."""
    places = table.select(KEY).to_pandas().groupby(KEY, sort=False).ngroup().to_numpy()
    last = np.zeros(places.max() + 1, dtype=np.int64)
    last[places] = np.arange(len(places))
    if len(last) == len(places):
        return table, notes
    told = f"{len(places) - len(last)} rows were measured again later: the last of each cell counts"
    return table.take(last), [*notes, told]


def _main(path: str, start: str, end: str) -> None:
    """Write the blocks of a span to standard output, each as an Arrow stream."""
    gc.disable()  # millions of lists, and no cycles
    for block in _groups(Path(path), (int(start), int(end))):
        # What is received in one piece is freed in one: lists are needed for a shorter time than the rest.
        for part in (block.select(LISTS), block.drop_columns([*LISTS])):
            with pa.ipc.new_stream(sys.stdout.buffer, part.schema) as stream:
                stream.write_table(part)


if __name__ == "__main__":
    _main(*sys.argv[1:])
