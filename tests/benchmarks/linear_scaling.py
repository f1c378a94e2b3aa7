"""What linear bounds cost: prints the tables of results/linear-bounds.md.

python -m tests.benchmarks.linear_scaling > results/linear-bounds.md
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from tabulate import tabulate

from networks import interval_margins, linear_margins, zoo
from networks.bounds.linear import SLOPES
from networks.data import samples
from networks.layers import Array, Layer, LayerList, Linear, ReLU
from tests.benchmarks.timing import best_in_turns

COMMAND = "python -m tests.benchmarks.linear_scaling > results/linear-bounds.md"
ROUNDS = 3
EPSILON = 0.02
MARGINS = np.eye(10)[0] - np.eye(10)[1:]

Row = dict[str, object]


def main() -> None:
    """Measure and print, in CPU seconds of one thread."""
    torch.set_num_threads(1)
    print(f"# The cost of linear bounds\n\nMade by `{COMMAND}`: one thread's CPU seconds, the best of {ROUNDS} rounds.")
    print("Ratios are within one table. Margins to nine classes, the bounds on all layers included; radius 0.02.")
    section("One image of the zoo, by slopes, against interval bounds", zoo_rows())
    section("1,000 images of mnist_dnn_4 in one batch, against one image at a time", batch_rows())
    depths = [(depth, (100, *[100] * depth)) for depth in (1, 2, 4, 8)]
    section("Depth: hidden layers of 100, inputs of 100, 10 boxes", scaling_rows("hidden layers", depths))
    widths = [(width, (100, width, width, width)) for width in (50, 100, 200, 400)]
    section("Width of 3 hidden layers, inputs of 100, 10 boxes", scaling_rows("width", widths))
    section("Batch: 3 hidden layers of 100, inputs of 100", batch_scaling_rows())


def section(title: str, rows: Iterable[Row]) -> None:
    """Print one table."""
    print(f"\n## {title}\n\n{tabulate(list(rows), headers='keys', tablefmt='github', floatfmt='.3g')}", flush=True)


def zoo_rows() -> Iterator[Row]:
    """All slopes; of the convolutional network those that take one pass."""
    for name in zoo.NAMES:
        network, boxes = zoo.load(name), image_boxes(1)
        kinds = [kind for kind in SLOPES if name != "mnist_cnn" or kind != "optimised"]
        ways = [partial(interval_margins, network, *boxes, MARGINS)]
        ways += [partial(linear_margins, network, *boxes, MARGINS, slopes=kind) for kind in kinds]
        seconds = best_in_turns(ROUNDS, *ways)
        widths = [float(np.subtract(*way()[::-1]).mean()) for way in ways]
        for kind, spent, width in zip(kinds, seconds[1:], widths[1:], strict=True):
            ratios = {"seconds / interval's": spent / seconds[0], "width / interval's": width / widths[0]}
            yield {"network": name, "slopes": kind, **ratios, "seconds": spent}


def batch_rows() -> Iterator[Row]:
    """A hundred of the images stand for a thousand one at a time."""
    network, (low, high), few = zoo.load("mnist_dnn_4"), image_boxes(1000), 100
    together, alone = best_in_turns(
        ROUNDS,
        lambda: linear_margins(network, low, high, MARGINS),
        lambda: [linear_margins(network, low[[i]], high[[i]], MARGINS) for i in range(few)],
    )
    alone *= len(low) / few
    yield {"one at a time / batch": alone / together, "batch, s": together, "one at a time, s": alone}


def scaling_rows(what: str, cases: Sequence[tuple[int, tuple[int, ...]]]) -> Iterator[Row]:
    """Ten random boxes of random networks, against the smallest network."""
    networks = [random_network(widths) for _, widths in cases]
    seconds = best_in_turns(ROUNDS, *(partial(random_margins, network, 10) for network in networks))
    for (size, _), network, spent in zip(cases, networks, seconds, strict=True):
        yield {what: size, "neurons": network.neuron_count, "seconds / first": spent / seconds[0], "seconds": spent}


def batch_scaling_rows() -> Iterator[Row]:
    """One random network, against a batch of one; and what a box costs of that."""
    network, counts = random_network((100, 100, 100, 100)), (1, 10, 100, 1000)
    seconds = best_in_turns(ROUNDS, *(partial(random_margins, network, count) for count in counts))
    for count, spent in zip(counts, seconds, strict=True):
        ratio = spent / seconds[0]
        yield {"boxes": count, "seconds / first": ratio, "a box / first": ratio / count, "seconds": spent}


def random_network(widths: tuple[int, ...]) -> LayerList:
    """He's initialisation, 10 classes."""
    rng = np.random.default_rng(0)
    layers: list[Layer] = []
    for inputs, outputs in itertools.pairwise((*widths, 10)):
        layers += [Linear(rng.normal(0, np.sqrt(2 / inputs), (outputs, inputs)), rng.normal(0, 0.1, outputs)), ReLU()]
    return LayerList(widths[:1], tuple(layers[:-1]))


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
