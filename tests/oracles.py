"""Independent answers to compare with, from the definitions: no `solvers.encode`, no `networks.lowering`."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from scipy.optimize import linprog

from networks.instance import Instance
from networks.layers import Array, Layer, LayerList, Linear, ReLU, Shape


def brute_force_margins(network: LayerList, instance: Instance) -> Array:
    """The smallest margins over the box, shape (k,): the least optimum of one LP for every activation pattern.

    Once every ReLU's sign is fixed, the network is affine on the polytope of the inputs that give those signs.
    """
    shapes = (network.input_shape, *network.shapes)
    steps = [_affine_map(layer, shape) for layer, shape in zip(network.layers, shapes, strict=False)]
    patterns = itertools.product((False, True), repeat=network.neuron_count)
    return np.asarray(np.min([_margins_of_pattern(steps, instance, pattern) for pattern in patterns], axis=0))


def _affine_map(layer: Layer, shape: Shape) -> tuple[Array, Array] | None:
    """W and b of a layer, by running it on the unit vectors; None for a ReLU."""
    if isinstance(layer, ReLU):
        return None
    at_zero = layer.forward(np.zeros((1, *shape))).ravel()
    size = math.prod(shape)
    return (layer.forward(np.eye(size).reshape(-1, *shape)).reshape(size, -1) - at_zero).T, at_zero


def _margins_of_pattern(
    steps: list[tuple[Array, Array] | None], instance: Instance, pattern: tuple[bool, ...]
) -> Array:
    """The least margins among the inputs of one pattern; infinite where there is no such input."""
    size = instance.image.size
    W, b = np.eye(size), np.zeros(size)  # the values so far are W x + b
    A, limits = np.empty((0, size)), np.empty(0)  # the pattern's polytope is A x <= limits
    signs = iter(pattern)
    for step in steps:
        if step is not None:
            W, b = step[0] @ W, step[0] @ b + step[1]
            continue
        active = np.array(list(itertools.islice(signs, len(b))))
        sign = np.where(active, -1.0, 1.0)  # -s <= 0 where active, s <= 0 elsewhere
        A, limits = np.concatenate([A, sign[:, None] * W]), np.concatenate([limits, -sign * b])
        W, b = W * active[:, None], b * active
    low, high = instance.lower.ravel(), instance.upper.ravel()
    if (np.maximum(A, 0) @ low + np.minimum(A, 0) @ high > limits + 1e-9).any():  # one sign alone cannot be
        return np.full(len(instance.margins), math.inf)
    return np.array([_least(margin @ W, A, limits, low, high) + margin @ b for margin in instance.margins])


def _least(c: Array, A: Array, limits: Array, low: Array, high: Array) -> float:
    answer = linprog(c, A_ub=A, b_ub=limits, bounds=np.stack([low, high], axis=1), method="highs")
    assert answer.status in (0, 2), answer.message  # optimal, or no input has this pattern
    return float(answer.fun) if answer.status == 0 else math.inf


def textbook_problem(network: LayerList, instance: Instance, row: int = 0, *, relaxation: bool) -> tuple[Any, float]:
    """A fully connected network's problem in cvxpy, as Tjeng, Xiao and Tedrake write it, and the objective's constant.

    One binary and four rows for every neuron, with bounds by the signs of the weights.
    """
    import cvxpy as cp

    layers = [layer for layer in network.layers if isinstance(layer, Linear)]
    l, u = instance.lower.ravel(), instance.upper.ravel()
    z = x = cp.Variable(l.size)
    constraints = [x >= l, x <= u]
    for layer in layers[:-1]:
        W, b = layer.weight, layer.bias
        positive, negative = np.maximum(W, 0.0), np.minimum(W, 0.0)
        l, u = positive @ l + negative @ u + b, positive @ u + negative @ l + b
        s = W @ z + b
        z = cp.Variable(b.size)
        v = cp.Variable(b.size) if relaxation else cp.Variable(b.size, boolean=True)
        constraints += [z >= s, z >= 0, z <= cp.multiply(u, v), z <= s - cp.multiply(l, 1 - v), v >= 0, v <= 1]
        l, u = np.maximum(l, 0.0), np.maximum(u, 0.0)
    margin = instance.margins[row]
    problem = cp.Problem(cp.Minimize((margin @ layers[-1].weight) @ z), constraints)
    return problem, float(margin @ layers[-1].bias)


def textbook_margin(network: LayerList, instance: Instance, row: int = 0, *, relaxation: bool) -> float:
    """The optimum of `textbook_problem`, by HiGHS through SciPy."""
    import cvxpy as cp

    problem, constant = textbook_problem(network, instance, row, relaxation=relaxation)
    options = {} if relaxation else {"mip_rel_gap": 1e-9}
    value = problem.solve(solver=cp.SCIPY, scipy_options=options)
    return float(value) + constant
