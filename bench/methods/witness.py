"""Inputs of small margin, one for each target: candidates for a witness, and starts for a MILP."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from bench.methods.question import Question
from networks.instance import ball
from networks.layers import Array, LayerList, Linear, ReLU
from networks.lowering import BoundsPair

STEPS = 40


@cache
def load_torch() -> None:
    """Attack once what is nothing, so that no measurement has in it what torch loads at its first gradient."""
    layers = (Linear(np.eye(2), np.zeros(2)), ReLU(), Linear(np.eye(2), np.zeros(2)))
    network = LayerList((2,), layers)
    strongest_inputs(Question.of(network, ball(network, [0.6, 0.4], 0, 0.1)))


def strongest_inputs(question: Question) -> Array:
    """An input for each target whose margin targeted PGD (l-infinity, sign steps) has made small; shape (k, inputs)."""
    import torch

    from bench.methods.attacks import LARGEST_RADIUS, METHODS, Asked, ascent_of, search

    instance, count = question.instance, question.target_count
    radius = min(instance.epsilon, LARGEST_RADIUS)
    ascent = ascent_of(METHODS["pgd_linf"], radius, None, STEPS, instance.clip, targeted=True)
    images = np.repeat(instance.image[None], count, axis=0)
    asked = Asked(question.network, images, np.full(count, instance.label), np.array(instance.targets))
    (points,) = search(asked, ascent, torch.device("cpu"))
    return points.reshape(count, -1)


def linear_corners(question: Question, layers: Sequence[BoundsPair]) -> Array:
    """Two corners of the ball for each target, given bounds of all layers; shape (2 k, inputs).

    At the one the target's linear bound (CROWN's) is least. The other is where the margin would be if of the neurons
    that may be active those alone were that lower it. Solvers lose what lies far apart in size, and attacks what
    gradients do not show; both often stand here in plain sight.
    """
    lowered, instance = question.lowered, question.instance
    rows = np.concatenate([instance.margins, instance.margins]) @ lowered.last.A
    by_line = np.arange(len(rows))[:, None] < question.target_count
    pairs = lowered.pre_activations(layers, question.box)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for affine, (low, high) in zip(reversed(lowered.hidden), reversed(pairs), strict=True):
            above = np.where(by_line, high / (high - low), 1.0)
            below = np.where(by_line, high > -low, 0.0)
            slopes = np.where(high <= 0, 0.0, np.where(low >= 0, 1.0, np.where(rows < 0, above, below)))
            rows = (rows * slopes) @ affine.A
    lower, upper = (side.ravel() for side in instance.inner)
    return np.where(rows > 0, lower, np.where(rows < 0, upper, instance.image.ravel()))
