"""Where torch computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from networks.errors import InputError

if TYPE_CHECKING:
    import torch
    from threadpoolctl import ThreadpoolController

DEVICES = ("auto", "cpu", "cuda")


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
def threads_of_libraries(count: int | None) -> Iterator[None]:
    """As many threads for torch and numpy's BLAS as were asked for, within; None leaves them as they are.

    More threads than there are free cores wait for one another.
    """
    import torch

    if count is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with libraries().limit(limits=count):
            yield
    finally:
        torch.set_num_threads(before)


@cache
def libraries() -> ThreadpoolController:
    """The BLAS and OpenMP libraries of this process; looking for them takes 15 ms, setting them none."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def device_name(device: torch.device) -> str:
    """`cpu`, or the GPU's name as its driver gives it, e.g. `NVIDIA H100`."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
