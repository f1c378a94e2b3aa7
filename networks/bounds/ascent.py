"""Optimised lower slopes: projected gradient ascent on each row's own bound (alpha-CROWN, Xu et al. 2021).

A row's bound is a concave, piecewise linear function of its lower slopes for given signs of its coefficients. Its
derivative by the lower slope of a neuron is the positive part of the neuron's coefficient times the pre-activation that
the relaxed network has at the row's worst input, so a gradient takes one pass backwards and one forwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from networks.bounds.backward import Crossing, Rows
from networks.bounds.patches import forwards

ASCENT_STEPS = 20
FIRST_STEP = 0.5
DECAY = 0.9
RULE = "sign"
TRACE = []

def ascend(crossings: Sequence[Crossing], rows: Rows) -> Tensor:
    """The greatest of the lower bounds met on the way, each as sound as the first, that of the adaptive slopes."""
    shares: list[Tensor | None] = [None] * len(crossings)
    best = torch.full_like(rows.constant, -math.inf)
    step = FIRST_STEP
    state = {}
    TRACE.append([])
    for count in range(ASCENT_STEPS + 1):
        bound, trace = _evaluate(crossings, rows, shares)
        best = torch.maximum(best, bound)
        TRACE[-1].append(float(best.sum()))
        if count == ASCENT_STEPS: break
        for k, gradient in _gradients(crossings, trace, shares):
            s = shares[k] if shares[k] is not None else torch.zeros_like(gradient)
            if RULE == "sign":
                d = gradient.sign()
            elif RULE == "max":
                d = gradient / gradient.abs().amax((2, 3, 4), keepdim=True).clamp(min=1e-30)
            elif RULE == "adam":
                m, v = state.get(k, (0, 0))
                m = .9 * m + .1 * gradient; v = .999 * v + .001 * gradient ** 2
                state[k] = m, v
                d = (m / (1 - .9 ** (count + 1))) / ((v / (1 - .999 ** (count + 1))).sqrt() + 1e-12)
            elif RULE == "adam2":
                m, v = state.get(k, (0, 0))
                m = .5 * m + .5 * gradient; v = .9 * v + .1 * gradient ** 2
                state[k] = m, v
                d = (m / (1 - .5 ** (count + 1))) / ((v / (1 - .9 ** (count + 1))).sqrt() + 1e-12)
            shares[k] = (s + step * d).clamp(0, 1)
        step *= DECAY
    return best


def _evaluate(crossings, rows, shares):
    current = replace(rows, coefficients=rows.coefficients.clone())
    trace = []
    for crossing, share in zip(crossings, shares, strict=True):
        after, positive = crossing.cross(current, share)
        trace.append((current, positive))
        current = after
    return current.constant, trace


def _gradients(crossings, trace, shares):
    box, (rows, positive) = crossings[-1], trace[-1]
    values = box.window("up", rows) - box.window("gap", rows) * (positive > 0)
    for k in range(len(crossings) - 2, -1, -1):
        crossing, share = crossings[k], shares[k]
        rows, positive = trace[k]
        pre = forwards(values, rows.corners, crossing.stage, crossing.patch)
        room = crossing.window("room", rows)
        if crossing.stage.relu:
            yield k, room * positive * (pre + crossing.stage.bias)
        if k == 0: return
        gap, slope_gap = crossing.window("gap", rows), crossing.window("slope_gap", rows)
        if share is not None:
            shift = share * room
            gap = gap - shift * crossing.stage.bias
            slope_gap = slope_gap + shift
        on = positive > 0
        values = crossing.window("up", rows) - gap * on + (crossing.window("up_slope", rows) + slope_gap * on) * pre
