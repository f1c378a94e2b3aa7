"""Numbers out of text, as the command line and suites have them: strictly, so that a slip is no other number.

Python itself takes `0_9` for 9 and other scripts' digits for its own; typer takes `7.0` for 7 and `0-9` for -9.
"""

from __future__ import annotations

import re
from fractions import Fraction

WHOLE = re.compile(r"[+-]?[0-9]{1,4000}")  # Python reads no more than 4,300 digits
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|nan)")
RATIO = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?/[0-9]{1,20}(\.[0-9]{1,20})?")
RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
MOST_INDICES = 10_000
FRACTION = "a number, or a fraction such as 8/255"
INDICES = "an index, or several such as 0-9 or 0,3,7-9"


def integer(text: str) -> int:
    """A whole number in decimal digits; ValueError for all else."""
    if not WHOLE.fullmatch(text):
        raise ValueError("expected a whole number")
    return int(text)


def number(text: str) -> float:
    """A decimal number, with or without an exponent, or `inf`, or `nan`; ValueError for all else."""
    if not DECIMAL.fullmatch(text):
        raise ValueError("expected a number")
    return float(text)


def fraction(text: str) -> float:
    """A decimal number, or a ratio of two such as `8/255`; ValueError for all else."""
    return float(text) if DECIMAL.fullmatch(text) else ratio(text)


def ratio(text: str) -> float:
    """A ratio of two decimal numbers such as `8/255`, rounded once; ValueError for all else."""
    above, _, below = text.partition("/")
    if not RATIO.fullmatch(text) or not Fraction(below):
        raise ValueError(f"expected {FRACTION}")
    return float(Fraction(above) / Fraction(below))


def indices(text: str) -> tuple[int, ...]:
    """Indices and ranges of them, both ends meant, such as `0,3,7-9`, each once; ValueError for all else."""
    found: dict[int, None] = {}
    for part in text.split(","):
        ends = RANGE.fullmatch(part)
        if not ends:
            raise ValueError(f"expected {INDICES}")
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if not 0 <= last - first < MOST_INDICES:
            raise ValueError(f"expected {INDICES}, the lower end first and at most {MOST_INDICES:,} of them")
        found.update(dict.fromkeys(range(first, last + 1)))
    return tuple(found)
