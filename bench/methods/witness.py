"""Inputs of small margin by an attack on one instance, one for each target: candidates, and starts for a MILP."""

from __future__ import annotations

from functools import cache

import numpy as np

from bench.methods.question import Question
from networks.instance import ball
from networks.layers import Array, LayerList, Linear, ReLU

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
