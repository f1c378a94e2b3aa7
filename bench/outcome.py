"""What `verify` answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.methods.answer import no_trace
from bench.verdict import Tier, Verdict
from networks.layers import Array


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One method's answer to one question: a bracket around each worst-case margin, and what it cost.

    It is about all real inputs of the l-infinity ball, and the network in real arithmetic over its stored weights. A
    tie proves nothing: it leaves a question UNKNOWN. A run in float32 or float64 may differ: see `witness_double`.

    Attributes
    ----------
    verdict : Verdict
    evidence : str
        What carries the verdict, or why there is none.
    tier : Tier or None
        What the verdict rests on; None where there is none.
    reason : str or None
        Why there is no verdict, in a few words: `time limit`, `not decided`, ...
    switches : dict of str to str
        The settings of `bench.choices.SWITCHES` that mean something to the method.
    targets : ndarray, shape (k,), int
    lower, upper : ndarray, shape (k,), float64
        `lower <= min over the ball of f_label - f_target <= upper`. The upper values are margins of inputs in the ball
        in exact arithmetic, correctly rounded: to nearest, except that only zero becomes zero. The image itself gives
        the first.
    safety : ndarray, shape (k,), float64
        What a lower bound must exceed to count as positive: zero where it holds in exact arithmetic.
    claimed : ndarray, shape (k,), float64
        The solver's own lower bounds, as it said them; -inf where it said none, or where there is no solver.
    certified : ndarray, shape (k,), float64
        Lower bounds that hold in exact arithmetic, whatever the solver's tolerances; -inf where there is none.
    violation : float or None
        The largest violation of a row, a bound or of integrality by a solution that the solver gave, recomputed here;
        None without a solution.
    bounds_used : str
        The pre-activation bounds that the answer rests on: `interval`, `linear`, `alpha`, `dual`, `lp` or `milp`.
    status : tuple of str, length k
        How each target ended: `optimal`, `time_limit`, ... as in `solvers.result.Status`; `bounded` without a solver,
        `skipped` where another target had decided the instance, `falsified` where that was this one (staged).
    stage : tuple of str, length k or 0
        Of `staged`: the stage that decided each target, empty where none did.
    witness : ndarray, shape (*input_shape), or None
        An input inside the ball, exactly, whose smallest margin is negative in exact arithmetic.
    worst_input : ndarray, shape (*input_shape)
        The input of smallest margin that the method came across; the witness where there is one.
    witness_double, witness_single : bool
        Whether a run of the network in that arithmetic misclassifies the worst input, which is the witness where there
        is one (in float32 the nearest one inside the ball). A tie is not wrong; logits that are no numbers are.
    bounds_s, build_s, solve_s, total_s : float
        Wall-clock seconds for the pre-activation bounds, the encoding and loading, the solves, and all in all.
    stage_s : dict of str to float
        Of `staged`: wall-clock seconds of each stage; of a MIP start from a witness: those of the attack.
    counters : dict of str to number
        Of the model (rows, columns, nonzeros, binaries, unstable, active, inactive, and magnitude: the largest term of
        its objectives) and, summed over targets, of the solver's effort (solves, nodes, simplex_iterations, work); a
        solver that does not say leaves its key out.
    trace : ndarray, shape (m, 4), float64
        How the MILPs' searches went, as far as the solver tells, a line with every change: target (-1 for all in one),
        seconds since its search began, the best solution's objective (infinite without one) and the dual bound (-inf
        without one).
    gap : ndarray, shape (k,)
        What the solver achieved, relative to max(1, |objective|); infinite where it has no solution or no bound.
    """

    method: str
    solver: str | None
    switches: dict[str, str]
    label: int
    epsilon: float
    verdict: Verdict
    evidence: str
    tier: Tier | None
    reason: str | None
    targets: NDArray[np.int64]
    lower: Array
    upper: Array
    safety: Array
    claimed: Array
    certified: Array
    violation: float | None
    bounds_used: str
    status: tuple[str, ...]
    stage: tuple[str, ...]
    witness: Array | None
    worst_input: Array
    witness_double: bool
    witness_single: bool
    bounds_s: float
    build_s: float
    solve_s: float
    total_s: float
    gap: Array
    stage_s: dict[str, float] = field(default_factory=dict)
    counters: dict[str, float] = field(default_factory=dict)
    trace: Array = field(default_factory=no_trace)

    @property
    def caveat(self) -> str | None:
        """What runs in floats misclassify that exact arithmetic does not, in one line; None where there is none."""
        runs = {"float64": self.witness_double, "float32": self.witness_single}
        wrong = [name for name, fails in runs.items() if fails]
        if self.verdict is Verdict.FALSIFIED or not wrong:
            return None
        words = f"A {wrong[0]} run misclassifies" if len(wrong) == 1 else "Runs in float64 and in float32 misclassify"
        return f"{words} an input of the ball by rounding; the verdict is about exact arithmetic."

    def to_dict(self, *, arrays: bool = True) -> dict[str, Any]:
        """Plain Python values for JSON: infinities and NaN become None. Without `arrays`, no images and no trace."""
        left_out = () if arrays else ("witness", "worst_input", "trace")
        return {item.name: plain(getattr(self, item.name)) for item in fields(self) if item.name not in left_out}


def plain(value: Any) -> Any:
    """`value` as JSON has it: lists for arrays, None for what is not a finite number."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
