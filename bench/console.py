"""What the commands share towards the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, ConsoleDimensions

if TYPE_CHECKING:
    from rich.progress import Progress

BAR_WIDTH = 12
LEAST_WIDTH = 80  # narrower, rich drops columns of tables; a terminal wraps and loses nothing


class _Console(Console):
    @property  # type: ignore[misc]  # without the setter, which nothing here uses
    def size(self) -> ConsoleDimensions:
        width, height = super().size
        return ConsoleDimensions(max(width, LEAST_WIDTH), height)


# What is printed may hold brackets and colons of its own, as paths do: they are no markup and no emoji.
console = _Console(highlight=False, markup=False, emoji=False)
errors = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def progress_bar() -> Progress:
    """A bar with counts, elapsed and remaining time, on stderr so that stdout keeps the results."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class _Description(TextColumn):
        """Gives way where the terminal is narrow, so that the counts and times do not."""

        def render(self, task: Task) -> Text:
            text = super().render(task)
            text.no_wrap, text.overflow = True, "ellipsis"
            return text

    return Progress(
        _Description("{task.description}", markup=False, table_column=Column()),
        BarColumn(BAR_WIDTH),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=errors,
    )
