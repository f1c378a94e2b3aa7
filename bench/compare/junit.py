"""A comparison as JUnit XML: a suite a lane, a case a cell."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from bench.compare.comparison import Comparison, Lane, Level

# What XML 1.0 cannot hold, not even escaped.
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(comparison: Comparison) -> str:
    """The lanes that gate: failures, and as skipped what could not be compared."""
    from junitparser import JUnitXml, TestCase, TestSuite

    document: Any = JUnitXml("relubench compare")  # in part untyped
    for lane in (lane for lane in comparison.lanes if lane.code):
        suite = TestSuite(f"relubench compare: {lane.name}")
        suite.add_property("base", _text(comparison.base))
        suite.add_property("head", _text(comparison.head))
        summary = TestCase(f"{lane.values:,} values of {lane.cells:,} cells compared", f"relubench.{lane.name}")
        suite.add_testcases([summary, *_cases(lane)])
        document.add_testsuite(suite)
    document.update_statistics()
    return f'<?xml version="1.0" encoding="utf-8"?>\n{document.tostring().decode()}\n'


def _cases(lane: Lane) -> list[Any]:
    from junitparser import Failure, Skipped, TestCase

    results: dict[str, list[Any]] = defaultdict(list)
    for finding in lane.at(Level.FAILURE):
        failure = Failure(_text(f"{finding.what} {finding.base} -> {finding.head}: {finding.message}"), lane.name)
        results[finding.where].append(failure)
    for item in lane.excluded:
        if item.where not in results:  # a case that failed is not skipped too
            results[item.where].append(Skipped(_text(f"{item.what} not compared: {item.reason}")))
    cases = []
    for where, found in results.items():
        case = TestCase(_text(where), f"relubench.{lane.name}")
        case.result = found
        cases.append(case)
    return cases


def _text(value: str) -> str:
    return NO_XML.sub("?", value)
