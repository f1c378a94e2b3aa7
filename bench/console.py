"""What the commands share towards the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, ConsoleDimensions

if TYPE_CHECKING:
    from rich.progress import Progress

LEAST_WIDTH = 80  # narrower, rich drops columns of tables; a terminal wraps and loses nothing


class _Console(Console):
    @property  # type: ignore[misc]  # without the setter, which nothing here uses
    def size(self) -> ConsoleDimensions:
        width, height = super().size
        return ConsoleDimensions(max(width, LEAST_WIDTH), height)


# What is printed may hold brackets and colons of its own, as paths do: they are no markup and no emoji.
console = _Console(highlight=False, markup=False, emoji=False)
errors = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def progress_bar(extra: str = "") -> Progress:
    """A bar with counts, `extra`, elapsed and remaining time, on stderr so that stdout keeps the results."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *([TextColumn(extra)] if extra else []),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=errors,
    )
