"""What can be asked of a verification: every setting that is one of a few words, and to whom it means something."""

from __future__ import annotations

from typing import Literal, get_args

from solvers.formulation import QUERY, RELU, ROWS, STABLE

Method = Literal["interval", "linear", "alpha", "dual", "lp", "milp", "staged"]
Bounds = Literal["linear", "interval", "alpha", "lp", "milp"]
Goal = Literal["margin", "verdict"]
Stop = Literal["row", "cutoff"]
Start = Literal["none", "witness"]

TIGHTENING_SHARE = 0.5  # of the time limit, for bounds by a solver: what is left of the time is the model's
MOST_STEPS = 1_000_000  # of an attack, and restarts; more take days on any network

METHODS: tuple[str, ...] = get_args(Method)
BY_PROPAGATION = ("interval", "linear", "alpha", "dual")  # methods without a solver
BY_MILP = ("milp", "staged")

REPORT_FILES = ("html", "markdown", "latex", "csv", "parquet", "figures")  # what a report can be written as

# The lower slopes in `networks.bounds.linear` of the methods, and the bounds, that have some.
SLOPES = {"linear": "adaptive", "alpha": "optimised", "dual": "parallel"}

# Every switch of a method with a solver, in the order in which tables show them: its values, the usual one first.
SWITCHES: dict[str, tuple[str, ...]] = {
    "bounds": get_args(Bounds),
    "goal": get_args(Goal),
    "formulation": ROWS,
    "stable": STABLE,
    "relu": RELU,
    "query": QUERY,
    "stop": get_args(Stop),
    "start": get_args(Start),
}
OF_A_MILP = ("relu", "query", "stop", "start")  # nothing to an LP
# Linear ones measure best over the zoo (the suite `switches`): a solver's tightening settles hardly a neuron more, for
# many LPs.
DEFAULT_BOUNDS = SWITCHES["bounds"][0]


def applicable(method: str, goal: str) -> tuple[str, ...]:
    """The switches that mean something to the method: `stop` only does where a verdict is the goal."""
    if method in BY_PROPAGATION:
        return ()
    passed_over = {
        *(() if method in BY_MILP else OF_A_MILP),
        *(() if goal_of(method, goal) == "verdict" else ("stop",)),
    }
    return tuple(name for name in SWITCHES if name not in passed_over)


def goal_of(method: str, goal: str) -> str:
    """The goal: `staged` has no other than the verdict."""
    return "verdict" if method == "staged" else goal
