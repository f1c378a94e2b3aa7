"""What a terminal and a file are shown of a run while it goes on, and what its log keeps."""

from __future__ import annotations

import contextlib
import logging
import os
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench.commands import display
from bench.progress import Counts, Line, Running
from bench.runlog import LOG, keeping_log, log
from tests.bench.broken_backends import install
from tests.bench.made_rows import failed, verify_row
from tests.bench.suites import write_suite
from tests.conftest import RunCommand

CELLS = 40


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def shown_on(out: StringIO, monkeypatch: pytest.MonkeyPatch, height: int = 24) -> Console:
    """Have the display write to `out`."""
    console = Console(file=out, width=80, height=height, force_terminal=out.isatty(), highlight=False, soft_wrap=True)
    monkeypatch.setattr(display, "errors", console)
    return console


def many(solvers: int = 20) -> Counts:
    return Counts({Line("verify", "lp", f"s{number}"): CELLS // solvers for number in range(solvers)})


def test_a_file_has_a_line_a_tenth_and_no_escape_code(monkeypatch: pytest.MonkeyPatch) -> None:
    shown_on(out := StringIO(), monkeypatch)
    with display.displayed(counts := many(1), "tiny") as progress:
        for image in range(CELLS):
            progress.on_row(verify_row(image=image, solver="s0", verdict="verified"))
            progress.on_look()
            progress.on_look()
    lines = out.getvalue().splitlines()
    assert "\x1b" not in out.getvalue()
    assert [line.split(" ")[0] for line in lines[:11]] == [f"{done}/{CELLS}" for done in range(0, CELLS + 1, 4)]
    assert lines[11].startswith("method")
    assert len(lines) == 11 + 2  # one method by one solver: no sum
    assert counts.tallies[0].left == 0


def test_a_file_has_a_line_a_minute_where_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    shown_on(out := StringIO(), monkeypatch)
    counts = many()
    counts.begin("c", Running(Line("verify", "lp", "s0"), "mnist_small lp s0", datetime.now(UTC).timestamp() - 61))
    with display.displayed(counts, "tiny") as progress:
        progress.on_look()
        assert out.getvalue().count("\n") == 1
        progress._looked -= 61
        progress.on_look()
        progress.on_look()
        assert out.getvalue().count("\n") == 2
        assert "now 61 s: mnist_small lp s0" in out.getvalue()


@pytest.mark.parametrize("height", [4, 8, 12, 24, 60])
def test_a_terminal_shows_what_it_has_room_for_and_all_at_the_end(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    console = shown_on(out := Terminal(), monkeypatch, height)
    counts = many()
    with display.displayed(counts, "tiny") as progress:
        for number in range(6):
            counts.begin(f"{number}", Running(Line("verify", "lp", "s9"), "mnist_small lp s9", progress.began))
        assert isinstance(progress, display._Screen)
        whole = console.render_lines(display._Whole(progress, progress.began + 3), pad=False)
        progress.on_row(failed(verify_row(solver="s3"), "Oops: it broke"))
        progress._looked -= 61
        progress.on_look()
    text = ["".join(segment.text for segment in line) for line in whole]
    assert len(text) < height
    assert any("0 %, 0:00:03 so far, - left" in line for line in text)
    if height >= 12:
        assert any(line.startswith("lp s9 ") for line in text)  # it is worked on
        assert text[-1].startswith("and 2 more")
    assert "failed: mnist_small lp s3: Oops: it broke" in out.getvalue()
    final = out.getvalue().rpartition("method")[2]
    assert [f"lp s{number} " for number in range(20) if f"lp s{number} " not in final] == []


def test_the_cursor_is_back_where_a_run_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    shown_on(out := Terminal(), monkeypatch)
    with contextlib.suppress(KeyboardInterrupt), display.displayed(many(), "tiny") as progress:
        progress.end()
        raise KeyboardInterrupt
    assert out.getvalue().endswith("\n")
    while_it_went_on, _, afterwards = out.getvalue().rpartition("\x1b[?25h")
    assert "\x1b[?25l" in while_it_went_on
    assert "\x1b[?25l" not in afterwards
    assert afterwards.count("lp s7 ") == 1


def test_the_log_has_a_line_an_event_in_utc_and_is_added_to(tmp_path: Path) -> None:
    for text in ("first", "second\n\x1b[31mred"):
        with keeping_log(tmp_path, pytest.fail):
            log.info("run: %s", text)
    log.error("nobody asked")
    first, second = (tmp_path / LOG).read_text(encoding="utf-8").splitlines()
    time, level, message = first.split(maxsplit=2)
    assert abs(datetime.fromisoformat(time) - datetime.now(UTC)) < timedelta(minutes=1)
    assert time.endswith("+00:00")
    assert (level, message) == ("INFO", "run: first")
    assert second.endswith("run: second\\n\\x1b[31mred")
    assert log.level == logging.NOTSET


def test_a_torn_line_of_the_log_does_not_spoil_the_next(tmp_path: Path) -> None:
    (tmp_path / LOG).write_bytes(b"half a li")
    with keeping_log(tmp_path, pytest.fail):
        log.warning("whole")
    torn, whole = (tmp_path / LOG).read_text(encoding="utf-8").splitlines()
    assert torn == "half a li"
    assert whole.endswith(" WARNING whole")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_costs_the_log_and_is_told_once(tmp_path: Path) -> None:
    (tmp_path / LOG).symlink_to("/dev/full")
    check_it_goes_on(tmp_path, "No space left on device")


def test_a_log_that_cannot_be_is_told_once(tmp_path: Path) -> None:
    (tmp_path / LOG).mkdir()
    check_it_goes_on(tmp_path, "Is a directory")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_log_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOG)
    check_it_goes_on(tmp_path, "a named pipe")


def check_it_goes_on(folder: Path, why: str) -> None:
    told: list[str] = []
    with keeping_log(folder, told.append):
        log.info("first")
        log.info("second")
    (line,) = told
    assert line.startswith(f"{folder / LOG} cannot be written: {why}")
    assert line.endswith("the run goes on without it")


def test_the_log_of_a_run_says_what_ran_how_and_what_came_of_it(
    tmp_path: Path, tiny_network: Path, relubench: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / "plugin"))
    suite = write_suite(tmp_path, tiny_network, methods=["milp", "interval"], solvers=["failing"])
    assert relubench("run", suite, "--no-report", "--out", tmp_path / "run").code == 0
    assert relubench("run", suite, "--no-report", "--out", tmp_path / "run").code == 0
    lines = [line.split(maxsplit=1)[1] for line in (tmp_path / "run" / LOG).read_text(encoding="utf-8").splitlines()]
    run, command, versions, machine, limits, milp, oops, interval, end, counts, again, *_ = lines
    assert run == "INFO    run: suite tiny, 0 cells there, 2 to measure, 1 at a time"
    assert command.startswith("INFO    command: relubench run ")
    assert "versions: python 3" in versions
    assert "machine: cpu " in machine
    assert "limits: memory_limit_mb " in limits
    assert milp.endswith(f"{tiny_network} milp failing epsilon 0.01, image 0")
    assert oops.startswith("ERROR   end ")
    assert oops.endswith("failed: ArithmeticError: no integers today")
    assert interval.endswith("interval epsilon 0.01, image 0")
    assert end.startswith("INFO    end ")
    assert counts.startswith("INFO    run: ended with 2/2 cells")
    assert ", 1 failed, " in counts
    assert again == "INFO    run: suite tiny, 1 cells there, 1 to measure, 1 at a time"
