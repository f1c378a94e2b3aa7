"""What needs a process of its own: what the solver prints, and how it takes Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from solvers.conformance.candidate import Candidate, expect

CHILD = "import sys; from solvers.conformance import child; child.{}(sys.argv[1])"
TAKEN = ["KeyboardInterrupt", "usable"]  # what the child says
DELAY_S = 0.5  # after which the child is in mid-solve
PROMPT_S = 10.0  # within which it has taken Ctrl-C, and solved once more
CHILD_S = 40.0


def silence(candidate: Candidate) -> None:
    """Nothing is printed, on stdout or stderr."""
    ended = subprocess.run(
        _command("solve", candidate.name), env=_environment(), capture_output=True, text=True, timeout=CHILD_S
    )
    expect(ended.returncode == 0, f"a process that solves ended with {ended.returncode}: {ended.stderr[-300:]}", "0")
    expect(not ended.stdout + ended.stderr, f"printed {(ended.stdout + ended.stderr)[:200]!r}", "nothing")


def ctrl_c(candidate: Candidate) -> None:
    """Ctrl-C in mid-solve raises KeyboardInterrupt promptly, and leaves the session usable."""
    command = _command("interrupted", candidate.name)
    with subprocess.Popen(
        command, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            lines, taken_s = _interrupt(process)
        finally:
            process.kill()
    expect(lines[-2:] == TAKEN, f"the process said {lines}", f"{TAKEN}")
    expect(taken_s < PROMPT_S, f"it took {taken_s:.1f} s", f"less than {PROMPT_S:g} s")


def _interrupt(process: subprocess.Popen[str]) -> tuple[list[str], float]:
    """What the process said after Ctrl-C, and the seconds to its end."""
    assert process.stdout is not None  # a pipe
    ready = process.stdout.readline().strip()
    expect(ready == "ready", f"a process that loads a model said {ready!r}", "'ready'")
    time.sleep(DELAY_S)
    start = time.perf_counter()
    process.send_signal(signal.SIGINT)
    try:
        said, _ = process.communicate(timeout=PROMPT_S)
    except subprocess.TimeoutExpired:
        said = f"nothing in {PROMPT_S:g} s"
    return said.splitlines(), time.perf_counter() - start


def _command(function: str, name: str) -> list[str]:
    return [sys.executable, "-c", CHILD.format(function), name]


def _environment() -> dict[str, str]:
    """The environment of this process, with its path: outside back-ends are found by it."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
