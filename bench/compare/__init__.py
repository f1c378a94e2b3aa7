"""The comparison of two runs of one suite, or of two files of micro-benchmarks: what changed, and what may gate.

It reads files and measures nothing. Each lane stands in a module of its own and is a pure function of two lists of
rows; `docs/regression.md` says what each one blocks.
"""

from __future__ import annotations

from bench.compare.comparison import Comparison, Excluded, Finding, Lane, Level, Ratio
from bench.compare.lanes import compare_rows, compare_runs

__all__ = ["Comparison", "Excluded", "Finding", "Lane", "Level", "Ratio", "compare_rows", "compare_runs"]
