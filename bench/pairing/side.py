"""One side as its caller sees it: a process that answers requests, or the one line that says why it does not."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Annotated, Any, Self, TypeVar

import msgspec

from bench.processes import kill_tree
from bench.worker import THREAD_VARIABLES
from networks.errors import InputError, PairingError

DRIVER = Path(__file__).with_name("driver.py")
# These would put other packages before the installation's own, on both sides alike, or run code of the user's.
NOT_HANDED_ON = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
END_S = 5.0  # from the last request to the end of the process
LONGEST_ANSWER = 10_000_000  # characters; a cell of 100,000 targets has fewer
LAST_WORDS = 300  # characters of a side's stderr that go into a message


Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Described(msgspec.Struct, frozen=True):
    """What a side is; see `bench.pairing.driver`."""

    python: str
    executable: str
    folder: str
    versions: dict[str, str]
    source: str
    commit: str | None
    cores: list[int] | None


class Warmed(msgspec.Struct, frozen=True):
    """What a cell's call answers, and the seconds that it takes."""

    seconds: Annotated[float, msgspec.Meta(gt=0)]
    network_digest: str
    solver_version: str | None
    left_out: list[str]
    outcome: dict[str, Any]


class Timing(msgspec.Struct, frozen=True):
    """Seconds of one call: by the clock, of all processors, and by the clock its parts; zero where it has no such."""

    wall_s: Annotated[float, msgspec.Meta(gt=0)]
    cpu_s: Seconds
    bounds_s: Seconds
    build_s: Seconds
    solve_s: Seconds


class Failed(msgspec.Struct, frozen=True):
    """Why a side could not do what it was asked."""

    why: str


Reply = TypeVar("Reply", Described, Warmed, Timing)


class Side:
    """A process of one installation. Close it, or use it as a context manager.

    Parameters
    ----------
    name : str
        `base` or `head`, for messages.
    python : str
        The interpreter: a path, or a command on the path.
    threads : int
        The most that a cell has.

    Raises
    ------
    InputError
        There is no such interpreter.
    """

    def __init__(self, name: str, python: str, threads: int) -> None:
        self.name, self.python = name, python
        self._number = 0
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the side)
        try:
            self._process = _start(name, python, threads, self._stderr)
        except BaseException:
            self._stderr.close()
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        threading.Thread(target=_read, args=(self._process.stdout, self._answers), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(at_once=error is not None)

    def ask(self, reply: type[Reply], within_s: float, **request: Any) -> Reply | Failed:
        """The side's answer to a request.

        Raises
        ------
        PairingError
            It died, does not answer within `within_s` seconds, or answers something else.
        """
        self.send(**request)
        return self.answer(reply, within_s)

    def send(self, **request: Any) -> None:
        """Send a request whose `answer` is fetched later."""
        self._number += 1
        line = json.dumps({"number": self._number, **request}).encode() + b"\n"
        try:
            self._requests.write(line)
            self._requests.flush()
        except OSError as error:  # it is gone
            raise self._error(f"ended with {_ending(self._process)}") from error

    def answer(self, reply: type[Reply], within_s: float) -> Reply | Failed:
        """The answer to the last request; see `ask`."""
        try:
            line = self._answers.get(timeout=within_s)
        except queue.Empty:
            raise self._error(f"gave no answer within {within_s:g} s") from None
        if not line:
            raise self._error(f"ended with {_ending(self._process)}")
        return self._decoded(line, reply)

    def close(self, *, at_once: bool = False) -> None:
        """End the process, and its children with it."""
        try:
            if not at_once and self._process.poll() is None:
                self.send(do="end")
                self._process.wait(END_S)
        except (PairingError, subprocess.TimeoutExpired):
            pass  # it is killed below
        finally:
            if self._process.poll() is None:
                kill_tree(self._process.pid)
            self._process.wait()
            _kill_group(self._process.pid)
            self._stderr.close()
            with contextlib.suppress(OSError):  # what was not sent has no reader any more
                self._requests.close()

    def _decoded(self, line: bytes, reply: type[Reply]) -> Reply | Failed:
        try:
            answer = msgspec.json.decode(line, type=dict[str, Any])
            if answer.get("number") != self._number:
                raise msgspec.ValidationError(f"expected the answer to request {self._number}")
            if why := answer.get("refused") or answer.get("failed"):
                return Failed(str(why))
            return msgspec.convert(answer, reply)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise self._error(f"answered {line[:60]!r}, which is none of its answers: {error}") from error

    def _error(self, what: str) -> PairingError:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        said = f"; its last words: {lines[-1][-LAST_WORDS:]}" if lines else ""
        return PairingError(f"{self.name} ({self.python}) {what}{said}")


def _start(name: str, python: str, threads: int, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    interpreter = shutil.which(python)
    if interpreter is None or Path(interpreter).is_dir():
        raise InputError(f"--{name} is {python}; expected a Python interpreter, such as venv/bin/python")
    environment = {key: value for key, value in os.environ.items() if key not in NOT_HANDED_ON}
    settled = {"PYTHONHASHSEED": "0", **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    try:
        return subprocess.Popen(
            [interpreter, "-P", str(DRIVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment | settled,
            start_new_session=True,  # Ctrl-C is ours to answer, and its children are in one group with it
        )
    except OSError as error:
        raise InputError(f"--{name} is {python}, which cannot be started: {error.strerror}") from error


def _kill_group(leader: int) -> None:
    """Kill what a side that died by itself has left: its children have its group, and no parent to be found by."""
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left
            os.killpg(leader, signal.SIGKILL)


def _read(answers: IO[bytes], into: queue.SimpleQueue[bytes]) -> None:
    """Hand on lines, and an empty one at the end of all."""
    with answers:
        while line := answers.readline(LONGEST_ANSWER):
            into.put(line)
    into.put(b"")


def _ending(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(END_S)
    except subprocess.TimeoutExpired:
        return "its answers, and goes on without them"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
