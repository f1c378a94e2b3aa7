"""One side of `relubench pair`: it measures what it is told, with the installation of the interpreter that runs it.

The file stands alone. The installation may be an older relubench, which has no `pair`: what is used of it is
`bench.verify`, `bench.attack`, `networks.load_network` and `networks.data`, which every release has.

Requests come as lines of JSON on stdin, and each is answered by one line of JSON on what was stdout. Whatever else
writes to stdout, as solvers do, writes to stderr instead. The request `end` ends this process; so does the end of
stdin, at once and with all its children, however busy it is: whoever asked is gone. (Only C code that holds the
interpreter keeps it till then.)
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import inspect
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import IO, Any

PACKAGES = ("networks", "solvers", "bench")
DISTRIBUTIONS = ("relubench", "torch", "numpy", "scipy", "highspy", "gurobipy", "pulp", "cvxpy")
PARTS = ("bounds_s", "build_s", "solve_s")
LONG_S = 1.0  # a call that took this long is not made again to learn how long it takes

Request = dict[str, Any]
Answer = dict[str, Any]


class Refused(Exception):  # noqa: N818 (the request was, nothing failed)
    """A request that this installation cannot fulfil, in words for the user."""


def main() -> None:
    """Answer requests until there are no more."""
    requests, answers = _take_streams()
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, waiting), daemon=True).start()
    side = Side()
    while (request := json.loads(waiting.get()))["do"] != "end":
        answers.write(json.dumps({"number": request["number"], **side.answer(request)}) + "\n")
        answers.flush()


def _take_streams() -> tuple[IO[str], IO[str]]:
    """The two streams of the protocol, out of reach of anything that reads stdin or writes to stdout."""
    requests, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(2, 1)
    os.close(empty)
    return requests, answers


def _read(requests: IO[str], waiting: queue.SimpleQueue[str]) -> None:
    for line in requests:
        waiting.put(line)
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():  # this process leads a group of its own
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(0)


class Side:
    """What answers requests: each is prepared once, and measured many times."""

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}
        self._networks: dict[str, Any] = {}

    def answer(self, request: Request) -> Answer:
        """The answer, or `refused` or `failed` with a line that says why."""
        tasks = {"describe": self._describe, "warm": self._warm, "measure": self._measure}
        try:
            return tasks[request["do"]](request)
        except Refused as refusal:
            return {"refused": str(refusal)}
        except BaseException as error:  # a solver's SystemExit among them
            return {"failed": f"{type(error).__name__}: {error}"}

    def _describe(self, request: Request) -> Answer:
        """Import the packages, settle on processors, and say what they are."""
        import bench

        for name in ("verify", "attack"):  # some releases import what these need when they are first named
            getattr(bench, name)
        cores = _keep_to(request["cores"])
        folder = Path(str(bench.__file__)).resolve().parent
        return {
            "python": sys.version.partition(" ")[0],
            "executable": sys.executable,
            "folder": str(folder.parent),
            "versions": _versions(),
            "source": _source_digest(),
            "commit": _commit(folder),
            "cores": cores,
        }

    def _warm(self, request: Request) -> Answer:
        """Make the call once, for its answer, and again for the seconds that it takes once all is loaded."""
        call = self._calls[request["cell"]] = self._prepare(request)
        start = time.perf_counter()
        outcome = call.once()
        seconds = time.perf_counter() - start
        if getattr(outcome, "total_s", seconds) < LONG_S:
            start = time.perf_counter()
            call.once()
            seconds = time.perf_counter() - start
        gc.collect()
        gc.freeze()  # what was imported and cached is not gone through again whenever rubbish is collected
        return {
            "seconds": seconds,
            "network_digest": call.network_digest,
            "solver_version": _solver_version(request["arguments"].get("solver")),
            "left_out": call.left_out,
            "outcome": call.describe(outcome),
        }

    def _measure(self, request: Request) -> Answer:
        """Make the call `calls` times and say what each took on average."""
        call, count = self._calls[request["cell"]], request["calls"]
        parts = dict.fromkeys(PARTS, 0.0)
        call.settle()
        gc.collect()
        cpu_s, start = _cpu_s(), time.perf_counter()
        for _ in range(count):
            outcome = call.once()
            for name in parts:
                parts[name] += getattr(outcome, name, 0.0)
        wall_s = time.perf_counter() - start
        cpu_s = _cpu_s() - cpu_s
        return {name: value / count for name, value in {"wall_s": wall_s, "cpu_s": cpu_s, **parts}.items()}

    def _prepare(self, request: Request) -> Call:
        import networks

        name = request["network"]
        if name not in self._networks:
            self._networks[name] = networks.load_network(name)
        call: Call = KINDS[request["kind"]](self._networks[name], request)
        return call


class Call:
    """One cell's call. `once` makes it; the clock is the caller's."""

    def __init__(self, function: Any, network: Any, request: Request, *positional: Any) -> None:
        arguments, self.left_out = _known(function, request["arguments"], request["usual"])
        self.once = partial(function, network, *positional, **arguments)
        self.network_digest = network.digest
        self.threads = request["threads"]

    def settle(self) -> None:
        """Give torch as many threads as the cell has."""
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(self.threads)

    def describe(self, outcome: Any) -> Answer:
        """What came out, for JSON."""
        raise NotImplementedError


class Verification(Call):
    """`bench.verify` of one image."""

    def __init__(self, network: Any, request: Request) -> None:
        import bench
        from networks import data

        image, label = data.test_image(request["image"], request["data"])
        super().__init__(bench.verify, network, request, image, label)

    def describe(self, outcome: Any) -> Answer:  # noqa: D102
        return dict(outcome.to_dict(arrays=False))


class Attack(Call):
    """`bench.attack` of many images."""

    def __init__(self, network: Any, request: Request) -> None:
        import bench
        from networks import data

        found = data.test_images(request["images"], request["data"])
        target = request["arguments"].get("targets")
        taken = slice(None) if target is None else found.labels != target  # no image can be driven to its own class
        self._labels = found.labels[taken]
        super().__init__(bench.attack, network, request, found.images[taken], self._labels)

    def describe(self, outcome: Any) -> Answer:  # noqa: D102
        return {
            "falsified": (wrong := int((outcome.predictions != self._labels).sum())),
            "unknown": len(self._labels) - wrong,
            "images": len(self._labels),
            "error_rate": float(outcome.error_rate),
            "device": outcome.device,
        }


KINDS: dict[str, Any] = {"verify": Verification, "attack": Attack}


def _known(function: Any, arguments: Request, usual: list[str]) -> tuple[Request, list[str]]:
    """The arguments that the function has, and the names of those left out: they have their usual values."""
    known = inspect.signature(function).parameters
    unknown = [name for name in arguments if name not in known]
    if refused := [f"{name}={arguments[name]!r}" for name in unknown if name not in usual]:
        raise Refused(f"relubench {_versions().get('relubench', '?')} has no {', '.join(refused)}")
    kept = {name: value for name, value in arguments.items() if name in known}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}, unknown


def _keep_to(cores: list[int]) -> list[int] | None:
    """Keep to these processors; which they are then, or None where the platform does not say."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    with contextlib.suppress(OSError):  # the answer shows it
        os.sched_setaffinity(0, cores)
    return sorted(os.sched_getaffinity(0))


def _cpu_s() -> float:
    """Processor seconds of this process and of its children that have ended."""
    try:
        import resource
    except ImportError:  # Windows
        return time.process_time()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _versions() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _solver_version(name: str | None) -> str | None:
    """A back-end's version, where this release says it as ours does."""
    if name is None:
        return None
    with contextlib.suppress(Exception):
        from solvers.registry import get

        return str(get(name).version())
    return None


def _source_digest() -> str:
    """A digest of the three packages' modules, by which two installations of one source are told."""
    from importlib import import_module

    digest = hashlib.sha256()
    for package in PACKAGES:
        root = Path(str(import_module(package).__file__)).resolve().parent
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(root).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _commit(folder: Path) -> str | None:
    """The commit of the checkout that holds the package, with `-dirty` where it has changes; None outside of one."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    tracked = ["git", "ls-files", "--error-unmatch", "__init__.py"]
    try:
        for command in (tracked, describe):
            ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return ended.stdout.strip()


if __name__ == "__main__":
    main()
