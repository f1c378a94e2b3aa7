"""Ctrl-C during a solve by a library that has no means to stop a solver, as CVXPY and SciPy have none."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

POLL_S = 0.1  # how often a waiting main thread looks for Ctrl-C where a signal does not wake it
STOP_S = 2.0  # how long HiGHS, asked to stop, is waited for


def run_interruptibly(action: Callable[[], Any], *, is_highs: bool = False) -> Any:
    """The action's value or exception; Ctrl-C meanwhile raises KeyboardInterrupt here at once.

    In the main thread a solver's library would hold the signal back until its end. Without a means to stop the solver,
    after Ctrl-C the action goes on in a daemon thread, which ends with the process, and its outcome is dropped. So it
    must change nothing that is used afterwards, and the filters of warnings, which are the process's, are the caller's.
    CVXPY's HiGHS alone (`is_highs`) is stopped: it aborts a process that ends during its run.
    """
    outcome: list[Any] = []
    errors: list[BaseException] = []
    finished = threading.Event()  # not Thread.join: once interrupted, it takes a running thread for a finished one

    def run() -> None:
        try:
            outcome.append(action())
            if is_highs:
                _end_highs_workers()
        except BaseException as error:  # the waiting thread raises it
            errors.append(error)
        finally:
            finished.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while not finished.wait(POLL_S):
            pass
    except KeyboardInterrupt:
        if is_highs and _stop_highs(thread):
            finished.wait(STOP_S)
        raise
    if errors:
        raise errors[0]
    return outcome[0]


def _stop_highs(thread: threading.Thread) -> bool:
    """Ask the HiGHS that runs in a thread to stop; False where none is found.

    CVXPY keeps the running `highspy.Highs` in a local variable, and nowhere else.
    """
    import highspy

    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        highs = frame.f_locals.get("solver")
        if isinstance(highs, highspy.Highs):
            for callback in (highs.cbSimplexInterrupt, highs.cbMipInterrupt, highs.cbIpmInterrupt):
                callback.subscribe(_stop)
            return True
        frame = frame.f_back
    return False


def _stop(event: Any) -> None:
    event.interrupt()


def _end_highs_workers() -> None:
    """End this thread's workers: they keep the number of threads that HiGHS first had, and refuse another."""
    import highspy

    highspy.Highs.resetGlobalScheduler(False)
