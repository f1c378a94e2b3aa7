"""The command line that asks one row's question again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.choices import BY_PROPAGATION, SWITCHES
from bench.row import LIMITS
from networks.data import SAMPLE_COUNT

# The fields of a row that the commands have options for, in the order in which they are written; what is null is left
# out.
OF_VERIFY = ("image", "epsilon", "method", "clip", "threads")
OF_SOLVER = ("solver", *LIMITS, "seed", *SWITCHES)
OF_ATTACK = ("images", "epsilon", "method", "steps", "step", "restarts", "target", "clip", "device", "threads", "seed")
# What `verify` asks of every solver: the values of `solvers.SolverOptions`, which reporting does not import.
TOLERANCES = {"mip_gap": 1e-6, "feasibility_tolerance": 1e-7, "integrality_tolerance": 1e-9}


@dataclass(frozen=True, slots=True)
class Rerun:
    """How to ask a row's question again.

    Attributes
    ----------
    command : str
        Quoted for a POSIX shell.
    notes : tuple of str
        What the command line cannot say, and what must be there for it.
    """

    command: str
    notes: tuple[str, ...] = ()


def rerun(row: Mapping[str, Any], asked_images: int | None = None) -> Rerun:
    """The command for a row.

    Parameters
    ----------
    row : mapping
        The fields of a `bench.row.Row`, as its JSON has them.
    asked_images : int, optional
        How many images, from the first on, a targeted attack chose its own from: those of the target's class are
        left out, so that the row's `images` are fewer.
    """
    options = _options_of_attack(row, asked_images) if row["kind"] == "attack" else _options_of_verify(row)
    words = ["relubench", row["kind"], *_network(str(row["network"])), *options]
    return Rerun(shlex.join(words), tuple(_notes(row, asked_images)))


def _network(name: str) -> list[str]:
    """The network's word; one that looks like an option is written as the path that it must be."""
    return [f"./{name}" if name.startswith("-") else name]


def _options_of_verify(row: Mapping[str, Any]) -> Iterator[str]:
    return _options(row, OF_VERIFY if row["method"] in BY_PROPAGATION else (*OF_VERIFY, *OF_SOLVER))


def _options_of_attack(row: Mapping[str, Any], asked_images: int | None) -> Iterator[str]:
    device = "cpu" if row["device"] == "cpu" else "cuda"  # rows have the name of the card
    images = row["images"] if asked_images is None else asked_images
    return _options({**row, "device": device, "images": images}, OF_ATTACK)


def _options(row: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    for name in names:
        option, value = f"--{name.removesuffix('_s').replace('_', '-')}", row.get(name)
        if name == "clip":
            yield from (option, "none" if value is None else ",".join(map(_word, value)))
        elif value is not None:
            word = _word(value)
            yield from ([f"{option}={word}"] if word.startswith("-") else [option, word])


def _word(value: Any) -> str:
    """A value as it is typed: floats with all the digits that tell them apart."""
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _notes(row: Mapping[str, Any], asked_images: int | None) -> Iterator[str]:
    if _is_file(str(row["network"])):
        digest = str(row["network_digest"])[:16]
        yield f"The network's path is relative to where the run was started; its digest begins with {digest}."
    if (row["image"] or 0) >= SAMPLE_COUNT or (row["images"] or 0) > SAMPLE_COUNT:
        yield f"Images from {SAMPLE_COUNT:,} on need the full set: add --data DIR."
    if row["kind"] == "attack" and row["target"] is not None and asked_images is None:
        yield (
            "Images of the target's class were left out, and the row's arrays, which say of how many, are not there: "
            "--images may have to be larger."
        )
    other = [f"{name} {row[name]:g}" for name, value in TOLERANCES.items() if row.get(name) not in (None, value)]
    if other:
        yield f"No option sets {', '.join(other)}: `verify` uses others."
    if row.get("hard_limit_s") is not None or row.get("memory_limit_mb") is not None:
        yield "A run also kills what exceeds its hard limits on time and memory; the command does not."


def _is_file(network: str) -> bool:
    return bool(Path(network).suffix) or "/" in network
