"""Where torch computes, and how long it took there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from networks.errors import InputError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")
SHORTEST_S = 1e-9  # below what any clock resolves; keeps rates finite


def resolve_device(device: str | torch.device) -> torch.device:
    """The torch device: `auto` is the GPU where there is one, else the CPU; `cuda:1` is the second GPU.

    Raises
    ------
    InputError
        An unknown name, or a GPU that torch does not find.
    """
    import torch

    name = str(device)
    kind, _, index = name.partition(":")
    if name not in DEVICES and not (kind in ("cpu", "cuda") and index.isdecimal()):
        raise InputError(f"device is {name!r}; expected one of {', '.join(DEVICES)}")
    present = kind != "cpu" and torch.cuda.is_available()
    if kind == "cuda" and (not present or int(index or 0) >= torch.cuda.device_count()):
        what = "that CUDA GPU" if present else "CUDA GPU"
        raise InputError(f"device is {name!r}, but torch finds no {what} here; use 'cpu' or 'auto'")
    return torch.device(f"cuda:{index}" if present and index else "cuda" if present else "cpu")


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """As many threads for torch as were asked for, within: more than there are free cores wait for one another."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device_name(device: torch.device) -> str:
    """`cpu`, or the GPU's name as its driver gives it, e.g. `NVIDIA H100`."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


class Stopwatch:
    """Adds up the seconds spent inside its `with` blocks.

    On the GPU, where calls return before their work is done, by CUDA events that are waited for; else by the clock.

    Parameters
    ----------
    device : torch.device
        Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._clock: _Clock | _CudaClock = _CudaClock(device) if device.type == "cuda" else _Clock()
        self._total_s = 0.0

    @property
    def seconds(self) -> float:
        """The seconds so far, always positive."""
        return max(self._total_s, SHORTEST_S)

    def __enter__(self) -> Stopwatch:
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._total_s += self._clock.stop()


class _Clock:
    def start(self) -> None:
        self._began = time.perf_counter()

    def stop(self) -> float:
        return time.perf_counter() - self._began


class _CudaClock:
    def __init__(self, device: torch.device) -> None:
        import torch

        self._stream = torch.cuda.current_stream(device)
        self._began, self._ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def start(self) -> None:
        self._stream.synchronize()  # what was queued before is not timed
        self._began.record(self._stream)

    def stop(self) -> float:
        self._ended.record(self._stream)
        self._ended.synchronize()
        return float(self._began.elapsed_time(self._ended)) / 1e3
