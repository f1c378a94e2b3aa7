"""Sections as LaTeX: a document that compiles as it stands, whose tables (booktabs) can be taken out one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

import pandas as pd

from bench.report.render import Section, Table, one_line, remarks

LONGEST = 30  # lines of a table that floats; a longer one may break over pages
LONGEST_TEXT, TEXT_WIDTH = 60, "8cm"  # characters of a text that stays on one line; how wide a longer one is set
HEAD = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage[landscape,margin=1.5cm]{geometry}
\usepackage{booktabs,longtable}
\begin{document}
\small
"""
TAIL = "\\end{document}\n"
SPECIAL = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # behind the end of a line, an optional argument
    "]": "{]}",
    "\u00d7": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "±": r"$\pm$",
    "∞": r"$\infty$",
    "ε": r"$\varepsilon$",
    "·": r"$\cdot$",
    "\u2013": "--",
    "\u2014": "---",
}


def to_latex(sections: Iterable[Section], title: str) -> str:
    """A document of the sections' lines and tables; the figures are files beside it."""
    said: set[str] = set()
    blocks = [HEAD, rf"\section*{{{escaped(title)}}}"]
    for section in sections:
        blocks.append(rf"\subsection*{{{escaped(section.heading)}}}")
        blocks += [f"{escaped(line)}\n" for line in section.lines]
        for table in section.tables:
            blocks += [_table(table), *(rf"{{\small {escaped(text)}\par}}" for text in remarks(table, said))]
    return "\n".join([*blocks, TAIL])


def _table(table: Table) -> str:
    cells = table.cells().map(escaped)
    cells.columns = pd.Index([escaped(one_line(str(name))) for name in cells])
    layout = "".join("r" if name in table.formats else _left(cells.iloc[:, i]) for i, name in enumerate(table.frame))
    as_latex = partial(
        cells.style.hide(axis="index").to_latex, hrules=True, column_format=layout, caption=escaped(table.title)
    )
    if len(cells) > LONGEST:
        return str(as_latex(environment="longtable"))
    return str(as_latex(position="ht", position_float="centering"))


def _left(cells: pd.Series[str]) -> str:
    """The layout of a column of text: one of long texts breaks its lines."""
    return f"p{{{TEXT_WIDTH}}}" if cells.str.len().max() > LONGEST_TEXT else "l"


def escaped(text: str) -> str:
    """Text as LaTeX sets it; of what pdfLaTeX has no letter for, its code point."""
    return "".join(_letter(letter) for letter in re.sub(r"\s+", " ", text))


def _letter(letter: str) -> str:
    if letter in SPECIAL:
        return SPECIAL[letter]
    known = " " <= letter <= "~" or "\xc0" <= letter <= "\u017f"
    return letter if known else f"\\texttt{{U+{ord(letter):04X}}}"
