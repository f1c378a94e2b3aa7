"""Suites: TOML files that say what to measure, checked on load, and their expansion into cells."""

from __future__ import annotations

import hashlib
import json
import math
import textwrap
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from bench.choices import BY_MILP, BY_PROPAGATION, MOST_STEPS, Bounds, Goal, Method, Start, Stop, applicable, goal_of
from bench.numerals import ratio
from networks.errors import SuiteError
from networks.files import read_regular, shown
from networks.instance import Clip, check_clip
from solvers.backend import MOST_THREADS
from solvers.formulation import OWN_STABLE, Query, Relu, Rows, Stable


def _ratio(value: Any) -> Any:
    """The number that a suite has as text, `"8/255"`, for which TOML has no form; what is no text stays as it is."""
    try:
        return ratio(value) if isinstance(value, str) else value
    except ValueError:
        raise PydanticCustomError("fraction", 'a number, or a fraction such as "8/255"') from None


def _checked_clip(clip: Clip) -> Clip:
    check_clip(clip)
    return clip


Fraction = BeforeValidator(_ratio)
Epsilon = Annotated[float, Field(ge=0, allow_inf_nan=False), Fraction]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=2**53)]
Index = Annotated[int, Field(ge=0, le=2**53)]
Steps = Annotated[int, Field(ge=1, le=MOST_STEPS)]
Nodes = Annotated[int, Field(ge=1, lt=2**31)]
Threads = Annotated[int, Field(ge=1, le=MOST_THREADS)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]  # what every solver takes
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # it names the run's folder
ClipTable = Annotated[Clip, AfterValidator(_checked_clip)] | Literal[False]
ATTACKS = Literal["fgsm", "pgd", "pgd_linf", "pgd_linf_versus_all", "pgd_l2", "pgd_l1"]
MOST_BYTES = 1_000_000  # of a suite file
MOST_CELLS = 100_000  # at a second each more than a day
NORMS = {"pgd_l2": "l2", "pgd_l1": "l1"}

# What the messages say of keys that take more than one form, and in place of pydantic's own words.
FORMS = {
    "images": "expected how many images, from the first on, or a list of one or more indices",
    "clip": "expected two finite numbers, the lower first, or false",
}
EXPECTED = {
    "too_short": "a list of one or more",
    "tuple_type": "a list",
    "model_type": "a table",
    "string_pattern_mismatch": "letters, digits, '.', '_' and '-'",
}


class _Table(BaseModel):
    """A table of a suite file: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _lists_are_tuples(cls, value: Any) -> Any:
        """Frozen tables hold tuples, and strict ones would not make them of TOML's lists."""
        return tuple(value) if isinstance(value, list) else value


class VerifyTable(_Table):
    """`[[verify]]`: every combination of these is a cell."""

    networks: tuple[str, ...] = Field(min_length=1)
    images: Count | Annotated[tuple[Index, ...], Field(min_length=1)]  # the first so many, or a list of indices
    epsilons: tuple[Epsilon, ...] = Field(min_length=1)
    methods: tuple[Method, ...] = Field(min_length=1)
    solvers: tuple[str, ...] = Field(default=("highs",), min_length=1)
    # The switches of `bench.verify`: each counts only for the methods to which it means something.
    bounds: tuple[Bounds, ...] = Field(default=("linear",), min_length=1)
    goals: tuple[Goal, ...] = Field(default=("margin",), min_length=1)
    formulations: tuple[Rows, ...] = Field(default=("compact",), min_length=1)
    stable: tuple[Stable, ...] | None = Field(default=None, min_length=1)  # each formulation's own unless given
    relus: tuple[Relu, ...] = Field(default=("bigm",), min_length=1)
    queries: tuple[Query, ...] = Field(default=("each",), min_length=1)
    stops: tuple[Stop, ...] = Field(default=("row",), min_length=1)
    starts: tuple[Start, ...] = Field(default=("none",), min_length=1)
    clip: ClipTable = (0.0, 1.0)
    time_limit_s: Positive | None = None
    node_limit: Nodes | None = None  # of each MILP


class AttackTable(_Table):
    """`[[attack]]`: every combination of networks, methods and epsilons is a cell over all images."""

    networks: tuple[str, ...] = Field(min_length=1)
    images: Count  # the first so many test images
    epsilons: tuple[Epsilon, ...] = Field(min_length=1)
    methods: tuple[ATTACKS, ...] = Field(min_length=1)
    steps: Steps = 40
    step: Annotated[Positive, Fraction] | None = None
    restarts: Steps = 1
    target: Index | None = None
    clip: ClipTable = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    keep_images: Index = 0  # how many adversarial images to keep for figures


class Suite(_Table):
    """A whole suite file."""

    name: Name
    description: str = ""
    threads: Threads = 1
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    repeats: Count = 1
    time_limit_s: Positive | None = None
    node_limit: Nodes | None = None
    hard_limit_s: Positive | None = None  # this and the next say how it is run, and are no part of what a cell is
    memory_limit_mb: Positive | None = None
    verify: tuple[VerifyTable, ...] = ()
    attack: tuple[AttackTable, ...] = ()


TABLES: dict[str, type[_Table]] = {"verify": VerifyTable, "attack": AttackTable}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measurement to make. The fields are those of `bench.row.Row`."""

    kind: str
    network: str
    image: int | None = None
    images: int | None = None
    epsilon: float
    norm: str = "linf"
    clip: Clip | None = None
    method: str
    solver: str | None = None
    bounds: str | None = None
    goal: str | None = None
    formulation: str | None = None
    stable: str | None = None
    relu: str | None = None
    query: str | None = None
    stop: str | None = None
    start: str | None = None
    time_limit_s: float | None = None
    node_limit: int | None = None
    threads: int = 1
    seed: int = 0
    repeat: int = 0
    target: int | None = None
    steps: int | None = None
    step: float | None = None
    restarts: int | None = None
    device: str = "cpu"
    keep_images: int = 0

    def describe(self) -> str:
        """A few words for a progress bar."""
        what = (self.network, self.method, self.solver, f"epsilon {self.epsilon:g}")
        return " ".join(part for part in what if part)

    def digest(self, *contents: str) -> str:
        """Content digest of the settings and of `contents`, the digests of the network and of the images."""
        asked = {key: value for key, value in asdict(self).items() if key != "network"}
        if self.node_limit is None:  # a cell without one is what it was before there were any
            del asked["node_limit"]
        return hashlib.sha256(json.dumps([asked, contents], sort_keys=True).encode()).hexdigest()


def shipped() -> dict[str, Path]:
    """The suites that come with the package, by name."""
    folder = resources.files("bench") / "suites"
    return {Path(item.name).stem: Path(str(item)) for item in sorted(folder.iterdir(), key=lambda item: item.name)}


def load_suite(source: str | Path) -> Suite:
    """A shipped suite by its name, or a suite file by its path.

    Raises
    ------
    SuiteError
        No such suite; not TOML; a key or value that does not fit. The message names file, key, value and expectation.
    """
    path = shipped().get(str(source), Path(source))
    try:
        content = tomllib.loads(read_regular(path, MOST_BYTES).decode("utf-8-sig"))  # Windows's editors write a mark
    except FileNotFoundError:
        names = ", ".join(shipped())
        raise SuiteError(f"suite {str(source)!r} is neither a file nor one of {names}") from None
    except OSError as error:
        raise SuiteError(f"suite {path}: cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise SuiteError(f"suite {path}: not in UTF-8, as TOML must be: {error}") from error
    except (ValueError, RecursionError) as error:  # tomllib has its own only for most of them
        raise SuiteError(f"suite {path}: not valid TOML: {error}") from error
    try:
        suite = Suite.model_validate(content)
    except ValidationError as error:
        raise SuiteError(f"suite {path}: {_first_error(error, content)}") from None
    if not suite.verify and not suite.attack:
        raise SuiteError(f"suite {path}: it measures nothing; expected a [[verify]] or an [[attack]] table")
    return suite


def expand(suite: Suite) -> list[Cell]:
    """All cells, each once, in the order in which they run.

    Raises
    ------
    SuiteError
        More than MOST_CELLS, counted before any is made.
    """
    tables: tuple[VerifyTable | AttackTable, ...] = (*suite.attack, *suite.verify)
    count = suite.repeats * sum(_cell_count(suite, table) for table in tables)
    if count > MOST_CELLS:
        raise SuiteError(f"suite {suite.name} comes to {count:,} cells; expected at most {MOST_CELLS:,}")
    cells: dict[Cell, None] = {}
    for repeat in range(suite.repeats):
        for table in suite.attack:
            cells.update(dict.fromkeys(_attack_cells(suite, table, repeat)))
        for verify_table in suite.verify:
            cells.update(dict.fromkeys(_verify_cells(suite, verify_table, repeat)))
    return list(cells)


def _cell_count(suite: Suite, table: VerifyTable | AttackTable) -> int:
    """The cells of one repeat; those that come twice count twice."""
    each = len(table.networks) * len(table.epsilons)
    if isinstance(table, AttackTable):
        return each * len(table.methods) * len(suite.seeds)
    each *= table.images if isinstance(table.images, int) else len(table.images)
    by_solver = len(table.solvers) * len(suite.seeds)
    return each * sum(
        1 if method in BY_PROPAGATION else by_solver * _switch_count(table, method) for method in table.methods
    )


def _switch_count(table: VerifyTable, method: str) -> int:
    return sum(math.prod(map(len, asked.values())) for asked in _choices(table, method))


def _verify_cells(suite: Suite, table: VerifyTable, repeat: int) -> Iterator[Cell]:
    images: Iterable[int] = range(table.images) if isinstance(table.images, int) else table.images
    for network, image, epsilon, method in product(table.networks, images, table.epsilons, table.methods):
        common: dict[str, Any] = {
            "kind": "verify",
            "network": network,
            "image": image,
            "epsilon": epsilon,
            "clip": table.clip or None,
            "method": method,
            "repeat": repeat,
        }
        if method in BY_PROPAGATION:
            yield Cell(**common)
            continue
        for solver, switches, seed in product(table.solvers, _switches(table, method), suite.seeds):
            yield Cell(
                **common,
                **switches,
                solver=solver,
                seed=seed,
                threads=suite.threads,
                time_limit_s=table.time_limit_s or suite.time_limit_s,
                node_limit=(table.node_limit or suite.node_limit) if method in BY_MILP else None,
            )


def _switches(table: VerifyTable, method: str) -> Iterator[dict[str, Any]]:
    """Every combination of the switches that mean something to the method; the same one may come again."""
    for asked in _choices(table, method):
        for values in product(*asked.values()):
            yield dict(zip(asked, values, strict=True))


def _choices(table: VerifyTable, method: str) -> Iterator[dict[str, tuple[str, ...]]]:
    """For each goal and formulation, the values of every switch that means something to the method."""
    for goal, rows in product(dict.fromkeys(table.goals), dict.fromkeys(table.formulations)):
        asked: dict[str, tuple[str, ...]] = {
            "bounds": table.bounds,
            "goal": (goal_of(method, goal),),
            "formulation": (rows,),
            "stable": table.stable or (OWN_STABLE[rows],),
            "relu": table.relus,
            "query": table.queries,
            "stop": table.stops,
            "start": table.starts,
        }
        yield {name: asked[name] for name in applicable(method, goal)}


def _attack_cells(suite: Suite, table: AttackTable, repeat: int) -> Iterator[Cell]:
    for network, method, epsilon, seed in product(table.networks, table.methods, table.epsilons, suite.seeds):
        steps: dict[str, Any] = {"steps": table.steps, "step": table.step, "restarts": table.restarts}
        yield Cell(
            kind="attack",
            network=network,
            images=table.images,
            epsilon=epsilon,
            norm=NORMS.get(method, "linf"),
            clip=table.clip or None,
            method=method,
            seed=seed,
            repeat=repeat,
            target=table.target,
            threads=suite.threads,
            device=table.device,
            keep_images=table.keep_images,
            **({} if method == "fgsm" else steps),
        )


def _first_error(error: ValidationError, content: dict[str, Any]) -> str:
    """The first complaint about `content` in one line, with how many more there are."""
    details = error.errors(include_url=False)
    first = details[0]
    forms = FORMS.get(str(first["loc"][2])) if len(first["loc"]) > 3 else None
    location = first["loc"][:3] if forms else first["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    more = len({item["loc"][: 3 if item["loc"][0] in TABLES else 1] for item in details}) - 1
    rest = f" (and {more} more)" if more else ""
    if first["type"] == "missing" and not forms:
        return f"key {key} is missing{rest}"
    value: Any = content
    for part in location:
        value = value[part]
    return f"key {key} is {textwrap.shorten(shown(value), 60, placeholder='...')}: {forms or _expected(first)}{rest}"


def _expected(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        table = TABLES[error["loc"][0]] if len(error["loc"]) > 1 else Suite
        return f"unknown key; expected one of {', '.join(table.model_fields)}"
    message = error["msg"].replace("Input should be ", "")
    message = message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    return f"expected {EXPECTED.get(error['type'], message)}"
