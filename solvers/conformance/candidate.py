"""What is checked, and how a check says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from networks.errors import RelubenchError
from solvers.backend import Backend, SolverOptions
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status

TOLERANCE = 1e-6  # ten times the feasibility tolerance asked for


class NotConformingError(RelubenchError):
    """What a back-end did, and what was expected of it. Only the kit sees it: it becomes a failed check."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A back-end and the name by which another process finds it."""

    name: str
    backend: Backend

    def solve(self, model: LinearModel, options: SolverOptions | None = None) -> SolveResult:
        """The answer of a session of its own, which is sound."""
        with self.backend.load(model, options) as session:
            return sound(session.solve(), model)


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """One thing to ask of a back-end.

    Attributes
    ----------
    group, name : str
    run : callable
        Raises where the back-end does not conform; what it returns, if anything, is a remark for the reader.
    needs : str
        The capability without which there is nothing to ask; empty where there always is.
    """

    group: str
    name: str
    run: Callable[[Candidate], str | None]
    needs: str = ""


def expect(fulfilled: bool, said: str, expected: str) -> None:
    """Raise NotConformingError unless it is fulfilled."""
    if not fulfilled:
        raise NotConformingError(f"{said}; expected {expected}")


def expect_status(result: SolveResult, statuses: frozenset[Status] | set[Status], of: str = "") -> None:
    """The result's status is one of these."""
    words = " or ".join(sorted(statuses))
    said = f"{of + ': ' if of else ''}status {result.status} ({result.message or result.raw_status})"
    expect(result.status in statuses, said, words)


def expect_near(name: str, value: float, expected: float, tolerance: float = TOLERANCE) -> None:
    """The value is within the tolerance, absolute or relative, whichever is more."""
    close = abs(value - expected) <= tolerance * max(1.0, abs(expected))
    expect(close, f"{name} {value:.10g}", f"{expected:.10g}")


def expect_at_most(name: str, value: float, most: float, tolerance: float = TOLERANCE) -> None:
    """The value is at most this, to within the tolerance, absolute or relative, whichever is more."""
    slack = tolerance * max(1.0, abs(most)) if math.isfinite(most) else 0.0
    expect(value <= most + slack, f"{name} {value:.10g}", f"at most {most:.10g}")


def sound(result: SolveResult, model: LinearModel) -> SolveResult:
    """The result itself, after a look at what holds of every one, however the solve ended."""
    expect(bool(result.raw_status or result.message), "neither raw_status nor message", "the solver's own words")
    expect((result.x is None) == math.isnan(result.objective), f"objective {result.objective}", "one if there is an x")
    if result.x is not None:
        violation = model.violation(result.x)
        expect(violation < TOLERANCE, f"x violates the model by {violation:.3g}", f"below {TOLERANCE:g}")
        expect_near("objective", result.objective, model.objective(result.x), 1e-9)
        expect_at_most("dual bound", result.dual_bound, result.objective)
    return result
