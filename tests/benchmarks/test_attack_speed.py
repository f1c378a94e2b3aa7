"""PGD against the loop that a textbook writes, taken in turns in one run.

200 images and 5 steps a round: what the two cost grows with both alike. With RELUBENCH_FULL_BENCHMARKS set, as `make
benchmarks` does, one round of 1,000 images and 40 steps, which takes minutes. One thread: where other programs want the
cores, threads wait for one another, which is not to be compared.
"""

import os
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from bench.methods.attacks import METHODS, Asked, ascent_of, search
from networks import from_torch, zoo
from networks.data import samples

IMAGES, STEPS, ROUNDS = (1000, 40, 1) if os.environ.get("RELUBENCH_FULL_BENCHMARKS") else (200, 5, 5)
EPSILON, STEP = 0.1, 0.01


def textbook_pgd(model: nn.Module, X: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """As in chapter 4 of Kolter and Madry's tutorial."""
    delta = torch.zeros_like(X, requires_grad=True)
    for _ in range(STEPS):
        loss = nn.CrossEntropyLoss()(model(X + delta), y)
        loss.backward()
        assert delta.grad is not None
        delta.data = (delta + STEP * delta.grad.detach().sign()).clamp(-EPSILON, EPSILON)
        delta.grad.zero_()
    return delta.detach()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow  # some 20 seconds of a convolutional network
def test_pgd_is_no_slower_than_the_textbook_loop(benchmark: Any) -> None:
    torch.manual_seed(0)
    model = zoo.architecture("mnist_cnn")
    network = from_torch(model, zoo.INPUT_SHAPE)
    data = samples()
    X, y = torch.tensor(data.images[:IMAGES]), torch.tensor(data.labels[:IMAGES])
    ascent = ascent_of(METHODS["pgd_linf"], EPSILON, STEP, STEPS, None, targeted=False)
    asked = Asked(network, X.double().numpy(), y.numpy(), None)
    textbook_s, ours_s = [], []

    def run_textbook() -> None:
        start = time.perf_counter()
        textbook_pgd(model, X, y)
        textbook_s.append(time.perf_counter() - start)

    def run_ours() -> None:
        start = time.perf_counter()
        next(search(asked, ascent, torch.device("cpu")))  # without the replay, which the textbook does not have
        ours_s.append(time.perf_counter() - start)

    textbook_pgd(model, X[:1], y[:1])  # loads what torch needs
    benchmark.pedantic(run_ours, setup=run_textbook, rounds=ROUNDS, iterations=1)
    # Each round is a pair of neighbours in time, so the median of their ratios is what a busy machine disturbs least.
    ratio = statistics.median(ours / textbook for ours, textbook in zip(ours_s, textbook_s, strict=True))
    benchmark.extra_info["ratio"] = ratio
    print(f"\nPGD over textbook loop: {ratio:.2f} (seconds: {min(ours_s):.2f} and {min(textbook_s):.2f})")
    assert ratio <= 1.05
