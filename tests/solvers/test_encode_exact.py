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
from numpy.typing import ArrayLike

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


def network_of(seed: int, scale: float = 1.0, merged: tuple[int, ...] = ()) -> LayerList:
    """Float32 weights, as trained ones are, or of even seeds doubles, whose differences are rounded.

    Every other neuron of the first layer is `scale` times as large as the others. No ReLU follows the layers `merged`.
    """
    rng = np.random.default_rng(seed)
    number = np.float32 if seed % 2 else np.float64
    sizes = (4, 5, 4, 3)
    layers: list[Any] = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        weight, bias = rng.normal(size=(outputs, inputs)), rng.normal(size=outputs)
        factor = np.where((np.arange(outputs) % 2 == 0) & (index == 0), scale, 1.0)
        layers += [Linear(number(factor[:, None] * weight).astype(float), number(factor * bias).astype(float))]
        layers += [] if index in merged else [ReLU()]
    return LayerList((4,), tuple(layers[:-1]))


def linear(weight: ArrayLike, bias: ArrayLike) -> Linear:
    return Linear(np.asarray(weight, float), np.asarray(bias, float))


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
    units = iter(encoding.scaled.units)
    x[: len(point)] = [v / Fraction(u) for v, u in zip(point, next(units).tolist(), strict=True)]
    values = point
    hidden = iter(encoding.neurons)
    for layer, following in itertools.pairwise((*network.layers, None)):
        if not isinstance(layer, Linear):
            continue
        values = [
            sum((Fraction(w) * v for w, v in zip(row, values, strict=True)), Fraction(b))
            for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
        ]
        if not isinstance(following, ReLU):
            continue
        neurons = next(hidden)
        for index, (s, unit) in enumerate(zip(values, map(Fraction, next(units).tolist()), strict=True)):
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


def points_of(instance: Instance, seed: int) -> list[Rationals]:
    """Corners of the box, and rational points within that are no doubles."""
    rng = np.random.default_rng(seed)
    low, high = ([Fraction(v) for v in side.ravel().tolist()] for side in (instance.lower, instance.upper))
    shares = [[Fraction(int(k), 7) for k in rng.integers(0, 8, len(low))] for _ in range(6)]
    corners = [[Fraction(int(k)) for k in rng.integers(0, 2, len(low))] for _ in range(6)]
    return [[l + t * (h - l) for l, h, t in zip(low, high, part, strict=True)] for part in shares + corners]


@pytest.mark.parametrize("form", FORMULATIONS, ids=IDS)
@FEW
@given(
    seed=st.integers(0, 2**31),
    scale=st.sampled_from((1.0, 1e-5, 3e4, 1e10, 1e-300, 1e-310)),
    merged=st.sampled_from(((), (0,), (1,), (0, 1))),
)
def test_what_the_network_computes_satisfies_every_row_exactly(
    form: Formulation, seed: int, scale: float, merged: tuple[int, ...]
) -> None:
    network = network_of(seed, scale, merged)
    instance = question_of(network, seed)
    encoding = encoded(network, instance, form)
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


def test_the_product_of_adjacent_affine_layers_is_within_its_rounding() -> None:
    """Weights of 1e16 that cancel: multiplied out in floating point, nothing is left of what they really add up to."""
    c, w = [-0.2, -0.9, -1.2], [3e16, 2e16, -2e16]
    network = LayerList((1,), (linear([[v] for v in c], [0.0, 0.5, 0.25]), linear([w], [1.0])))
    (affine,) = lower(network).affines
    exact_A = sum((Fraction(a) * Fraction(b) for a, b in zip(c, w, strict=True)), Fraction(0))
    exact_b = sum((Fraction(a) * b for a, b in zip(w, (Fraction(0), Fraction(0.5), Fraction(0.25)), strict=True)), 1)
    assert affine.rounding is not None
    computed = affine.A.toarray()[0, 0]
    assert computed != exact_A
    assert abs(Fraction(computed) - exact_A) <= Fraction(affine.rounding.A.toarray()[0, 0])
    assert abs(Fraction(affine.b[0]) - exact_b) <= Fraction(affine.rounding.b[0])
    assert affine.slack(np.array([0.5]))[0] >= 0.5 * abs(float(Fraction(computed) - exact_A))


def test_a_convolution_and_a_flattening_are_copied_exactly() -> None:
    rng = np.random.default_rng(0)
    conv = Conv2d(rng.normal(size=(2, 1, 3, 3)), rng.normal(size=2))
    network = LayerList((1, 5, 5), (conv, ReLU(), Flatten(), Linear(rng.normal(size=(2, 18)), np.zeros(2))))
    lowered = lower(network)
    assert all(affine.rounding is None for affine in lowered.affines)
    assert set(lowered.hidden[0].A.data.tolist()) == set(conv.weight.ravel().tolist())


def test_an_objective_that_its_unit_rounds_is_not_the_same() -> None:
    network = network_of(1)
    encoding = encoded(network, question_of(network, 1), Formulation())
    c, offset, scale = encoding.objective(0)
    assert encoding.is_objective(0, c, offset, scale)
    assert encoding.is_objective(0, -c, -offset, scale)
    assert not encoding.is_objective(1, c, offset, scale)
    assert not encoding.is_objective(0, np.nextafter(c, np.inf), offset, scale)
