"""Linear bounds: an image of the convolutional network, its memory, and a batch against one image at a time."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from networks import linear_margins, zoo
from networks.data import samples
from networks.layers import Array
from tests.benchmarks.timing import quietest

# One thread's. At epsilon 0.1 half of the neurons are unstable, where no bound decides anything any more.
MOST_SECONDS = {0.02: 1.5, 0.1: 2.0}  # an idle core takes two thirds of this
MOST_BYTES = 4 * 2**30
MOST_ROUNDS = 10
IMAGES = 100
LEAST_SPEEDUP = 1.2
MARGINS = np.eye(10)[0] - np.eye(10)[1:]
EPSILONS = pytest.mark.parametrize("epsilon", [0.02, 0.1])
MEASURE_MEMORY = """
from tests.benchmarks.test_linear_speed import peak_bytes
print(peak_bytes({epsilon}))
"""


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """As many threads as the parameter says."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@EPSILONS
@pytest.mark.parametrize("threads", [1], indirect=True)
@pytest.mark.usefixtures("threads")
def test_an_image_of_the_convolutional_network_keeps_to_its_seconds(
    epsilon: float, benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    network, boxes = zoo.load("mnist_cnn"), image_boxes(1, epsilon)
    benchmark.pedantic(linear_margins, (network, *boxes, MARGINS), rounds=1, warmup_rounds=1)
    best = min(_until(MOST_SECONDS[epsilon], lambda: linear_margins(network, *boxes, MARGINS)))
    benchmark.extra_info.update({"epsilon": epsilon, "seconds": best})
    with capsys.disabled():
        print(f"\nlinear margins, mnist_cnn, epsilon {epsilon}: {best:.2f} CPU s, one thread")
    assert best < MOST_SECONDS[epsilon]


@EPSILONS
def test_the_convolutional_network_takes_less_than_four_gigabytes(epsilon: float) -> None:
    command = [sys.executable, "-c", MEASURE_MEMORY.format(epsilon=epsilon)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert int(ended.stdout) < MOST_BYTES


@pytest.mark.parametrize("threads", [1], indirect=True)
@pytest.mark.usefixtures("threads")
def test_a_batch_beats_one_image_at_a_time(benchmark: BenchmarkFixture, capsys: pytest.CaptureFixture[str]) -> None:
    network, (low, high) = zoo.load("mnist_dnn_4"), image_boxes(IMAGES, 0.02)
    benchmark.pedantic(linear_margins, (network, low, high, MARGINS), rounds=1, warmup_rounds=1)
    together_s, alone_s = quietest(
        2,
        1 / LEAST_SPEEDUP,
        lambda: linear_margins(network, low, high, MARGINS),
        lambda: [linear_margins(network, low[[i]], high[[i]], MARGINS) for i in range(IMAGES)],
    )
    ratio = alone_s / together_s
    benchmark.extra_info.update({"batch_s": together_s, "one_at_a_time_s": alone_s, "ratio": ratio})
    with capsys.disabled():
        print(f"\nlinear margins, mnist_dnn_4, {IMAGES} images: {together_s:.3f} CPU s, one at a time {ratio:.2f}x")
    assert ratio >= LEAST_SPEEDUP


def image_boxes(count: int, epsilon: float) -> tuple[Array, Array]:
    """The ball, cut to [0, 1], around each of the first shipped images."""
    images = samples().images[:count].astype(np.float64).reshape(count, *zoo.INPUT_SHAPE)
    return np.clip(images - epsilon, 0, 1), np.clip(images + epsilon, 0, 1)


def peak_bytes(epsilon: float) -> int:
    """The largest resident memory of this process, one image of the convolutional network done."""
    torch.set_num_threads(1)  # on a full machine more wait for one another, for minutes
    linear_margins("mnist_cnn", *image_boxes(1, epsilon), MARGINS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kilobytes on Linux


def _until(enough_s: float, function: object) -> Iterator[float]:
    """CPU seconds a round, until one is short enough: other programs on the machine only ever add."""
    for _ in range(MOST_ROUNDS):
        start = time.thread_time()
        function()  # type: ignore[operator]
        spent = time.thread_time() - start
        yield spent
        if spent < enough_s:
            return
