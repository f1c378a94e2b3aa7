"""What a terminal shows of a run: its counts as a table, kept up to date while it goes on."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from bench.console import BAR_WIDTH, errors
from bench.progress import VERDICTS, Counts, Left, Running, Tally, clock, fold, one_line, together, words

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from bench.plan import Planned
    from bench.row import Row

NUMBERS = ("done", *VERDICTS, "failed", "left")
SHORT = {"verified": "ver.", "falsified": "fals.", "unknown": "unk.", "failed": "fail."}  # where there is little room
FEWER, FEWEST = ("done", "failed", "left"), ("done", "left")  # where there is less, and hardly any
BAR_FROM = 60  # characters of width, below which the words say it alone
AROUND = 4  # lines of a terminal for the header, the sum, the bar and the cursor
LEAST_LABEL = 8  # characters of a method's name that are always shown
SCREEN_S = 0.5  # between two looks of a terminal: the runner shares the processors with what it measures
LINE_S, SHARE = 60.0, 0.1  # between two lines of a log: so long, or this share of the cells
MOST_RUNNING = 4  # cells that are named


def table(counts: Counts, now: float, width: int, most: int | None = None) -> Table:
    """The counts line by line and all together, at most `most` lines; fitted to `width` characters."""
    shown, others = fold(counts, len(counts.tallies) if most is None else most)
    rows = [(tally.label, [tally]) for tally in shown]
    if others:
        rows.append((f"{len(others)} others", others))
    if len(rows) > 1:
        rows.append(("all", counts.tallies))
    cells = [(label, _words(counts, tallies, label, now)) for label, tallies in rows]
    columns = _columns(cells, width)
    names = list(columns)
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    room = width - sum(each + 1 for _, each in columns.values())
    made.add_column("method", no_wrap=True, overflow="ellipsis", max_width=max(1, room))
    for header, least in columns.values():
        made.add_column(header, justify="right", no_wrap=True, overflow="ellipsis", min_width=least)
    for label, texts in cells:
        style = "bold" if label == "all" else ""
        made.add_row(Text(label), *(Text(texts[name], _style(name, texts[name])) for name in names), style=style)
    return made


def _words(counts: Counts, tallies: list[Tally], label: str, now: float) -> dict[str, str]:
    return words(together(tallies, label)) | {"left": clock(counts.left(tallies, now))}


def _style(name: str, text: str) -> str:
    return "red" if name == "failed" and text != "0" else ""


def _columns(cells: list[tuple[str, dict[str, str]]], width: int) -> dict[str, tuple[str, int]]:
    """The columns that there is room for, each with its header, in full or in short, and its width."""
    columns: dict[str, tuple[str, int]] = {}
    for names, short in ((NUMBERS, {}), (NUMBERS, SHORT), (FEWER, SHORT), (FEWEST, SHORT)):
        headers = {name: short.get(name, name) for name in names}
        columns = {
            name: (header, max(len(header), *(len(texts[name]) for _, texts in cells)))
            for name, header in headers.items()
        }
        label = LEAST_LABEL if short else max(len(label) for label, _ in cells)
        if label + sum(least + 1 for _, least in columns.values()) <= width:
            break
    return columns


def running_lines(cells: Collection[Running], now: float, most: int = MOST_RUNNING) -> list[str]:
    """What is being measured, and how long by now; at most so many cells, and how many more there are."""
    lines = [f"now {_since(running, now)}: {running.what}" for running in [*cells][:most]]
    return [*lines, f"and {len(cells) - most} more"] if len(cells) > most else lines


def _since(running: Running, now: float) -> str:
    return f"{max(0.0, now - running.since):.0f} s"


class Display(ABC):
    """What the user sees of a run while it goes on; the first `end` leaves the whole table.

    Parameters
    ----------
    counts : Counts
    """

    pace_s = LINE_S

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.began = self._looked = time.time()
        self._ended = False

    def start(self) -> None:
        """Show it for the first time."""
        self.show(self.began)

    def on_start(self, planned: Planned) -> None:
        """A cell begins."""
        from bench.outline import line_of
        from bench.runlog import in_words

        self.counts.begin(planned.digest, Running(line_of(planned), in_words(planned.cell), time.time()))

    def on_row(self, row: Row) -> None:
        """A cell has ended; what failed or was killed is told above the table."""
        from bench.limits import killed_past
        from bench.row import failed

        self.counts.add(row)
        what = " ".join(part for part in (row.network, row.method, row.solver) if part)
        if failed(row):
            errors.print(f"failed: {what}: {row.error or row.evidence}")
        elif killed_past(row):
            errors.print(f"{row.evidence}: {what}")

    def on_look(self) -> None:
        """Called some twenty times a second: shows what has changed, at its own pace."""
        now = time.time()
        if self.is_due(now):
            self._looked = now
            self.show(now)

    def is_due(self, now: float) -> bool:
        """Whether it is time to show it again."""
        return not 0 <= now - self._looked < self.pace_s  # a clock that was set back is no reason to wait

    @abstractmethod
    def show(self, now: float) -> None:
        """Show how far it is."""

    def end(self) -> None:
        """Print the whole table, once."""
        if not self._ended:
            self._ended = True
            errors.print(table(self.counts, time.time(), errors.width))


class _Screen(Display):
    """A table that stays where it is, for a terminal."""

    pace_s = SCREEN_S

    def __init__(self, counts: Counts, name: str) -> None:
        from rich.live import Live

        super().__init__(counts)
        self.name = name
        self._live = Live(console=errors, auto_refresh=False, transient=True)

    def start(self) -> None:
        self._live.start()
        super().start()

    def show(self, now: float) -> None:
        self._live.update(_Whole(self, now), refresh=True)

    def end(self) -> None:
        self._live.stop()
        super().end()


class _Whole:
    """The table, the bar and what is being measured, fitted to the terminal as it is now."""

    def __init__(self, screen: _Screen, now: float) -> None:
        self._screen, self._now = screen, now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = console.size
        counts = self._screen.counts
        cells = running_lines(counts.running.values(), self._now)[: max(0, height - AROUND - 1)]
        below = [Text(line, no_wrap=True, overflow="ellipsis") for line in cells]
        room = height - len(below) - AROUND
        if room > 0:
            yield table(counts, self._now, width, room)
        yield self._bar(width)
        yield from below

    def _bar(self, width: int) -> RenderableType:
        from rich.progress_bar import ProgressBar

        counts = self._screen.counts
        total = together(counts.tallies, self._screen.name)
        cells, done = total.cells or 0, total.counts["done"]
        so_far, left = _clock(self._now - self._screen.began), clock(counts.left(counts.tallies, self._now))
        text = f"{_percent(done, cells)}, {so_far} so far, {left} left"
        line = Table.grid(padding=(0, 1, 0, 0))
        parts: list[RenderableType] = [Text(total.label), ProgressBar(max(1, cells), done, BAR_WIDTH), Text(text)]
        shown = parts if width >= BAR_FROM else parts[2:]
        for _ in shown:
            line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_row(*shown)
        return line


class _Lines(Display):
    """A line now and then, for a file or a job's log."""

    def __init__(self, counts: Counts) -> None:
        super().__init__(counts)
        self._shown = together(counts.tallies, "all").counts["done"]

    def is_due(self, now: float) -> bool:
        total = together(self.counts.tallies, "all")
        return super().is_due(now) or total.counts["done"] - self._shown >= SHARE * (total.cells or 1)

    def show(self, now: float) -> None:
        self._shown = together(self.counts.tallies, "all").counts["done"]
        errors.print("; ".join([one_line(self.counts, now), *running_lines(self.counts.running.values(), now, 1)]))


@contextlib.contextmanager
def displayed(counts: Counts, name: str) -> Iterator[Display]:
    """Show `counts` on stderr while the run of the suite `name` goes on."""
    to_a_terminal = errors.file.isatty() and not errors.is_dumb_terminal
    display = _Screen(counts, name) if to_a_terminal else _Lines(counts)
    display.start()
    try:
        yield display
    finally:
        display.end()


def _percent(done: int, cells: int) -> str:
    return f"{done / cells:.0%}".replace("%", " %") if cells else "-"


def _clock(seconds: float) -> str:
    return clock(Left(max(0.0, seconds)))
