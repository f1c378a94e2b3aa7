"""The exact minimum of each margin over the ball of real inputs: integers all along, no bounds, no lowering, no solver.

A depth-first search over the signs of the ReLUs. On the inputs that give some signs the network is affine, and these
inputs are a polytope; whether a neuron takes both signs there, and how small a margin gets, are linear programs in as
many variables as the network has inputs. Seidel's algorithm (1991) solves them: it adds one row after another, and
where the best point so far violates a row, the new one lies on that row, one dimension lower. Every float is an integer
times a power of two, and a row means the same times a positive number, so that nothing is ever divided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from networks.layers import Conv2d, Layer, LayerList, Linear, ReLU, Shape

Row = list[int]  # the form `row[:-1] @ x + row[-1]`; as a constraint: it is at least zero
Point = tuple[list[int], int]  # numerators and their common, positive denominator
MOST_REGIONS = 400


class TooManyRegionsError(Exception):
    """The network has more linear regions than the search may visit."""


@dataclass(frozen=True, slots=True)
class Ball:
    """The real inputs within `epsilon` of `image`, cut to `clip`."""

    image: tuple[float, ...]
    epsilon: float
    clip: tuple[float, float] | None

    def sides(self) -> tuple[list[Fraction], list[Fraction]]:
        """The lower and the upper sides, as they are."""
        radius, centre = Fraction(self.epsilon), [Fraction(value) for value in self.image]
        low, high = [value - radius for value in centre], [value + radius for value in centre]
        if self.clip is not None:
            least, most = map(Fraction, self.clip)
            low, high = [max(value, least) for value in low], [min(value, most) for value in high]
        return low, high

    def contains(self, point: ArrayLike) -> bool:
        """Whether the point is in the ball."""
        low, high = self.sides()
        values = [Fraction(float(value)) for value in np.ravel(point)]
        return all(least <= value <= most for least, value, most in zip(low, values, high, strict=True))


def forward(network: LayerList, point: Sequence[Fraction]) -> list[Fraction]:
    """The outputs at a rational point."""
    values = list(point)
    for layer, shape in zip(network.layers, (network.input_shape, *network.shapes), strict=False):
        if isinstance(layer, ReLU):
            values = [max(value, Fraction(0)) for value in values]
        elif isinstance(layer, Linear | Conv2d):
            values = [
                sum((Fraction(weight) * values[k] for k, weight in row), Fraction(bias))
                for row, bias in _terms(layer, shape)
            ]
    return values


def margins_at(network: LayerList, label: int, targets: Sequence[int], point: ArrayLike) -> list[Fraction]:
    """The margin to each target at a point of floats."""
    outputs = forward(network, [Fraction(float(value)) for value in np.ravel(point)])
    return [outputs[label] - outputs[target] for target in targets]


def minima(
    network: LayerList, ball: Ball, label: int, targets: Sequence[int], most_regions: int = MOST_REGIONS
) -> list[Fraction]:
    """The least margin to each target over the ball.

    Raises
    ------
    TooManyRegionsError
    """
    return _Search(network, ball, label, targets, most_regions).run()


def _terms(layer: Linear | Conv2d, shape: Shape) -> list[tuple[list[tuple[int, float]], float]]:
    """Each output of the layer: its inputs' places and weights, and its bias."""
    if isinstance(layer, Linear):
        rows = [[(k, float(weight)) for k, weight in enumerate(row) if weight] for row in layer.weight]
        return list(zip(rows, map(float, layer.bias), strict=True))
    return _terms_of_convolution(layer, shape)


def _terms_of_convolution(layer: Conv2d, shape: Shape) -> list[tuple[list[tuple[int, float]], float]]:
    channels, height, width = shape
    padded = np.full((channels, height + 2 * layer.padding[0], width + 2 * layer.padding[1]), -1)
    padded[:, layer.padding[0] : layer.padding[0] + height, layer.padding[1] : layer.padding[1] + width] = np.arange(
        channels * height * width
    ).reshape(shape)
    out, per_group, rows, columns = layer.weight.shape
    terms = []
    for channel in range(out):
        first = channel // (out // layer.groups) * per_group
        places = padded[first : first + per_group]
        reach = (layer.dilation[0] * (rows - 1) + 1, layer.dilation[1] * (columns - 1) + 1)
        for top in range(0, places.shape[1] - reach[0] + 1, layer.stride[0]):
            for left in range(0, places.shape[2] - reach[1] + 1, layer.stride[1]):
                window = places[:, top : top + reach[0] : layer.dilation[0], left : left + reach[1] : layer.dilation[1]]
                pairs = zip(window.ravel().tolist(), layer.weight[channel].ravel().tolist(), strict=True)
                terms.append(([(k, weight) for k, weight in pairs if k >= 0 and weight], float(layer.bias[channel])))
    return terms


class _Search:
    """The regions of one network over one ball, depth first."""

    def __init__(self, network: LayerList, ball: Ball, label: int, targets: Sequence[int], most_regions: int) -> None:
        low, high = ball.sides()
        self.label, self.targets = label, targets
        self.free = [k for k in range(len(low)) if low[k] < high[k]]
        self.scale = math.lcm(*(value.denominator for value in low + high))
        sides = [int(value * self.scale) for value in low], [int(value * self.scale) for value in high]
        self.box = _Box([sides[0][k] for k in self.free], [sides[1][k] for k in self.free], self.scale)
        self.start = [self._input(k, sides[0][k]) for k in range(len(low))]
        self.steps = [
            _Affine.of(layer, shape)
            for layer, shape in zip(network.layers, (network.input_shape, *network.shapes), strict=False)
        ]
        self.best: list[Fraction | None] = [None] * len(targets)
        self.regions_left = most_regions

    def run(self) -> list[Fraction]:
        self._visit(0, self.start, self.scale, [])
        return [value for value in self.best if value is not None]

    def _input(self, k: int, side: int) -> Row:
        """The input `k` times the scale, as a form of those that are free."""
        row = [0] * (len(self.free) + 1)
        if k in self.free:
            row[self.free.index(k)] = self.scale
        else:
            row[-1] = side
        return row

    def _visit(self, step: int, forms: list[Row], scale: int, region: list[Row]) -> None:
        """Go on from `step`, where the values are `forms / scale` on the inputs that satisfy `region`."""
        for place in range(step, len(self.steps)):
            layer = self.steps[place]
            if isinstance(layer, _Affine):
                forms, scale = layer.apply(forms, scale)
            elif layer == "relu":
                return self._split(place, forms, scale, region, 0)
        self._leaf(forms, scale, region)
        return None

    def _split(self, place: int, forms: list[Row], scale: int, region: list[Row], neuron: int) -> None:
        """Both signs of each neuron from `neuron` on, as far as the region has them, then the next layer."""
        nothing = [0] * len(forms[0])
        for k in range(neuron, len(forms)):
            active, inactive = self._signs(forms[k], region)
            if active and inactive:
                opposite = [-value for value in forms[k]]
                self._split(place, [*forms[:k], nothing, *forms[k + 1 :]], scale, [*region, opposite], k + 1)
                region = [*region, forms[k]]
            elif not active:
                forms = [*forms[:k], nothing, *forms[k + 1 :]]
        self._visit(place + 1, forms, scale, region)

    def _signs(self, form: Row, region: list[Row]) -> tuple[bool, bool]:
        """Whether the form is above zero somewhere in the region, and below."""
        opposite = [-value for value in form]
        above = not self.box.keeps_from_above_zero(form) and _above_zero(form, self.box.least(opposite, region))
        below = not self.box.keeps_from_above_zero(opposite) and _above_zero(opposite, self.box.least(form, region))
        return above, below

    def _leaf(self, forms: list[Row], scale: int, region: list[Row]) -> None:
        self.regions_left -= 1
        if self.regions_left < 0:
            raise TooManyRegionsError
        for k, target in enumerate(self.targets):
            margin = [a - b for a, b in zip(forms[self.label], forms[target], strict=True)]
            point = self.box.least(margin, region)
            value = Fraction(_at(margin, point), point[1] * scale)
            known = self.best[k]
            self.best[k] = value if known is None else min(known, value)


@dataclass(frozen=True, slots=True)
class _Affine:
    """A layer in integers: its terms and biases are `scale` times the numbers that they stand for."""

    terms: list[list[tuple[int, int]]]
    biases: list[int]
    scale: int

    @staticmethod
    def of(layer: Layer, shape: Shape) -> _Affine | str:
        if not isinstance(layer, Linear | Conv2d):
            return "relu" if isinstance(layer, ReLU) else "flatten"
        terms = _terms(layer, shape)
        numbers = [weight for row, _ in terms for _, weight in row] + [bias for _, bias in terms]
        scale = max(number.as_integer_ratio()[1] for number in numbers)
        rows = [[(k, _times(weight, scale)) for k, weight in row] for row, _ in terms]
        return _Affine(rows, [_times(bias, scale) for _, bias in terms], scale)

    def apply(self, forms: list[Row], scale: int) -> tuple[list[Row], int]:
        new = []
        for terms, bias in zip(self.terms, self.biases, strict=True):
            row = [0] * len(forms[0])
            for k, weight in terms:
                row = [a + weight * b for a, b in zip(row, forms[k], strict=True)]
            row[-1] += bias * scale
            new.append(row)
        return new, scale * self.scale


def _times(number: float, scale: int) -> int:
    top, bottom = number.as_integer_ratio()
    return top * (scale // bottom)


@dataclass(frozen=True, slots=True)
class _Box:
    """`low / scale <= x <= high / scale`."""

    low: list[int]
    high: list[int]
    scale: int

    def keeps_from_above_zero(self, form: Row) -> bool:
        """Whether the form is at most zero in the whole box."""
        most = sum(max(a * low, a * high) for a, low, high in zip(form, self.low, self.high, strict=False))
        return most + form[-1] * self.scale <= 0

    def least(self, cost: Row, rows: list[Row]) -> Point:
        """A point of the box that satisfies the rows, which some do, and minimises the form `cost`."""
        point = _least(cost[:-1], self, [_reduced(row) for row in rows])
        assert point is not None, "a region without inputs was visited"
        return point


def _least(cost: list[int], box: _Box, rows: list[Row]) -> Point | None:
    """Seidel's algorithm; None where nothing satisfies the rows."""
    if not cost:
        return ([], 1) if all(row[-1] >= 0 for row in rows) else None
    point: Point = ([low if c >= 0 else high for c, low, high in zip(cost, box.low, box.high, strict=True)], box.scale)
    for place, row in enumerate(rows):
        if _at(row, point) >= 0:
            continue
        found = _least_on(row, cost, box, rows[:place])
        if found is None:
            return None
        point = found
    return point


def _least_on(row: Row, cost: list[int], box: _Box, rows: list[Row]) -> Point | None:
    """The same where `row` is zero: one variable, which it gives by the others, is put in everywhere."""
    k = next((k for k, value in enumerate(row[:-1]) if value), None)
    if k is None:
        return None
    size = len(row)
    sides = [_unit(size, k, box.scale, -box.low[k]), _unit(size, k, -box.scale, box.high[k])]
    smaller = _Box(_without(box.low, k), _without(box.high, k), box.scale)
    lower = _least(_put_in(row, k, [*cost, 0])[:-1], smaller, [_reduced(_put_in(row, k, r)) for r in [*rows, *sides]])
    if lower is None:
        return None
    numerators, denominator = lower
    rest = _at(_without(row, k), lower)
    scaled = [value * abs(row[k]) for value in numerators]
    scaled.insert(k, -rest if row[k] > 0 else rest)
    return _shortened(scaled, denominator * abs(row[k]))


def _put_in(row: Row, k: int, other: Row) -> Row:
    """`other` without the variable `k`, times a positive number, where `row` is zero."""
    factor, share = abs(row[k]), other[k] if row[k] > 0 else -other[k]
    return _without([factor * b - share * a for a, b in zip(row, other, strict=True)], k)


def _unit(size: int, k: int, value: int, constant: int) -> Row:
    row = [0] * size
    row[k], row[-1] = value, constant
    return row


def _without(values: list[int], k: int) -> list[int]:
    return values[:k] + values[k + 1 :]


def _at(row: Row, point: Point) -> int:
    """The form at the point, times the point's denominator."""
    return sum(a * b for a, b in zip(row, point[0], strict=False)) + row[-1] * point[1]


def _above_zero(form: Row, point: Point) -> bool:
    return _at(form, point) > 0


def _reduced(row: Row) -> Row:
    divisor = math.gcd(*row)
    return row if divisor <= 1 else [value // divisor for value in row]


def _shortened(numerators: list[int], denominator: int) -> Point:
    divisor = math.gcd(denominator, *numerators)
    return [value // divisor for value in numerators], denominator // divisor


def as_float(value: Any) -> float:
    """The nearest float, infinite where it is beyond them."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
