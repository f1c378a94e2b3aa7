"""What a report says: sections made once, for whichever way of showing them."""

from __future__ import annotations

from bench.report.files import Content
from bench.report.frame import Run
from bench.report.render import Section

CHAPTER = "chapter"  # the suite that asks the chapter's questions


def content_of(run: Run, *, chapter: bool | None = None, figures: bool = True) -> Content:
    """The report on a run, or on several together.

    Parameters
    ----------
    chapter : bool, optional
        Whether the tutorial chapter's values stand beside ours; unless given, where a suite is that of the chapter.
    figures : bool
        Whether figures are made, which takes longer than all the tables.
    """
    from bench.report.chapter import chapter_sections

    wanted = CHAPTER in run.suite_name.split(", ") if chapter is None else chapter
    return Content(
        f"Report on {', '.join(run.names)}",
        tuple(_sections(run, figures=figures)),
        tuple(chapter_sections(run)) if wanted else (),
    )


def _sections(run: Run, *, figures: bool) -> list[Section]:
    """The answer first, then what it rests on, the figures, the tables, and pictures."""
    from bench.report.figures import figures_sections
    from bench.report.headline import headline_section
    from bench.report.images import image_section
    from bench.report.summary import contradiction_sections, summary_section
    from bench.report.tables import run_sections

    return [
        headline_section(run),
        *contradiction_sections(run),
        summary_section(run),
        *(figures_sections(run) if figures else []),
        *run_sections(run),
        *(image_section(run, chapter=False) if figures else []),
    ]
