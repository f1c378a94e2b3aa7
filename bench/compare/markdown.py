"""A comparison as Markdown, for a pull request's comment or a job's summary."""

from __future__ import annotations

from bench.compare.comparison import Comparison, Level
from bench.compare.sections import detail_sections, finding_sections, summary_section
from bench.report.markdown import to_markdown
from bench.report.render import Section

LONGEST = 60_000  # characters: GitHub refuses a comment above 65,536
SHARES = (200, 50, 20, 5, 1)  # how many findings of a level are shown, as far as they fit
CUT = "\n\nThe rest does not fit here: `relubench compare --json` has all of it.\n"


def as_markdown(comparison: Comparison) -> str:
    """The whole comparison; what blocks nothing is folded. At most LONGEST characters."""
    texts = (_text(comparison, most) for most in SHARES)
    fitting = next((text for text in texts if len(text) <= LONGEST), None)
    return fitting if fitting is not None else _cut(to_markdown([summary_section(comparison)], 3))


def _text(comparison: Comparison, most: int) -> str:
    open_sections = [summary_section(comparison), *finding_sections(comparison, Level.FAILURE, most)]
    folded = [
        section for level in (Level.WARNING, Level.NOTICE) for section in finding_sections(comparison, level, most)
    ]
    parts = [to_markdown(open_sections, 3), *map(_folded, [*folded, *detail_sections(comparison, most)])]
    return "\n".join(parts)


def _folded(section: Section) -> str:
    text = to_markdown([section], 4).partition("\n\n")[2]  # its heading is what unfolds it
    return f"<details><summary>{section.heading}</summary>\n\n{text}\n</details>\n"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - len(CUT)] + CUT
