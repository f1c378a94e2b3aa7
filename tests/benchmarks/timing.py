"""How the benchmarks compare: in turns, in one thread's CPU seconds, the quietest block of several.

Other programs on the machine only ever add, so a block's best rounds give its ratio, and the lowest ratio counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

BLOCKS = 10


def quietest(rounds: int, enough: float, ours: Callable[[], object], *others: Callable[[], object]) -> list[float]:
    """The seconds of each in the block of the lowest ratio of `ours` to the first of the others.

    No more blocks are taken once a ratio is at most `enough`.
    """
    blocks: list[list[float]] = []
    while len(blocks) < BLOCKS and not (blocks and blocks[-1][0] / blocks[-1][1] <= enough):
        blocks.append(best_in_turns(rounds, ours, *others))
    return min(blocks, key=lambda seconds: seconds[0] / seconds[1])


def best_in_turns(rounds: int, *functions: Callable[[], object]) -> list[float]:
    """The fewest CPU seconds of each; the first round is a warm-up."""
    seconds = np.empty((rounds + 1, len(functions)))
    for row in seconds:
        for index, function in enumerate(functions):
            start = time.thread_time()
            function()
            row[index] = time.thread_time() - start
    return [float(best) for best in seconds[1:].min(axis=0)]
