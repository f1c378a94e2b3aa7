"""Runs a check over many malformed inputs: counted, each within a time, and shown when it fails.

`RELUBENCH_FUZZ_EXAMPLES=N` makes N random inputs a test in place of the shares below, other ones each time.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis.errors import HypothesisWarning
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
EXAMPLES = "RELUBENCH_FUZZ_EXAMPLES"
# How many inputs each test makes in an ordinary run: 2,000 together.
SHARES = {
    "suite": 500,
    "layer_list": 400,
    "rows": 350,
    "report": 80,
    "manifest": 120,
    "state_dict": 150,
    "npy": 100,
    "npz": 50,
    "arguments": 250,
}
LONGEST_S = 60.0  # for one input, on a loaded machine; nearly all take milliseconds
LAST_RESORT_S = 150.0  # for code that lets no signal through: the process ends with its stack


class Hang(BaseException):
    """An input took too long. No Exception, which the code under test may catch."""


def hunt(kind: str, inputs: SearchStrategy[T], check: Callable[[T], None]) -> None:
    """Check the share of `kind`; the input that fails is shown as small as Hypothesis finds it."""
    count = int(os.environ.get(EXAMPLES, SHARES[kind]))
    checked = 0

    @settings(
        max_examples=count,
        derandomize=EXAMPLES not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def each(value: T) -> None:
        nonlocal checked
        checked += 1
        within_time(check, value)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)  # of a failing file's length
        each()
    assert checked >= count, f"only {checked} of {count} inputs were made"


def within_time(check: Callable[[T], None], value: T) -> None:
    """Check one input; AssertionError where that takes too long."""
    try:
        with _alarm():
            check(value)
    except Hang as hang:
        raise AssertionError(f"no end after {LONGEST_S:g} s: {value!r:.2000}") from hang


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, _hang)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
    faulthandler.dump_traceback_later(LAST_RESORT_S, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _hang(number: int, frame: FrameType | None) -> NoReturn:
    raise Hang
