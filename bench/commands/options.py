"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench import numerals
from networks.errors import InputError
from networks.files import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def parsed(read: Callable[[str], Any], least: float = -math.inf, most: float = math.inf) -> Callable[[Any], Any]:
    """A parser for an option of a number: what `read` refuses, and what is out of range, is bad usage."""

    def parse(text: Any) -> Any:
        if not isinstance(text, str):  # the default
            return text
        try:
            value = read(text)
        except ValueError as error:
            raise typer.BadParameter(f"{shown(text)}; {error}") from None
        if math.isfinite(least) and not least <= value <= most:
            reach = f"at least {least}" if math.isinf(most) else f"{least} to {most}"
            raise typer.BadParameter(f"{text}; expected {reach}")
        return value

    parse.__name__ = read.__name__  # what the help calls such a value
    return parse


INTEGER, NUMBER, FRACTION = map(parsed, (numerals.integer, numerals.number, numerals.fraction))

Network = Annotated[str, typer.Argument(help="A zoo network (`relubench networks`) or a layer-list file.")]
Epsilon = Annotated[
    float,
    typer.Option("--epsilon", "-e", parser=FRACTION, help="Radius of the ball in pixel values of [0, 1], e.g. 8/255."),
]
ClipText = Annotated[str, typer.Option("--clip", help="Range of valid inputs, LOW,HIGH, or `none`.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder with the full MNIST set, for images beyond 999.")]
Targets = Annotated[
    list[int] | None,
    typer.Option("--target", "-t", parser=INTEGER, help="A class to compare with; may be given again."),
]
FormulationName = Annotated[str, typer.Option("--formulation", help="compact or textbook.")]
Stable = Annotated[
    str | None,
    typer.Option(help="eliminate stable neurons, or keep them.", show_default="textbook keeps, compact eliminates"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def parse_clip(text: str) -> tuple[float, float] | None:
    """`LOW,HIGH` or `none`.

    Raises
    ------
    InputError
        Neither.
    """
    if text.strip().lower() == "none":
        return None
    try:
        low, high = map(numerals.number, text.split(","))
    except ValueError:
        raise InputError(f"--clip is {text!r}; expected LOW,HIGH such as 0,1, or none") from None
    return low, high


def load_input(path: Path) -> NDArray[np.float64]:
    """An array out of a .npy file. Nothing in the file is executed.

    Raises
    ------
    InputError
        It cannot be read as an array of numbers.
    """
    import numpy as np

    from bench.arrays import load_npy

    try:
        return load_npy(path).astype(np.float64)
    except InputError as error:
        raise InputError(f"--input {error}") from None


def choose_input(
    index: int | None, path: Path | None, label: int | None, data_dir: Path | None
) -> tuple[NDArray[Any], int]:
    """One input and its label: a test image by its index, or a .npy file with --label.

    Raises
    ------
    InputError
        Both or neither are given, or a file without a label.
    """
    from networks.data import test_image

    if path is None:
        image, own_label = test_image(index or 0, data_dir)
        return image, own_label if label is None else label
    if index is not None:
        raise InputError("--image and --input are both given; expected one of them")
    if label is None:
        raise InputError(f"--input {path} needs its true class; give it with --label")
    return load_input(path), label


def choose_inputs(
    images: str | None, path: Path | None, label: int | None, data_dir: Path | None
) -> list[tuple[int | None, NDArray[Any], int]]:
    """The inputs of `choose_input`, of one index or several such as `0-9`, each with its index; a file has none.

    Raises
    ------
    InputError
        As there, or `images` is neither an index nor several.
    """
    try:
        chosen = numerals.indices(images) if images is not None else (None,)
    except ValueError as error:
        raise InputError(f"--image is {shown(images)}; {error}") from None
    return [(None if path else index or 0, *choose_input(index, path, label, data_dir)) for index in chosen]
