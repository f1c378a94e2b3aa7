"""The encoded model holds of the network in exact arithmetic: what the network computes satisfies every row."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networks.bounds.linear import linear_bounds
from networks.instance import Instance, ball
from networks.layers import Conv2d, Flatten, LayerList, Linear, ReLU
from networks.lowering import lower
from solvers import registry
from solvers.certify import certified_bound
from solvers.encode import encode
from solvers.encoding import NONE, Encoding
from solvers.formulation import Formulation

Rationals = list[Fraction]
FORMULATIONS = [
    Formulation(rows, stable, query=query)
    for rows, stable, query in itertools.product(("compact", "textbook"), ("eliminate", "keep"), ("each", "maximum"))
]
IDS = [f"{form.rows}-{form.stable}-{form.query}" for form in FORMULATIONS]
FEW = settings(max_examples=15, deadline=None, derandomize=True)


def network_of(seed: int, scale: float = 1.0) -> LayerList:
    """Float32 weights, as trained ones are, or of even seeds doubles, whose differences are rounded.

    `scale` takes the hidden layers out of the ordinary range.
    """
    rng = np.random.default_rng(seed)
    number = np.float32 if seed % 2 else np.float64
    sizes = (4, 5, 4, 3)
    layers: list[Any] = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        weight, bias = rng.normal(size=(outputs, inputs)), rng.normal(size=outputs)
        factor = scale if index == 0 else 1.0
        layers += [Linear(*(number(factor * values).astype(float) for values in (weight, bias))), ReLU()]
    return LayerList((4,), tuple(layers[:-1]))


def question_of(network: LayerList, seed: int) -> Instance:
    image = np.float32(np.random.default_rng(seed + 1).random(network.input_shape))
    return ball(network, image, 0, 0.3, clip=(0.0, 1.0))


def encoded(network: LayerList, instance: Instance, form: Formulation, *, relaxation: bool = False) -> Encoding:
    box = instance.lower, instance.upper
    layers = [(low[0], high[0]) for low, high in linear_bounds(network, box[0][None], box[1][None])]
    lowered = lower(network)
    margins = layers[-1]
    wide = np.abs(margins).max() * 2 * np.ones(len(instance.margins))
    return encode(
        lowered,
        box,
        lowered.pre_activations(layers, box),
        instance.margins,
        relaxation=relaxation,
        formulation=form,
        margin_bounds=(-wide, wide),
    )


@dataclass(frozen=True)
class Trace:
    """What the network computes in rational numbers, and the solution of the model that it stands for."""

    margins: Rationals
    x: Rationals


def trace_of(network: LayerList, instance: Instance, encoding: Encoding, point: Rationals, target: int) -> Trace:
    """Layer by layer from the layer list itself; the encoding only says where each neuron stands, and in which unit."""
    x = [Fraction(0)] * encoding.model.column_count
    x[: len(point)] = values = point
    hidden = iter(encoding.neurons)
    for layer, following in itertools.pairwise((*network.layers, None)):
        if not isinstance(layer, Linear):
            continue
        values = [
            sum((Fraction(w) * v for w, v in zip(row, values, strict=True)), Fraction(b))
            for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
        ]
        if following is None:
            break
        neurons = next(hidden)
        unit = unit_of(layer.bias, neurons.affine.b)
        for index, s in enumerate(values):
            parts = ((neurons.z, max(s, Fraction(0)) / unit), (neurons.p, max(-s, Fraction(0)) / unit))
            for columns, part in (*parts, (neurons.v, Fraction(int(s > 0)))):
                if columns[index] != NONE:
                    x[columns[index]] = part
        values = [max(s, Fraction(0)) for s in values]
    margins = [
        sum((Fraction(m) * v for m, v in zip(row, values, strict=True)), Fraction(0))
        for row in instance.margins.tolist()
    ]
    if encoding.choices.size:
        x[int(encoding.choices[target])] = Fraction(1)
        x[-1] = margins[target] / Fraction(float(encoding.objectives[0, -1]))
    return Trace(margins, x)


def unit_of(bias: Any, scaled: Any) -> Fraction:
    """The power of two that a layer's values are divided by in the model."""
    return Fraction(float(bias[0])) / Fraction(float(scaled[0]))


def points_of(instance: Instance, seed: int) -> list[Rationals]:
    """Corners of the box, and rational points within that are no doubles."""
    rng = np.random.default_rng(seed)
    low, high = ([Fraction(v) for v in side.ravel().tolist()] for side in (instance.lower, instance.upper))
    shares = [[Fraction(int(k), 7) for k in rng.integers(0, 8, len(low))] for _ in range(6)]
    corners = [[Fraction(int(k)) for k in rng.integers(0, 2, len(low))] for _ in range(6)]
    return [[l + t * (h - l) for l, h, t in zip(low, high, part, strict=True)] for part in shares + corners]


@pytest.mark.parametrize("form", FORMULATIONS, ids=IDS)
@FEW
@given(seed=st.integers(0, 2**31), scale=st.sampled_from((1.0, 1e-5, 3e4)))
def test_what_the_network_computes_satisfies_every_row_exactly(form: Formulation, seed: int, scale: float) -> None:
    network = network_of(seed, scale)
    instance = question_of(network, seed)
    encoding = encoded(network, instance, form)
    assert encoding.exact
    model, A = encoding.model, encoding.model.A.toarray()
    sides = list(zip(model.row_lower.tolist(), model.row_upper.tolist(), strict=True))
    for point in points_of(instance, seed):
        target = seed % len(instance.targets)
        trace = trace_of(network, instance, encoding, point, target)
        for row, (low, high) in zip(A.tolist(), sides, strict=True):
            activity = sum((Fraction(a) * v for a, v in zip(row, trace.x, strict=True) if a), Fraction(0))
            assert low <= activity <= high
        for bounds in ((model.col_lower, model.col_upper), encoding.box):
            assert all(l <= v <= u for l, v, u in zip(bounds[0].tolist(), trace.x, bounds[1].tolist(), strict=True))
        margins = [trace.margins[target]] if encoding.choices.size else trace.margins
        for index, margin in enumerate(margins):
            costs = encoding.objectives[index].tolist()
            objective = sum((Fraction(c) * v for c, v in zip(costs, trace.x, strict=True) if c), Fraction(0))
            error = abs(objective + Fraction(float(encoding.offsets[index])) - margin)
            assert error <= Fraction(float(encoding.objective_errors[index]))


@FEW
@given(seed=st.integers(0, 2**31), rows=st.sampled_from(("compact", "textbook")))
def test_a_certified_bound_is_below_every_exact_margin(seed: int, rows: str) -> None:
    network = network_of(seed)
    instance = question_of(network, seed)
    encoding = encoded(network, instance, Formulation(rows), relaxation=True)
    for index in range(len(instance.targets)):
        c, offset, scale = encoding.objective(index)
        with registry.get("highs").load(encoding.model.with_objective(c, offset)) as session:
            result = session.solve()
        assert result.row_duals is not None
        certified = certified_bound(session.model, result.row_duals, encoding.box) * scale
        assert certified == pytest.approx(result.dual_bound * scale, abs=1e-6)
        bound = Fraction(certified) - Fraction(float(encoding.objective_errors[index]))
        for point in points_of(instance, seed):
            assert bound <= trace_of(network, instance, encoding, point, 0).margins[index]


def test_adjacent_affine_layers_are_multiplied_out_and_not_exact() -> None:
    rng = np.random.default_rng(0)
    first, second = (Linear(rng.normal(size=(3, 3)), rng.normal(size=3)) for _ in range(2))
    assert lower(LayerList((3,), (first, ReLU(), second))).exact
    composed = LayerList((3,), (first, second, ReLU(), second))
    assert not lower(composed).exact
    instance = ball(composed, rng.random(3), 0, 0.1)
    assert not encoded(composed, instance, Formulation()).exact


def test_a_convolution_and_a_flattening_are_copied_exactly() -> None:
    rng = np.random.default_rng(0)
    conv = Conv2d(rng.normal(size=(2, 1, 3, 3)), rng.normal(size=2))
    network = LayerList((1, 5, 5), (conv, ReLU(), Flatten(), Linear(rng.normal(size=(2, 18)), np.zeros(2))))
    lowered = lower(network)
    assert lowered.exact
    assert set(lowered.hidden[0].A.data.tolist()) == set(conv.weight.ravel().tolist())


def test_a_scale_that_would_lose_digits_is_not_exact() -> None:
    tiny = np.full((1, 1), 5e-324)
    network = LayerList((1,), (Linear(tiny, np.array([3e6])), ReLU(), Linear(np.ones((2, 1)), np.zeros(2))))
    assert not encoded(network, ball(network, [0.5], 0, 0.1), Formulation()).exact


def test_an_objective_that_its_unit_rounds_is_not_the_same() -> None:
    network = network_of(1)
    encoding = encoded(network, question_of(network, 1), Formulation())
    c, offset, scale = encoding.objective(0)
    assert encoding.is_objective(0, c, offset, scale)
    assert encoding.is_objective(0, -c, -offset, scale)
    assert not encoding.is_objective(1, c, offset, scale)
    assert not encoding.is_objective(0, np.nextafter(c, np.inf), offset, scale)
