"""Verdicts by `staged` against the textbook's MILP with interval bounds, on the same instances."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

from bench import Verdict, verify
from bench.outcome import Outcome
from networks.data import test_image as image_of  # not under a name that pytest collects

FULL = "RELUBENCH_FULL_BENCHMARKS" in os.environ
NETWORK, EPSILON = "mnist_small", 0.05
IMAGES = range(5) if FULL else (0, 2, 4)  # the textbook takes an hour for all of the first five
TARGETS = 9
LIMIT_S = 60.0 if FULL else 0.5  # a target, for the textbook; what it would take beyond only makes the ratio larger
LEAST_SPEEDUP = {"highs": 50.0, "gurobi": 10.0}


def ask(images: Iterable[int], method: str, solver: str, **switches: Any) -> list[Outcome]:
    return [
        verify(NETWORK, *image_of(image), EPSILON, method, solver, time_limit_s=TARGETS * LIMIT_S, **switches)
        for image in images
    ]


@pytest.mark.slow
@pytest.mark.parametrize("solver", list(LEAST_SPEEDUP))
def test_staged_with_highs_outruns_the_textbook_with_the_same_verdicts(
    solver: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(IMAGES[:1], "staged", "highs")  # loads what is loaded once
    staged = ask(IMAGES, "staged", "highs")
    textbook = ask(IMAGES, "milp", solver, bounds="interval", formulation="textbook")
    assert all(outcome.verdict is not Verdict.UNKNOWN for outcome in staged)
    for fast, slow in zip(staged, textbook, strict=True):
        assert slow.verdict in (fast.verdict, Verdict.UNKNOWN)
    seconds = [sum(outcome.total_s for outcome in outcomes) for outcomes in (staged, textbook)]
    decided = sum(outcome.verdict is not Verdict.UNKNOWN for outcome in textbook)
    with capsys.disabled():
        print(
            f"\nstaged, {len(staged)} images at epsilon {EPSILON:g}: {seconds[0]:.2f} s, textbook by {solver} "
            f"({LIMIT_S:g} s a target, {decided} decided): {seconds[1]:.1f} s, {seconds[1] / seconds[0]:.0f}x"
        )
    assert seconds[1] >= LEAST_SPEEDUP[solver] * seconds[0]
