"""How a network is written down as a linear model: the switches, each independent of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from networks.errors import InputError

Rows = Literal["compact", "textbook"]
Stable = Literal["eliminate", "keep"]
Relu = Literal["bigm", "indicator", "sos1"]
Query = Literal["each", "maximum"]

ROWS: tuple[str, ...] = get_args(Rows)
STABLE: tuple[str, ...] = get_args(Stable)
RELU: tuple[str, ...] = get_args(Relu)
QUERY: tuple[str, ...] = get_args(Query)

OWN_STABLE = {"compact": "eliminate", "textbook": "keep"}  # what each formulation does unless told otherwise


@dataclass(frozen=True, slots=True)
class Formulation:
    """The switches of `solvers.encode`.

    Attributes
    ----------
    rows : {"compact", "textbook"}
        Which variables and rows stand for a neuron.
    stable : {"eliminate", "keep"} or None
        Whether neurons whose sign the bounds settle are left without a binary, or written down as if it were open.
        Unless given, compact eliminates and textbook keeps them.
    relu : {"bigm", "indicator", "sos1"}
        How an open sign is written down: by a binary and its big-M rows, by a binary and indicator constraints, or
        by a special ordered set of the neuron's positive and negative part. The latter two need compact rows and a
        solver that has such constraints.
    query : {"each", "maximum"}
        One objective a target, or one model of the strongest target: `min over x of f_label - max over t of f_t`.

    Raises
    ------
    InputError
        A value that is not one of these, or a pair that does not go together.
    """

    rows: str = "compact"
    stable: str | None = None
    relu: str = "bigm"
    query: str = "each"

    def __post_init__(self) -> None:
        check_choice("formulation", self.rows, ROWS)
        if self.stable is None:
            object.__setattr__(self, "stable", OWN_STABLE[self.rows])
        for name, value, choices in (
            ("stable", self.stable, STABLE),
            ("relu", self.relu, RELU),
            ("query", self.query, QUERY),
        ):
            check_choice(name, value, choices)
        if self.relu != "bigm" and self.rows != "compact":
            raise InputError(f"relu is {self.relu!r} with {self.rows} rows; expected compact rows, or relu bigm")

    @property
    def eliminates(self) -> bool:
        """Whether stable neurons are left without a binary."""
        return self.stable == "eliminate"


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise InputError unless the value is one of the choices."""
    if value not in choices:
        raise InputError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
