"""Single cells for a page: which of them, and each with its row, the end of its log and the command that asks it again.

A page has a size that it keeps to: what went wrong, what figures point at and what stayed open is taken first, then an
even sample of the rest.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.arrays import arrays_of_row
from bench.outcome import plain
from bench.report.frame import CONTRADICTED, Run, answers_margins
from bench.report.labels import joined, with_setup
from bench.report.rerun import rerun
from bench.report.tables import OF_ATTACK
from bench.row import Row
from networks.errors import InputError
from networks.files import check_regular

MOST_CELLS = 4_000  # what a browser lists at once; each costs half a millisecond
BLOCK = 50  # cells that are packed together: opening one unpacks so many
LOG_BYTES = 8_000  # of the end of a log
DIGEST = 12  # characters that tell a cell's digest apart
SIGN = "> 0"  # a bound that was only to show a sign, and whose size says no more than that
WRONG = (CONTRADICTED, "failed")  # the outcomes that a reader will want to look into


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells as text to be embedded: base64 of gzip of JSON.

    Attributes
    ----------
    index : str
        `columns`, the names, and `lines`, a list of values for each cell.
    blocks : tuple of str
        Lists of BLOCK cells, in the same order: `row`, `command`, `notes`, `log` and `log_note`.
    notes : tuple of str
        Which cells were left out.
    """

    index: str
    blocks: tuple[str, ...]
    notes: tuple[str, ...]


def embedded_cells(run: Run, budget: int, named: Collection[str] = ()) -> Cells:
    """As many cells of a run as fit into `budget` characters, those that figures have `named` before most others.

    Raises
    ------
    InputError
        The run's rows cannot be read any more.
    """
    order = chosen(run.rows, MOST_CELLS, named)
    names, lines = _index(run, order)
    budget -= len(packed(lines))
    blocks: list[str] = []
    for start in range(0, len(order), BLOCK):
        block = packed([_cell(run, int(row)) for row in order[start : start + BLOCK]])
        budget -= len(block)
        if budget < 0:
            break
        blocks.append(block)
    kept = min(len(order), BLOCK * len(blocks))
    index = packed({"columns": names, "lines": lines[:kept]})
    return Cells(index, tuple(blocks), tuple(_left_out(run, kept)))


def chosen(rows: pd.DataFrame, most: int, named: Collection[str] = ()) -> NDArray[np.intp]:
    """The positions of at most so many rows, in the order in which they are taken.

    First what went wrong, then the cells whose digests begin with one of `named`, then what stayed open, then all
    others; an even sample of the last of these that has no room.
    """
    outcomes = _outcomes(rows)
    wanted = rows["cell"].astype(str).str[:DIGEST].isin([*named])
    ranks = np.select([outcomes.isin(WRONG), wanted, outcomes.eq("unknown")], [0, 1, 2], default=3)
    taken = np.empty(0, dtype=np.intp)
    for rank in range(4):
        taken = np.concatenate([taken, _evenly(np.flatnonzero(ranks == rank), most - len(taken))])
    return taken


def _evenly(positions: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    if len(positions) <= most:
        return positions
    return positions[np.linspace(0, len(positions) - 1, most).astype(int)] if most else positions[:0]


def _left_out(run: Run, kept: int) -> Iterator[str]:
    missing = len(run.rows) - kept
    if missing:
        yield (
            f"{kept:,} of {len(run.rows):,} cells are here, so that this page stays small: those that are "
            "contradicted or failed, that figures point at or that stayed unknown, and an even sample of the others. "
            f"{missing:,} are only in rows.csv and rows.parquet; every figure and table counts all of them."
        )


def _index(run: Run, order: NDArray[np.intp]) -> tuple[list[str], list[list[Any]]]:
    """The columns of the list of cells, and its lines."""
    rows = run.rows.iloc[order]
    plain = ["kind", "network", "image", "epsilon", "method", "solver"]
    frame = rows[["run", *plain] if len(run.folders) > 1 else plain].astype(object)
    frame["setup"] = _setups(rows)
    frame["outcome"] = _outcomes(rows).fillna("attack")
    frame["reason"] = rows["reason"]
    for name, column in {"seconds": "total_s", "lower": "lower_min", "upper": "upper_min"}.items():
        frame[name] = rows[column].map(_rounded).astype(object)
    frame["lower"] = frame["lower"].mask(~answers_margins(rows) & rows["lower_min"].gt(0), SIGN)
    frame["cell"] = rows["cell"].astype(str).str[:DIGEST]
    values = frame.astype(object)
    return [str(name) for name in frame], values.where(values.notna(), None).to_numpy().tolist()


def _outcomes(rows: pd.DataFrame) -> pd.Series[str]:
    """Of verifications their outcome; of attacks only whether they failed."""
    outcomes: pd.Series[str] = rows["outcome"].astype(object).mask(rows["failed"] & rows["outcome"].isna(), "failed")
    return outcomes


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _setups(rows: pd.DataFrame) -> pd.Series[str]:
    """What tables call these rows."""
    attacks = rows["kind"].eq("attack")
    of_attacks = rows.loc[attacks, "method"].astype(str) + joined(rows[attacks], OF_ATTACK)
    of_networks = [with_setup(part)["setup"] for _, part in rows[~attacks].groupby("network_digest", observed=True)]
    setups: pd.Series[str] = pd.concat([of_attacks, *of_networks]).reindex(rows.index)
    return setups


def _cell(run: Run, position: int) -> dict[str, Any]:
    text, folder = run.raw(position), run.folder_of(position)
    row = plain(asdict(Row.from_json(text)))  # a line need not have what is as it mostly is
    again = rerun(row, _asked_images(folder, row))
    log, note = log_of(folder, row["log"])
    return {"row": row | json.loads(text), "command": again.command, "notes": again.notes, "log": log, "log_note": note}


def _asked_images(folder: Path, row: dict[str, Any]) -> int | None:
    """How many images a targeted attack was to choose from, by the last that it took; None where that is not there."""
    if row["kind"] != "attack" or row["target"] is None or row["arrays"] is None:
        return None
    try:
        (indices,) = arrays_of_row(folder, row["arrays"], ("indices",))
        return int(indices.max()) + 1
    except (InputError, ValueError):
        return None


def log_of(folder: Path, name: str | None) -> tuple[str, str]:
    """The end of a row's log, and what there is to say of it."""
    if name is None:
        return "", "This row has no log of its own: no solver wrote one."
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return "", f"The row's log {name} lies outside the run's folder and is not shown."
        check_regular(path)
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LOG_BYTES))
            text = _whole_lines(file.read(LOG_BYTES), size).decode(errors="replace")
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        return "", f"The log {name} cannot be read: {getattr(error, 'strerror', None) or error}."
    cut = f"The last {LOG_BYTES:,} of {size:,} bytes of {name} in the run's folder."
    return text, cut if size > LOG_BYTES else f"The whole of {name} in the run's folder."


def _whole_lines(end: bytes, size: int) -> bytes:
    """The end of a file of `size` bytes without the line that it begins in the midst of."""
    return end if len(end) == size else end[end.find(b"\n") + 1 :]


def packed(value: Any) -> str:
    """JSON, compressed, as text that a browser unpacks without a library."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()
