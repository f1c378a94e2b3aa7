"""CBC's process: started so that it dies with this one, watched, and ended after its time."""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from networks.errors import SolverError
from solvers.backend import Limits

STATUS_FILE, LOG_FILE = "status.txt", "log.txt"
GRACE_S = 2.0  # what CBC may take beyond its time limit, or a tenth of the limit, before it is killed
LOG_DIGITS = 8  # of the numbers in CBC's messages
INCUMBENT = re.compile(rb"Cbc\d{4}I Integer solution of (\S+) found")
# Run with `python -c`, the parent's process number and a command; 1 is PR_SET_PDEATHSIG, 9 SIGKILL.
DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the binary left behind."""

    code: int
    elapsed_s: float
    killed: bool  # by us, at the end of its time
    stopped: bool  # by us, at a solution that is good enough
    header: str  # the solution file's first line, empty without one
    log: str


def binary() -> str:
    """The path of the binary. Imports PuLP, which makes it executable."""
    from pulp.apis.coin_api import PULP_CBC_CMD

    return str(PULP_CBC_CMD.pulp_cbc_path)


def run_cbc(folder: Path, words: list[str], limits: Limits) -> Run:
    """Run the binary in `folder`. It dies with this process, with an exception here, or after its time.

    Raises
    ------
    SolverError
        The binary cannot be started.
    """
    path, start = binary(), time.perf_counter()
    with _Log(folder / LOG_FILE, limits.stop_below) as log:
        process = _start([path, *words], folder, log.output)
        log.follow(process)
        killed = _wait(process, limits.time_limit_s + max(GRACE_S, 0.1 * limits.time_limit_s))
    return Run(
        code=process.returncode,
        elapsed_s=time.perf_counter() - start,
        killed=killed,
        stopped=log.stopped,
        header=_first_line(folder / STATUS_FILE),
        log=(folder / LOG_FILE).read_text(errors="replace"),
    )


class _Log:
    """CBC's log file. To end the search at a solution of at most `stop_below`, CBC writes it by way of a terminal.

    CBC has no option for that stop, but it says each solution that it finds, and takes Ctrl-C for the end of its
    search. Into a file or a pipe it would write in blocks of 4 kB, seconds late.
    """

    def __init__(self, path: Path, stop_below: float) -> None:
        self._file = path.open("wb")
        self._stop_below = stop_below
        self._terminal = -1
        self._thread: threading.Thread | None = None
        self.output = self._file.fileno()  # what CBC writes to
        self.stopped = False
        if stop_below > -math.inf and sys.platform != "win32":
            import pty

            self._terminal, self.output = pty.openpty()

    def __enter__(self) -> Self:
        return self

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        """Begin to read what the process writes."""
        if self._terminal >= 0:
            self._thread = threading.Thread(target=self._copy, args=(process,), daemon=True)
            self._thread.start()

    def _copy(self, process: subprocess.Popen[bytes]) -> None:
        os.close(self.output)  # the process has it too: with its end, the terminal ends
        with suppress(OSError), os.fdopen(self._terminal, "rb") as lines:  # Linux's word for the end is an error
            for line in lines:
                self._file.write(line.replace(b"\r\n", b"\n"))
                if not self.stopped and _incumbent(line) <= self._stop_below:
                    self.stopped = True
                    process.send_signal(signal.SIGINT)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread:
            self._thread.join()
        elif self._terminal >= 0:  # nothing was started
            os.close(self._terminal)
            os.close(self.output)
        self._file.close()


def _incumbent(line: bytes) -> float:
    """The objective of the solution that a line of the log tells of, as high as its digits allow; inf without one."""
    found = INCUMBENT.match(line)
    if not found:
        return math.inf
    value = float(found.group(1))
    return value + 0.5 * 10.0 ** (1 - LOG_DIGITS) * abs(value)


def _start(command: list[str], folder: Path, output: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            _dying_with_parent(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes to us alone
        )
    except OSError as error:
        raise cannot_run(command[0], error) from error


def cannot_run(path: str, error: OSError) -> SolverError:
    """What to raise where the binary cannot be started."""
    return SolverError(f"CBC cannot be run: {path}: {error.strerror}; expected the binary that PuLP brings")


def _dying_with_parent(command: list[str]) -> list[str]:
    """The command, under a program that first asks Linux to kill it when its parent dies.

    Not `Popen(preexec_fn=...)`: that forks, which takes 40 ms in a process with torch and may deadlock among threads.
    """
    if sys.platform != "linux":
        return command
    setpriv = shutil.which("setpriv")  # of util-linux; 2 ms, against 20 ms for Python
    if setpriv:
        return [setpriv, "--pdeathsig", "KILL", "--", *command]
    return [sys.executable, "-ISc", DIE_WITH_PARENT, str(os.getpid()), *command]


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the end, or end it after `seconds`; whether that was needed.

    A timer, as `Popen.wait(timeout)` polls, up to 50 ms late.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), end)
    timer.daemon = True
    timer.start()
    try:
        process.wait()
    finally:
        timer.cancel()
        process.kill()
        process.wait()
    return late.is_set()


def _first_line(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open(errors="replace") as file:
        return file.readline().strip()
