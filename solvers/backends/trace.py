"""How a MILP's search went: its best solution and its dual bound over time."""

from __future__ import annotations

import math

import numpy as np

from networks.layers import Array

MOST_LINES = 10_000  # of one search; a change beyond is not kept


class Trace:
    """Grows a line with every change; what a solver takes for infinite is infinite."""

    def __init__(self, infinity: float = math.inf) -> None:
        self._infinity = infinity
        self._lines: list[tuple[float, float, float]] = []

    def add(self, seconds: float, incumbent: float, bound: float) -> None:
        """What the solver says `seconds` after its start: the best solution's objective, and the dual bound."""
        found = self._plain(incumbent, math.inf), self._plain(bound, -math.inf)
        changed = not self._lines or self._lines[-1][1:] != found
        if changed and len(self._lines) < MOST_LINES:
            self._lines.append((seconds, *found))

    def _plain(self, value: float, missing: float) -> float:
        return value if abs(value) < self._infinity else missing

    def array(self) -> Array:
        """Shape (m, 3): seconds, incumbent, bound."""
        return np.array(self._lines, dtype=float).reshape(-1, 3)
