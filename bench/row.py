"""One line of results: everything that reproduces and explains one cell."""

from __future__ import annotations

import json
import math
import re
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import msgspec

from bench.choices import SWITCHES
from bench.outcome import plain
from bench.verdict import Verdict
from networks.files import shown
from solvers.result import Status

if TYPE_CHECKING:
    from bench.progress import SeenRow

SCHEMA_VERSION = 5
MOST = 2**53  # beyond, a column with a gap, of doubles, would hold another integer
Int = Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]
DECIDED = (Verdict.VERIFIED, Verdict.FALSIFIED)
WORDS = {"kind": ("verify", "attack"), "verdict": (*(verdict.value for verdict in Verdict), None)}

# What makes rows comparable, said once: whatever holds rows against each other takes its names from here.
# Rows with the same QUESTION bound the same numbers.
QUESTION = ("network_digest", "dataset", "image", "epsilon", "norm", "clip")
OF_ATTACK = ("images", "target", "steps", "step", "restarts")
LIMITS = ("time_limit_s", "node_limit")
DRAWN = ("seed", "repeat")  # which one of several equal measurements
ASKED = ("kind", *QUESTION, "method", "solver", *SWITCHES, *OF_ATTACK, "threads", *LIMITS, *DRAWN)  # of one cell
TOLERANCES = ("mip_gap", "feasibility_tolerance", "integrality_tolerance")
HARD_LIMITS = ("hard_limit_s", "memory_limit_mb")
# What may explain another answer, or another time, of one method and one solver on one instance.
SETUP = ("solver_version", *SWITCHES, "threads", *LIMITS, *TOLERANCES, *HARD_LIMITS, "device")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A verification of one image, or an attack on many.

    Attributes
    ----------
    schema : int
        Version of this record.
    cell : str
        Content digest of what was asked: settings, network and images. Equal cells are the same measurement.
    kind : str
        `verify` or `attack`.
    network, network_digest : str
    dataset : str
        E.g. `mnist_test`.
    image : int or None
        Index in the data set; None for an attack on many images.
    images : int or None
        How many images, from the first on, an attack took; None for a verification.
    label : int or None
    epsilon : float
    norm : str
        Of the ball: `linf`, `l2` or `l1`.
    clip : list of two floats, or None
    method : str
    solver, solver_version : str or None
    bounds, goal, formulation, stable, relu, query, stop, start : str or None
        See `bench.verify`; None where it means nothing to the method.
    time_limit_s, threads, seed, repeat
        What was asked; `time_limit_s` is for all targets together.
    node_limit : int or None
        Of each MILP's branch and bound.
    mip_gap, feasibility_tolerance, integrality_tolerance : float or None
        What was asked of the solver.
    target : int or None
        The class a targeted attack aims at.
    steps, step, restarts
        Of an attack.
    verdict, evidence, reason : str or None
        See `bench.verdict`; an attack on many images has counts instead.
    targets, lower, upper, status, gap : list, one entry a target
        See `bench.outcome.Outcome`; None stands for an infinite value. Before schema 5 `upper` is as float64 has it.
        `status` is `["error"]` where `error` is set.
    stage : list
        Of `staged`, one entry a target: the stage that decided it, empty where none did.
    tier : str or None
        What the verdict rests on (see `bench.verdict.Tier`): `certified` or `solver` where it is verified, `float32`,
        `float64` or `exact` where it is falsified, by what the witness violates in; None where it is unknown.
    safety : list, one entry a target
        What `lower` must exceed to count as positive; zero where it holds in exact arithmetic.
    claimed : list, one entry a target
        The lower bound as the solver said it, before anything was made of it; None where it said none.
    certified : list, one entry a target
        The lower bound that holds in exact arithmetic; None where there is none.
    violation : float or None
        The largest violation of a row, a bound or of integrality by a solution that the solver gave, recomputed
        outside the solver, in the model's units; None without a solution.
    bounds_used : str or None
        The pre-activation bounds that the answer rests on: `interval`, `linear`, `alpha`, `dual`, `lp` or `milp`.
    witness_double, witness_single : bool or None
        Whether a run in that arithmetic misclassifies the worst input, which is the witness where there is one. Before
        schema 5 `witness_single` stands beside a witness alone.
    falsified, unknown : int or None
        Of an attack's images: misclassified, and not.
    error_rate, images_per_s : float or None
    bounds_s, build_s, solve_s, total_s : float or None
    stage_s : dict
        Of `staged`: seconds of each stage.
    hard_limit_s : float or None
        Wall-clock seconds after which the cell's process is killed.
    overshoot_s : float or None
        What the cell took beyond `time_limit_s`, the limit that the solver was told; zero where it kept it.
    memory_limit_mb, peak_memory_mb : float or None
        Of the cell's process and its children together, resident, in units of 10^6 bytes: the limit, and the most seen.
    enforced : dict of str to str
        Which limits were in force, and how: `time`, `memory`, `cores`, `threads`.
    machine : dict of str to number
        What else went on during the cell: `load`, `swapped_mb`, `throttled_s`, ...; a platform that does not say leaves
        its key out.
    counters : dict
    device : str
        Where the attack or the bounds ran, e.g. `cpu`, `NVIDIA H100`.
    arrays : str or None
        File below the run's folder with the row's arrays (`worst_input`, `trace`; or `adversarial`, `predictions`,
        `margin`).
    log : str or None
        File below the run's folder with the solver's own log.
    error : str or None
        The exception's type and text, where one ended the cell.
    started : str
        UTC, ISO 8601.
    versions : dict
        Of relubench and what it computes with.
    """

    schema: Int = SCHEMA_VERSION
    cell: str
    kind: str
    network: str
    network_digest: str
    dataset: str
    image: Int | None = None
    images: Int | None = None
    label: Int | None = None
    epsilon: float
    norm: str = "linf"
    clip: tuple[float, float] | None = None
    method: str
    solver: str | None = None
    solver_version: str | None = None
    bounds: str | None = None
    goal: str | None = None
    formulation: str | None = None
    stable: str | None = None
    relu: str | None = None
    query: str | None = None
    stop: str | None = None
    start: str | None = None
    time_limit_s: float | None = None
    node_limit: Int | None = None
    threads: Int = 1
    seed: Int = 0
    repeat: Int = 0
    mip_gap: float | None = None
    feasibility_tolerance: float | None = None
    integrality_tolerance: float | None = None
    target: Int | None = None
    steps: Int | None = None
    step: float | None = None
    restarts: Int | None = None
    verdict: str | None = None
    evidence: str | None = None
    reason: str | None = None
    targets: list[Int] = field(default_factory=list)
    lower: list[float | None] = field(default_factory=list)
    upper: list[float | None] = field(default_factory=list)
    status: list[str] = field(default_factory=list)
    gap: list[float | None] = field(default_factory=list)
    stage: list[str] = field(default_factory=list)
    tier: str | None = None
    safety: list[float | None] = field(default_factory=list)
    claimed: list[float | None] = field(default_factory=list)
    certified: list[float | None] = field(default_factory=list)
    violation: float | None = None
    bounds_used: str | None = None
    witness_double: bool | None = None
    witness_single: bool | None = None
    falsified: Int | None = None
    unknown: Int | None = None
    error_rate: float | None = None
    images_per_s: float | None = None
    bounds_s: float | None = None
    build_s: float | None = None
    solve_s: float | None = None
    total_s: float | None = None
    stage_s: dict[str, float] = field(default_factory=dict)
    hard_limit_s: float | None = None
    overshoot_s: float | None = None
    memory_limit_mb: float | None = None
    peak_memory_mb: float | None = None
    enforced: dict[str, str] = field(default_factory=dict)
    machine: dict[str, float] = field(default_factory=dict)
    counters: dict[str, Int | float] = field(default_factory=dict)
    device: str = "cpu"
    arrays: str | None = None
    log: str | None = None
    error: str | None = None
    started: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line, without its newline. Infinities and NaN are null."""
        return json.dumps(plain(asdict(self)), allow_nan=False)

    @classmethod
    def from_json(cls, line: str | bytes) -> Row:
        """A row out of its line, with checked types; keys of later schemas are passed over.

        Raises
        ------
        ValueError
            Not JSON, not a row, or lists of unequal length.
        """
        record = decode(line if isinstance(line, bytes) else _encoded(line))
        return cls(**{item.name: getattr(record, item.name) for item in fields(cls)})


def failed(row: Row | SeenRow) -> bool:
    """Whether the cell has no answer because the harness, its process or its solver failed.

    A limit is no failure. Neither is a solver's error at one target where another one decided the verdict.
    `bench.columns.Columns.failed` says the same of many rows.
    """
    return bool(row.error) or (Status.ERROR in row.status and row.verdict not in DECIDED)


def decode(line: bytes) -> Any:
    """What a line says, as an object with the attributes of `Row`; see `Row.from_json`."""
    try:
        return checked(decoder().decode(line))
    except (msgspec.DecodeError, RecursionError):
        return checked(_decoded_slowly(line))


def checked(record: Any) -> Any:
    """The record, if its lists are of one length; raises ValueError otherwise."""
    lengths = len(record.targets), len(record.lower), len(record.upper)
    if lengths[0] == lengths[1] == lengths[2]:
        return record
    found = "{}, {} and {}".format(*lengths)
    raise ValueError(f"targets, lower and upper have {found} entries; expected as many of each")


@cache
def decoder() -> msgspec.json.Decoder[Any]:
    """Decodes lines of rows of this schema. It is strict: about any other it raises msgspec's DecodeError.

    The record has the fields of `Row` with their types, integers of 53 bits only and words as WORDS has them.
    """
    types = get_type_hints(Row, include_extras=True) | {name: Literal[words] for name, words in WORDS.items()}
    record = msgspec.defstruct(
        "Record",
        [(item.name, types[item.name], _default(item)) for item in fields(Row)],
        kw_only=True,
        gc=False,
        forbid_unknown_fields=True,  # what a skipped key has would not be looked at
    )
    return msgspec.json.Decoder(record)


def _default(item: Field[Any]) -> Any:
    if item.default is not MISSING:
        return item.default
    return msgspec.NODEFAULT if item.default_factory is MISSING else msgspec.field(default_factory=item.default_factory)


def _decoded_slowly(line: bytes) -> Any:
    """A record out of a line that may have keys of later schemas; or what is wrong with it, said clearly."""
    values = strict_json(line)
    if not isinstance(values, dict):
        raise ValueError(f"expected a JSON object, found {type(values).__name__}")
    known = {item.name: values[item.name] for item in fields(Row) if item.name in values}
    if isinstance(known.get("counters"), dict):  # null stands for what was not finite
        known["counters"] = {name: value for name, value in known["counters"].items() if value is not None}
    try:
        return decoder().decode(msgspec.json.encode(known))
    except msgspec.ValidationError as error:
        _check_words(known)
        raise ValueError(_told(str(error))) from error


def _told(message: str) -> str:
    """A message such as "Expected `int`, got `str` - at `$.image`" with the field first: "image: expected ..."."""
    said, _, where = message.partition(" - at `$")
    missing = re.fullmatch(r"Object missing required field `(\w+)`", said)
    field_name = missing[1] if missing else where.strip(".`")
    return f"{field_name}: {'field required' if missing else said[0].lower() + said[1:]}"


def _encoded(line: str) -> bytes:
    try:
        return line.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"not JSON ({error})") from error


def strict_json(text: str | bytes) -> Any:
    """The value of a JSON text with finite numbers, integers of 53 bits and writable text, as tables need them.

    Raises
    ------
    ValueError
        Anything else.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode()
        value = json.loads(decoded, parse_int=_exact, parse_float=_finite, parse_constant=_finite)
        if "\\u" in decoded:  # half a pair of surrogates is no character that could be written again
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except RecursionError as error:
        raise ValueError("not JSON (nested too deeply)") from error
    except ValueError as error:
        raise ValueError(f"not JSON ({error})") from error


def _exact(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > MOST:
        raise ValueError(f"the integer {digits[:25]} does not fit into 53 bits")
    return int(digits)


def _finite(digits: str) -> float:
    if not math.isfinite(float(digits)):
        raise ValueError(f"the number {digits[:25]} is not finite; null stands for such")
    return float(digits)


def _check_words(values: dict[str, Any]) -> None:
    """Raise ValueError for a word that no row has."""
    for name, words in WORDS.items():
        word = values.get(name)
        if isinstance(word, str) and word not in words:
            raise ValueError(f"{name} is {shown(word)}; expected one of {', '.join(map(str, words))}")
