"""Every check of the table over one back-end, which may hang or crash as it likes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass, replace
from typing import Any, Literal

from pebble import ProcessExpired, ProcessPool

from networks.errors import RelubenchError, SolverError
from solvers import registry
from solvers.conformance.candidate import Candidate, Check, NotConformingError
from solvers.conformance.checks import CHECKS

ANSWER_S = 90.0  # after which a check is given up; those with a process of their own wait half of it for that
Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check came to.

    Attributes
    ----------
    group, name : str
    outcome : str
        passed, failed or skipped.
    detail : str
        What is wrong, why it was skipped, or a remark; one line.
    seconds : float
    """

    group: str
    name: str
    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0


def check_backend(name: str) -> Iterator[CheckResult]:
    """The results of all checks over the back-end `name`, one after another, from a process that may die or hang.

    A back-end is held to what its capabilities say: what they exclude is skipped.

    Raises
    ------
    UnknownSolverError, SolverNotInstalledError
        There is no such back-end here.
    SolverError
        It cannot be opened.
    """
    # Not forked: a solver's threads, and locks of the caller's, would be there or not as it happens.
    context: Any = multiprocessing.get_context("spawn")
    pool = ProcessPool(max_workers=1, initializer=_fall_silent, context=context)
    try:
        failure = _ask(pool, _find, name)[1]
        if failure:
            raise SolverError(f"solver {name!r} cannot be opened: {failure}")
        for number in range(len(CHECKS)):
            yield _result(pool, name, number)
    finally:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


def run_check(check: Check, candidate: Candidate) -> CheckResult:
    """The result of one check, in this process. What a back-end raises fails the check, whatever it is."""
    result = CheckResult(check.group, check.name, "passed")
    if check.needs and not getattr(candidate.backend.capabilities, check.needs):
        return replace(result, outcome="skipped", detail=f"no {check.needs} among its capabilities")
    begin = time.perf_counter()
    outcome: Outcome = "passed"
    try:
        detail = check.run(candidate) or ""
    except NotConformingError as error:
        outcome, detail = "failed", str(error)
    except Exception as error:
        outcome, detail = "failed", f"raised {type(error).__name__}: {error}"
    return replace(result, outcome=outcome, detail=" ".join(detail.split()), seconds=time.perf_counter() - begin)


def _result(pool: ProcessPool, name: str, number: int) -> CheckResult:
    check, begin = CHECKS[number], time.perf_counter()
    answer, failure = _ask(pool, _run_numbered, name, number)
    if isinstance(answer, CheckResult):
        return answer
    return CheckResult(check.group, check.name, "failed", failure, time.perf_counter() - begin)


def _ask(pool: ProcessPool, function: Callable[..., Any], *arguments: object) -> tuple[Any, str]:
    """What the function returns in the pool's process, and why it returned nothing."""
    try:
        return pool.schedule(function, args=arguments, timeout=ANSWER_S).result(), ""
    except LateError:
        return None, f"no answer within {ANSWER_S:g} s"
    except ProcessExpired as error:
        return None, f"the process died {_how(error.exitcode)}"


def _how(exit_code: int) -> str:
    if exit_code < 0 and -exit_code in set(signal.Signals):
        return f"of {signal.Signals(-exit_code).name}"
    return f"with exit code {exit_code}"


def _find(name: str) -> None:
    try:
        registry.get(name)
    except RelubenchError:
        raise
    except Exception as error:  # an outside back-end may raise anything
        raise SolverError(f"solver {name!r} cannot be opened: {type(error).__name__}: {error}") from error


def _run_numbered(name: str, number: int) -> CheckResult:
    return run_check(CHECKS[number], Candidate(name, registry.get(name)))


def _fall_silent() -> None:
    """What a solver prints is not the kit's output: a check of its own asks for it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):
        os.dup2(nowhere, output)
