"""The zoo: the architectures of the tutorial chapter and their trained weights, which ship with the package."""

from __future__ import annotations

import itertools
import os
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from networks.errors import NetworkError
from networks.layers import LayerList

if TYPE_CHECKING:
    from torch import nn

INPUT_SHAPE = (1, 28, 28)
NAMES = ("mnist_small", "mnist_dnn_2", "mnist_dnn_4", "mnist_cnn")
# Of the weights that ship, on all ten thousand test images: the last lines of the logs in `results/training`.
TEST_ERROR = {"mnist_small": 0.0358, "mnist_dnn_2": 0.0293, "mnist_dnn_4": 0.0225, "mnist_cnn": 0.0111}
# Test error of other weights: what the chapter prints for each network under the same recipe.
PUBLISHED_TEST_ERROR = {"mnist_small": 0.0321, "mnist_dnn_2": 0.0285, "mnist_dnn_4": 0.0210, "mnist_cnn": 0.0105}
HIDDEN_SIZES = {"mnist_small": (50, 20), "mnist_dnn_2": (200,), "mnist_dnn_4": (200, 100, 100)}


def architecture(name: str) -> nn.Sequential:
    """The untrained torch module of a zoo network, initialised as torch does by default.

    Raises
    ------
    NetworkError
        The zoo has no network of this name.
    """
    from torch import nn

    check_name(name)
    if name == "mnist_cnn":
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1, stride=2), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1, stride=2), nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 100), nn.ReLU(),
            nn.Linear(100, 10),
        )  # fmt: skip
    sizes = (784, *HIDDEN_SIZES[name], 10)
    modules: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(sizes):
        modules += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


@cache
def load(name: str) -> LayerList:
    """A trained zoo network.

    Raises
    ------
    NetworkError
        The zoo has no network of this name.
    """
    check_name(name)
    with resources.as_file(resources.files("networks") / "weights" / f"{name}.safetensors") as path:
        return LayerList.load(path)


def load_network(source: str | Path | LayerList) -> LayerList:
    """A layer list as it is, a zoo network by its name, or a layer-list file by its path.

    Raises
    ------
    NetworkError
        Neither a name of the zoo nor a readable layer-list file.
    """
    if isinstance(source, LayerList):
        return source
    if not isinstance(source, str | Path):
        raise NetworkError(
            f"network is of type {type(source).__name__}; expected a zoo name, a path or a layer list, "
            "which networks.from_torch makes of a torch module"
        )
    if str(source) in NAMES:
        return load(str(source))
    if os.path.isfile(source):  # False too for names that the system cannot take
        return LayerList.load(source)
    raise NetworkError(f"network {str(source)!r} is neither a file nor in the zoo ({', '.join(NAMES)})")


def check_name(name: str) -> None:
    """Raise NetworkError unless the zoo has a network of this name."""
    if name not in NAMES:
        raise NetworkError(f"network {name!r} is not in the zoo; expected one of {', '.join(NAMES)}")
