"""The conformance kit itself: what it sees, and that no back-end takes it down."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from networks.errors import SolverError, SolverNotInstalledError, UnknownSolverError
from solvers import registry
from solvers.backend import Limits, SolverOptions
from solvers.backends.gurobi_ import Gurobi
from solvers.backends.highs_ import Highs, HighsSession
from solvers.conformance.candidate import Candidate
from solvers.conformance.checks import CHECKS
from solvers.conformance.kit import CheckResult, check_backend, run_check
from solvers.linear_model import LinearModel
from solvers.result import SolveResult, Status
from tests.conftest import RunCommand
from tests.plugins import install_plugin

Lie = Callable[[SolveResult, LinearModel], SolveResult]


def names_of(results: list[CheckResult], outcome: str) -> set[str]:
    return {result.name for result in results if result.outcome == outcome}


def failures(backend: Highs | Gurobi, *names: str) -> set[str]:
    """Which of the checks of these names fail."""
    candidate = Candidate("liar", backend)
    return names_of([run_check(check, candidate) for check in CHECKS if check.name in names], "failed")


class Liar(Highs):
    """HiGHS, whose answers are told otherwise."""

    def __init__(self, lie: Lie) -> None:
        super().__init__()
        self.lie = lie

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> LyingSession:
        return LyingSession(model, options or SolverOptions(), self)


class LyingSession(HighsSession):
    backend: Liar

    def _solve(self, limits: Limits) -> SolveResult:
        return self.backend.lie(super()._solve(limits), self.model)


def instead_of(before: Status, after: Status, bound: float | None = None) -> Lie:
    """Another status, and if need be the bound that goes with it."""

    def lie(result: SolveResult, model: LinearModel) -> SolveResult:
        if result.status is not before:
            return result
        return replace(result, status=after, dual_bound=result.dual_bound if bound is None else bound)

    return lie


def incumbent_for_a_bound(result: SolveResult, model: LinearModel) -> SolveResult:
    return replace(result, dual_bound=result.objective) if result.x is not None else result


def duals_turned_round(result: SolveResult, model: LinearModel) -> SolveResult:
    return result if result.row_duals is None else replace(result, row_duals=-result.row_duals)


def without_offset(result: SolveResult, model: LinearModel) -> SolveResult:
    return replace(result, objective=result.objective - model.offset, dual_bound=result.dual_bound - model.offset)


def not_whole(result: SolveResult, model: LinearModel) -> SolveResult:
    if result.x is None or not model.is_mip:
        return result
    x = result.x + 1e-4 * model.integer
    return replace(result, x=x, objective=model.objective(x), dual_bound=-math.inf)


def without_words(result: SolveResult, model: LinearModel) -> SolveResult:
    return replace(result, raw_status="", message="")


@pytest.mark.parametrize(
    ("lie", "caught"),
    [
        (
            instead_of(Status.TIME_LIMIT, Status.OPTIMAL),
            {"a nanosecond for a hard MILP", "half a second for a hard MILP"},
        ),
        (instead_of(Status.TARGET_REACHED, Status.OPTIMAL), {"around the optimum", "at a good solution"}),
        (instead_of(Status.TARGET_REACHED, Status.INFEASIBLE, math.inf), {"around the optimum", "at a good bound"}),
        (instead_of(Status.UNBOUNDED, Status.INFEASIBLE, math.inf), {"unbounded", "unbounded without rows"}),
        (instead_of(Status.INFEASIBLE, Status.UNBOUNDED, -math.inf), {"infeasible rows", "crossed row sides"}),
        (instead_of(Status.INFEASIBLE, Status.OPTIMAL), {"infeasible rows", "infeasible relaxation"}),
        (incumbent_for_a_bound, {"half a second for a hard MILP"}),
        (
            duals_turned_round,
            {"signs of the row duals", "row duals prove the optimum", "row duals are slopes"},
        ),
        (without_offset, {"offset", "no objective", "an LP"}),
        (not_whole, {"knapsack", "relu", "mixed"}),
        (without_words, {"upper row"}),
    ],
    ids=lambda case: getattr(case, "__name__", None),
)
def test_a_lie_fails_the_check_that_asks_for_it(lie: Lie, caught: set[str]) -> None:
    assert failures(Liar(lie), *caught) == caught
    assert failures(Liar(lambda result, model: result), *caught) == set()


class Forgetful(HighsSession):
    def _change_objective(self, c: object, offset: float) -> None:
        """The old one stays."""


class Careless(Highs):
    """HiGHS with other options than those it is given, or with a session that forgets."""

    def __init__(self, session: type[HighsSession] = HighsSession, **options: float) -> None:
        super().__init__()
        self.session, self.options = session, options

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> HighsSession:
        return self.session(model, replace(options or SolverOptions(), **self.options), self)  # type: ignore[arg-type]


class LooseGurobi(Gurobi):
    def load(self, model: LinearModel, options: SolverOptions | None = None) -> object:  # type: ignore[override]
        return super().load(model, replace(options or SolverOptions(), integrality_tolerance=1e-5))


def test_an_objective_that_does_not_change_is_seen() -> None:
    assert failures(Careless(Forgetful), "an LP", "a MILP") == {"an LP", "a MILP"}


def test_a_gap_of_a_solver_s_own_default_is_seen() -> None:
    assert failures(Careless(mip_gap=1e-4), "near ties") == {"near ties"}


@pytest.mark.skipif(not Gurobi.installed(), reason=f"gurobi is not installed: {Gurobi.install}")
def test_leakage_through_a_big_m_is_seen() -> None:
    assert failures(LooseGurobi(), "no leakage through a big-M") == {"no leakage through a big-M"}


def test_a_back_end_is_held_to_what_it_claims() -> None:
    boaster = Highs()
    boaster.capabilities = replace(Highs.capabilities, work=True, sos1=True)
    told = {"what the result of an LP has", "what the result of a MILP has"}
    assert failures(boaster, *told, "SOS1 constraints") == {*told, "SOS1 constraints"}


def test_what_the_capabilities_exclude_is_skipped_with_its_reason() -> None:
    (check,) = (check for check in CHECKS if check.name == "SOS1 constraints")
    result = run_check(check, Candidate("highs", Highs()))
    assert (result.outcome, result.detail) == ("skipped", "no sos1 among its capabilities")


PLUGIN = """
import os, time
from dataclasses import replace
from solvers.backend import SolverOptions
from solvers.backends.highs_ import Highs, HighsSession
from solvers.result import SolveResult, Status

class WildSession(HighsSession):
    def _solve(self, limits):
        print('hello')
        if self.model.offset == -10.5:
            time.sleep(60)
        if self.model.A.nnz and self.model.A.data.max() == 1e6:
            os._exit(7)
        if self.model.row_count == 3:
            os.kill(os.getpid(), 9)
        if self.model.offset == 2 and not self.model.c.any():
            raise ZeroDivisionError("in the\\nsolver")
        return super()._solve(limits)

class DeafSession(HighsSession):
    def _solve(self, limits):
        try:
            return super()._solve(limits)
        except KeyboardInterrupt:
            return SolveResult(Status.INTERRUPTED, raw_status="interrupted")

class Deaf(Highs):
    name = "deaf"

    def load(self, model, options=None):
        return DeafSession(model, options or SolverOptions(), self)

class Wild(Highs):
    name = "wild"
    capabilities = replace(Highs.capabilities, mip=False, stop=False, start=False)

    def load(self, model, options=None):
        return WildSession(model, options or SolverOptions(), self)

class Dead(Highs):
    def __init__(self, variant=""):
        os._exit(3)

class Broken(Highs):
    def __init__(self, variant=""):
        raise KeyError("licence")
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "relubench_wild.py").write_text(PLUGIN)
    install_plugin(
        tmp_path,
        wild="relubench_wild:Wild",
        deaf="relubench_wild:Deaf",
        dead="relubench_wild:Dead",
        broken="relubench_wild:Broken",
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("plugin")
def test_a_back_end_that_hangs_dies_or_raises_fails_its_checks_and_the_kit_goes_on(
    relubench: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("solvers.conformance.kit.ANSWER_S", 4.0)
    ended = relubench("solvers", "--check", "wild", "--json")
    told = json.loads(ended.out)
    details = {check["name"]: check["detail"] for check in told["checks"] if check["outcome"] == "failed"}
    assert ended.code == 3
    assert details["offset"] == "no answer within 4 s"
    assert details["big coefficients"] == "the process died with exit code 7"
    assert details["several rows"] == "the process died of SIGKILL"
    assert details["no objective"] == "raised ZeroDivisionError: in the solver"
    assert details["prints nothing"].startswith("printed 'hello")
    assert {"upper row", "free row", "an LP", "row duals are slopes"}.isdisjoint(details)
    assert told["failed"] == len(details)
    assert told["passed"] + told["failed"] + told["skipped"] == len(CHECKS) == len(told["checks"])


@pytest.mark.usefixtures("plugin")
def test_a_back_end_that_makes_a_status_of_ctrl_c_fails() -> None:
    (check,) = (check for check in CHECKS if check.group == "interruption")
    result = run_check(check, Candidate("deaf", registry.get("deaf")))
    assert result.outcome == "failed"
    assert "['ended as interrupted', 'usable']" in result.detail


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("name", "reason"), [("dead", "the process died with exit code 3"), ("broken", "KeyError: 'licence'")]
)
def test_a_back_end_that_cannot_be_opened_is_an_error(name: str, reason: str) -> None:
    with pytest.raises(SolverError, match=f"solver '{name}' cannot be opened: {reason}"):
        list(check_backend(name))


def test_a_solver_that_is_not_known_or_not_there_is_an_error() -> None:
    with pytest.raises(UnknownSolverError, match="'nosuch' is not known"):
        list(check_backend("nosuch"))
    assert issubclass(SolverNotInstalledError, SolverError)  # which the command line turns into exit code 2
