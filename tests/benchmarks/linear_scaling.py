"""What linear bounds cost: prints the tables of results/linear-bounds.md.

python -m tests.benchmarks.linear_scaling > results/linear-bounds.md
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np
import torch
from tabulate import tabulate

from networks import interval_margins, linear_margins, zoo
from networks.bounds.linear import SLOPES
from networks.data import samples
from networks.layers import Array, LayerList, Linear, ReLU
from tests.benchmarks.timing import best_in_turns

COMMAND = "python -m tests.benchmarks.linear_scaling > results/linear-bounds.md"
ROUNDS = 3
EPSILON = 0.02
WIDTHS, DEPTHS, BATCHES = (50, 100, 200, 400), (1, 2, 4, 8), (1, 10, 100, 1000)
MARGINS = np.eye(10)[0] - np.eye(10)[1:]

Row = dict[str, object]


def main() -> None:
    """Measure and print, in CPU seconds of one thread."""
    torch.set_num_threads(1)
    print(
        f"# The cost of linear bounds\n\nMade by `{COMMAND}`, in one thread's CPU seconds, the best of {ROUNDS} rounds."
    )
    print(
        "Ratios are within one table and hardly depend on the machine. Margins to nine classes, layers' bounds included."
    )
    section("One image of the zoo, by slopes, against interval bounds", zoo_rows())
    section("1,000 images of mnist_dnn_4 in one batch against one image at a time", batch_rows())
    section(
        "Depth: hidden layers of 100, inputs of 100",
        scaling_rows("hidden layers", DEPTHS, lambda depth: (100, *[100] * depth)),
    )
    section(
        "Width: 3 hidden layers, inputs of 100", scaling_rows("width", WIDTHS, lambda width: (100, width, width, width))
    )
    section("Batch: 3 hidden layers of 100, inputs of 100", batch_scaling_rows())


def section(title: str, rows: Iterable[Row]) -> None:
    """Print one table."""
    print(f"\n## {title}\n\n{tabulate(list(rows), headers='keys', tablefmt='github', floatfmt='.3g')}", flush=True)


def zoo_rows() -> Iterable[Row]:
    """Every slope on the fully connected networks, those of one pass on the convolutional one."""
    for name in zoo.NAMES:
        network, (low, high) = zoo.load(name), image_boxes(1)
        slopes = [kind for kind in SLOPES if name != "mnist_cnn" or kind != "optimised"]
        functions = [lambda kind=kind: linear_margins(network, low, high, MARGINS, slopes=kind) for kind in slopes]  # type: ignore[misc]
        seconds = best_in_turns(ROUNDS, *functions, lambda: interval_margins(network, low, high, MARGINS))
        for kind, spent in zip(slopes, seconds, strict=False):
            width = np.subtract(*linear_margins(network, low, high, MARGINS, slopes=kind)[::-1]).mean()
            interval = np.subtract(*interval_margins(network, low, high, MARGINS)[::-1]).mean()
            yield {
                "network": name,
                "slopes": kind,
                "seconds / interval's": spent / seconds[-1],
                "width / interval's": width / interval,
                "seconds": spent,
            }


def batch_rows() -> Iterable[Row]:
    """A hundred of the images stand for a thousand one at a time."""
    network, (low, high), few = zoo.load("mnist_dnn_4"), image_boxes(1000), 100
    together, alone = best_in_turns(
        ROUNDS,
        lambda: linear_margins(network, low, high, MARGINS),
        lambda: [linear_margins(network, low[[i]], high[[i]], MARGINS) for i in range(few)],
    )
    alone *= len(low) / few
    yield {"one at a time / batch": alone / together, "batch, s": together, "one at a time, s": alone}


def scaling_rows(what: str, sizes: tuple[int, ...], widths_of: Callable[[int], tuple[int, ...]]) -> Iterable[Row]:
    """Ten random boxes of random networks, against the smallest network."""
    networks = [random_network(widths_of(size)) for size in sizes]
    functions = [lambda network=network: random_margins(network, 10) for network in networks]  # type: ignore[misc]
    seconds = best_in_turns(ROUNDS, *functions)
    for size, network, spent in zip(sizes, networks, seconds, strict=True):
        yield {what: size, "neurons": network.neuron_count, "seconds / first": spent / seconds[0], "seconds": spent}


def batch_scaling_rows() -> Iterable[Row]:
    """One random network, against a batch of one; and what a box costs of that."""
    network = random_network((100, 100, 100, 100))
    functions = [lambda count=count: random_margins(network, count) for count in BATCHES]  # type: ignore[misc]
    seconds = best_in_turns(ROUNDS, *functions)
    for count, spent in zip(BATCHES, seconds, strict=True):
        ratio = spent / seconds[0]
        yield {"boxes": count, "seconds / first": ratio, "a box / first": ratio / count, "seconds": spent}


def random_network(widths: tuple[int, ...]) -> LayerList:
    """He's initialisation, 10 classes."""
    rng = np.random.default_rng(0)
    layers: list[Linear | ReLU] = []
    for inputs, outputs in itertools.pairwise((*widths, 10)):
        layers += [Linear(rng.normal(0, np.sqrt(2 / inputs), (outputs, inputs)), rng.normal(0, 0.1, outputs)), ReLU()]
    return LayerList(widths[:1], layers[:-1])  # type: ignore[arg-type]


def random_margins(network: LayerList, count: int) -> object:
    """The margins over boxes of radius 0.02."""
    low = np.random.default_rng(1).uniform(0, 1, (count, *network.input_shape))
    return linear_margins(network, low, low + 2 * EPSILON, MARGINS)


def image_boxes(count: int) -> tuple[Array, Array]:
    """The ball of radius 0.02, cut to [0, 1], around each of the first shipped images."""
    images = samples().images[:count].astype(np.float64).reshape(count, *zoo.INPUT_SHAPE)
    return np.clip(images - EPSILON, 0, 1), np.clip(images + EPSILON, 0, 1)


if __name__ == "__main__":
    main()
