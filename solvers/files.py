"""Model files: free-format MPS and CPLEX LP, with every double in full."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from networks.layers import Array
from solvers.linear_model import LinearModel, ModelError

CHUNK = 1000  # the text of so many columns or rows is in memory at a time
INTEGER_START = " M 'MARKER' 'INTORG'\n"
INTEGER_END = " M 'MARKER' 'INTEND'\n"
LP_INFINITY = "1e30"  # both HiGHS and CBC take it for infinite on the right-hand side of a row
SIX_BITS = np.frombuffer(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ*+", dtype=np.uint8)


def decimal(values: Array) -> list[str]:
    """Each number in the fewest digits that read back as the same double."""
    return list(map(repr, values.tolist()))


def ieee(values: Array) -> list[str]:
    """Each number as the twelve characters of COIN-OR's `FREEIEEE` files, three for each 16 bits.

    COIN-OR's reader sums decimal digits in floating point: a fifth of all doubles come back with another last bit.
    """
    words = np.ascontiguousarray(values, dtype=">f8").view(">u2").astype(np.uint32)
    digits = np.stack([words & 63, (words >> 6) & 63, words >> 12], axis=-1)
    text: list[str] = SIX_BITS[digits].reshape(-1).view("S12").astype("U12").tolist()
    return text


def write_mps(
    model: LinearModel,
    path: Path,
    numbers: Callable[[Array], list[str]] = decimal,
    columns: Iterable[str] | None = None,
) -> None:
    """Write a free-format MPS file: columns `x0`, `x1`, ..., rows `r0`, `r1`, ..., objective `obj`.

    Every double reads back equal, with one exception: MPS gives a row with two sides as one side and a distance, and
    where no distance yields the other side exactly, that side is off by its last bit. The offset is the negated
    right-hand side of the objective. Free rows are `N` rows, which many readers drop. Special ordered sets stand in the
    section SOS; an indicator constraint is a row after the model's own and a line of the section INDICATORS, as CPLEX
    has it and Gurobi reads it.

    Parameters
    ----------
    model : LinearModel
    path : Path
    numbers : callable
        `decimal`, which every solver reads, or `ieee`, which only COIN-OR's read.
    columns : iterable of str, optional
        What `column_entries(model, numbers)` gave before, if the matrix has not changed.

    Raises
    ------
    ModelError
        A lower bound above its upper bound: MPS takes the distance for its absolute value. Special
        ordered sets or indicator constraints in `ieee` numbers, as COIN-OR solves them wrongly or not at all.
    """
    _refuse_crossed_bounds(model, path)
    if numbers is ieee and (model.sos1.size or model.indicators.size):
        raise ModelError(f"{path}: SOS1 and indicator constraints are written with decimal numbers only")
    entries = column_entries(model, numbers) if columns is None else columns
    indicators, model = model.indicators, _with_indicator_rows(model)
    types, sides, widths = _row_forms(model)
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(f"NAME relubench {'FREEIEEE' if numbers is ieee else 'FREE'}\nROWS\n N obj\n")
        file.writelines(f" {kind} r{i}\n" for i, kind in enumerate(types.tolist()))
        file.write("COLUMNS\n")
        file.writelines(_mps_columns(model, numbers, entries))
        file.write("RHS\n")
        file.writelines(f" RHS obj {value}\n" for value in numbers(np.array([-model.offset])))
        file.writelines(_mps_lines(" RHS r", sides, np.flatnonzero(sides), numbers))
        file.write("RANGES\n")
        file.writelines(_mps_lines(" RNG r", widths, np.flatnonzero(widths), numbers))
        file.write("BOUNDS\n")
        file.writelines(_mps_bounds(model, numbers))
        file.writelines(_mps_sets(model))
        file.writelines(_mps_indicators(indicators, model.row_count))
        file.write("ENDATA\n")


def column_entries(model: LinearModel, numbers: Callable[[Array], list[str]] = decimal) -> Iterator[str]:
    """For each column, the lines of its entries in `A`: what a change of the objective leaves as it is."""
    matrix = _with_indicator_rows(model).A.tocsc()
    for first in range(0, model.column_count, CHUNK):
        starts = matrix.indptr[first : first + CHUNK + 1]
        part = slice(starts[0], starts[-1])
        names = np.repeat(np.arange(first, first + len(starts) - 1), np.diff(starts)).tolist()
        values = numbers(matrix.data[part])
        lines = [f" x{j} r{i} {v}\n" for j, i, v in zip(names, matrix.indices[part].tolist(), values, strict=True)]
        ends = (starts - starts[0]).tolist()
        yield from ("".join(lines[start:end]) for start, end in pairwise(ends))


def write_lp(model: LinearModel, path: Path) -> None:
    """Write a CPLEX LP file: columns `x0`, `x1`, ..., rows `r0`, `r1`, ..., objective `obj`.

    Every double reads back equal. A row with two sides becomes two rows, `r7` and `r7_upper`: readers disagree about
    `-1 <= expression <= 1`. A column `one`, fixed to 1, carries an offset that is not zero: CBC 2.10.3 reads a constant
    in the objective and ignores it. Each term stands on its own line, as readers limit the length of a line. Special
    ordered sets and indicator constraints are written as CPLEX has them and Gurobi reads them.

    Raises
    ------
    ModelError
        A lower bound above its upper bound, or no columns: the format cannot say it.
    """
    _refuse_crossed_bounds(model, path)
    if not model.column_count:
        raise ModelError(f"{path}: the LP format has no form for a model without columns; write MPS")
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write("Minimize\n obj:\n")
        # All columns, zeros too: readers number the columns by their first appearance.
        file.writelines(f" {value:+} x{j}\n" for j, value in enumerate(model.c.tolist()))
        file.write(f" {model.offset:+} one\nSubject To\n" if model.offset else "Subject To\n")
        file.writelines(_lp_rows(model))
        indicators = enumerate(model.indicators.tolist())
        file.writelines(f" i{k}: x{binary} = {value} -> x{zero} = 0\n" for k, (binary, value, zero) in indicators)
        file.write("Bounds\n one = 1\n" if model.offset else "Bounds\n")
        file.writelines(map(_lp_bound, range(model.column_count), model.col_lower.tolist(), model.col_upper.tolist()))
        file.write("General\n" if model.integer.any() else "")
        file.writelines(f" x{j}\n" for j in np.flatnonzero(model.integer))
        file.write("SOS\n" if model.sos1.size else "")
        file.writelines(f" s{k}: S1:: x{a}:1 x{b}:2\n" for k, (a, b) in enumerate(model.sos1.tolist()))
        file.write("End\n")


def _refuse_crossed_bounds(model: LinearModel, path: Path) -> None:
    if model.crossed:
        raise ModelError(f"{path}: {model.crossed}; a model file cannot say it")


def _with_indicator_rows(model: LinearModel) -> LinearModel:
    """The model with a row `x_j = 0` for each indicator constraint."""
    if not model.indicators.size:
        return model
    count, zero = len(model.indicators), model.indicators[:, 2]
    rows = sparse.csr_array((np.ones(count), (np.arange(count), zero)), shape=(count, model.column_count))
    return LinearModel(
        c=model.c,
        A=sparse.vstack([model.A, rows]).tocsr(),
        row_lower=np.append(model.row_lower, np.zeros(count)),
        row_upper=np.append(model.row_upper, np.zeros(count)),
        col_lower=model.col_lower,
        col_upper=model.col_upper,
        integer=model.integer,
        offset=model.offset,
        sos1=model.sos1,
    )


def _row_forms(model: LinearModel) -> tuple[NDArray[np.str_], Array, Array]:
    """For each row its type (E, G, L or N), its right-hand side, and its range or 0."""
    lower, upper = model.row_lower, model.row_upper
    has_lower, has_upper = np.isfinite(lower), np.isfinite(upper)
    ranged = has_lower & has_upper & (lower != upper)
    widths = np.zeros(model.row_count)
    widths[ranged], from_above = _ranges(lower[ranged], upper[ranged])
    types = np.where(has_lower, "G", np.where(has_upper, "L", "N"))
    types[lower == upper] = "E"
    types[ranged] = np.where(from_above, "L", "G")
    sides = np.select([np.isin(types, ["E", "G"]), types == "L"], [lower, upper], 0.0)
    return types, sides, widths


def _ranges(lower: Array, upper: Array) -> tuple[Array, NDArray[np.bool_]]:
    """The width `w` that a reader adds to `lower`, or takes from `upper`, to get the other; and which of the two.

    `upper - lower` is rounded, so `lower + w` may miss `upper`: try its neighbours, and from the other side.
    """
    width = upper - lower
    best, from_above = width.copy(), np.zeros(len(width), dtype=bool)
    found = lower + width == upper
    for trial in (width, np.nextafter(width, 0), np.nextafter(width, np.inf)):
        for above, fits in ((False, lower + trial == upper), (True, upper - trial == lower)):
            new = fits & ~found
            best[new], from_above[new] = trial[new], above
            found |= fits
    return best, from_above


def _mps_columns(model: LinearModel, numbers: Callable[[Array], list[str]], columns: Iterable[str]) -> Iterator[str]:
    inside = False
    parts = zip(model.integer.tolist(), numbers(model.c), columns, strict=True)
    for j, (integer, cost, entries) in enumerate(parts):
        if integer != inside:
            yield INTEGER_START if integer else INTEGER_END
            inside = integer
        yield f" x{j} obj {cost}\n{entries}"  # a zero cost too: it declares a column without entries
    if inside:
        yield INTEGER_END


def _mps_bounds(model: LinearModel, numbers: Callable[[Array], list[str]]) -> Iterator[str]:
    """Every bound but that of a continuous column in [0, inf), the only default that all readers share."""
    lower, upper, integer = model.col_lower, model.col_upper, model.integer
    fixed = lower == upper
    free = np.isinf(lower) & np.isinf(upper)
    rest = ~fixed & ~free
    yield from (f" FR BND x{j}\n" for j in np.flatnonzero(free))
    yield from _mps_lines(" FX BND x", lower, np.flatnonzero(fixed), numbers)
    # Before the upper bounds: a negative one would move a lower bound that is not set yet.
    yield from (f" MI BND x{j}\n" for j in np.flatnonzero(rest & np.isinf(lower)))
    yield from _mps_lines(" LO BND x", lower, np.flatnonzero(rest & np.isfinite(lower) & (lower != 0)), numbers)
    yield from _mps_lines(" UP BND x", upper, np.flatnonzero(rest & np.isfinite(upper)), numbers)
    # Some readers give an integer column without an upper bound the bound 1.
    yield from (f" PL BND x{j}\n" for j in np.flatnonzero(rest & np.isinf(upper) & integer))


def _mps_sets(model: LinearModel) -> Iterator[str]:
    yield "SOS\n" if model.sos1.size else ""
    yield from (f" S1 s{k}\n x{a} 1\n x{b} 2\n" for k, (a, b) in enumerate(model.sos1.tolist()))


def _mps_indicators(indicators: NDArray[np.int64], row_count: int) -> Iterator[str]:
    """When the last rows of the file count; `row_count` is with them."""
    yield "INDICATORS\n" if indicators.size else ""
    first = row_count - len(indicators)
    yield from (f" IF r{first + k} x{binary} {value}\n" for k, (binary, value, _) in enumerate(indicators.tolist()))


def _mps_lines(
    start: str, values: Array, chosen: NDArray[np.intp], numbers: Callable[[Array], list[str]]
) -> Iterator[str]:
    pairs = zip(chosen.tolist(), numbers(values[chosen]), strict=True)
    return (f"{start}{index} {value}\n" for index, value in pairs)


def _lp_rows(model: LinearModel) -> Iterator[str]:
    lower, upper = model.row_lower.tolist(), model.row_upper.tolist()
    for first in range(0, model.row_count, CHUNK):
        starts = model.A.indptr[first : first + CHUNK + 1]
        part = slice(starts[0], starts[-1])
        pairs = zip(model.A.indices[part].tolist(), model.A.data[part].tolist(), strict=True)
        terms = [f" {value:+} x{j}\n" for j, value in pairs]
        ends = (starts - starts[0]).tolist()
        for i, (start, end) in enumerate(pairwise(ends), start=first):
            expression = "".join(terms[start:end]) or " 0 x0\n"
            yield from (f" r{i}{name}:\n{expression} {side}\n" for name, side in _lp_sides(lower[i], upper[i]))


def _lp_sides(lower: float, upper: float) -> list[tuple[str, str]]:
    """The suffix of the row's name and the right-hand side, for each row of the file that makes this one."""
    if lower == upper:
        return [("", f"= {lower!r}")]
    if math.isinf(upper):
        return [("", f">= {lower!r}" if math.isfinite(lower) else f">= -{LP_INFINITY}")]
    below = [("" if math.isinf(lower) else "_upper", f"<= {upper!r}")]
    return below if math.isinf(lower) else [("", f">= {lower!r}"), *below]


def _lp_bound(column: int, lower: float, upper: float) -> str:
    if lower == upper:
        return f" x{column} = {lower!r}\n"
    if math.isinf(lower) and math.isinf(upper):
        return f" x{column} free\n"
    if math.isinf(upper):
        return f" x{column} >= {lower!r}\n"
    return f" {lower!r} <= x{column} <= {upper!r}\n"
