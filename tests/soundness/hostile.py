"""Networks and balls that numbers make hard: one small function a family, in the table at the end.

Each makes a question whose label is 0. `case` then moves, most of the time, the last bias so that the least margin is
as near to zero as 1e-12 or as far as 1; the truth comes from `exact`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from networks.errors import NetworkError
from networks.layers import Array, Conv2d, Flatten, Layer, LayerList, Linear, ReLU
from tests.soundness.exact import Ball, TooManyRegionsError, as_float, margins_at, minima

Rng = np.random.Generator
LABEL = 0
DISTANCES = (1e-12, 1e-9, 1e-7, 1e-6, 1e-5, 1e-3, 0.1, 1.0)  # of the least margin from zero
UNIT = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Question:
    """A network, a ball, and an input of it where the margin is known to be small, where the family knows one."""

    network: LayerList
    ball: Ball
    worst: tuple[float, ...] | None = None

    @property
    def targets(self) -> tuple[int, ...]:
        return tuple(k for k in range(self.network.class_count) if k != LABEL)


@dataclass(frozen=True, slots=True)
class Case:
    """A question and its answer: the least margin to each target is at most `most`, and where known, exactly that."""

    family: str
    question: Question
    most: tuple[Fraction, ...]
    known: bool

    @property
    def robust(self) -> bool | None:
        """Whether the label wins everywhere; None where that is not known."""
        if min(self.most) <= 0:
            return False
        return True if self.known else None


def case(seed: int, index: int) -> Case:
    """The network of that number: the families take turns."""
    families = tuple(FAMILIES)
    family = families[index % len(families)]
    rng = np.random.default_rng([seed, index])
    question = FAMILIES[family](rng)
    if rng.random() < (0.75 if question.worst is None else 0.3):
        question = _shifted(rng, question)
    return answered(family, question)


def answered(family: str, question: Question) -> Case:
    """The question with the exact answer, or with what its corners show where there are too many regions."""
    network, ball, targets = question.network, question.ball, question.targets
    try:
        return Case(family, question, tuple(minima(network, ball, LABEL, targets)), known=True)
    except TooManyRegionsError:
        points = [ball.image] if question.worst is None else [question.worst, ball.image]
        seen = [margins_at(network, LABEL, targets, point) for point in points if ball.contains(point)]
        return Case(family, question, tuple(map(min, zip(*seen, strict=True))), known=False)


def _shifted(rng: Rng, question: Question) -> Question:
    """The least margin moved next to zero by the last bias, on either side."""
    least = min(answered("", question).most)
    wanted = Fraction(float(rng.choice(DISTANCES) * rng.choice([-1.0, 1.0])))
    layers = list(question.network.layers)
    if not isinstance(layers[-1], Linear):
        layers.append(_identity(question.network.class_count))
    last = layers[-1]
    assert isinstance(last, Linear)
    bias = last.bias.copy()
    bias[LABEL] = as_float(Fraction(float(bias[LABEL])) + wanted - least)
    if not np.isfinite(bias).all():
        return question
    layers[-1] = Linear(last.weight, bias)
    return replace(question, network=LayerList(question.network.input_shape, tuple(layers)))


def linear(weight: ArrayLike, bias: ArrayLike) -> Linear:
    return Linear(np.asarray(weight, dtype=np.float64), np.asarray(bias, dtype=np.float64))


def _identity(size: int) -> Linear:
    return linear(np.eye(size), np.zeros(size))


def dense(*pairs: tuple[ArrayLike, ArrayLike]) -> tuple[Layer, ...]:
    """Linear layers with a ReLU between each two."""
    layers: list[Layer] = []
    for weight, bias in pairs:
        layers += [linear(weight, bias), ReLU()]
    return tuple(layers[:-1])


def _sizes(rng: Rng, inputs: int = 3, depth: int = 3, width: int = 4) -> list[int]:
    hidden = rng.integers(1, width + 1, int(rng.integers(1, depth + 1)))
    return [int(rng.integers(1, inputs + 1)), *hidden.tolist(), int(rng.integers(2, 4))]


def _coarse(rng: Rng, *shape: int) -> Array:
    return np.asarray(np.round(rng.normal(size=shape) * 8) / 8)


def _random(rng: Rng, values: Callable[..., Array], sizes: list[int] | None = None) -> tuple[Layer, ...]:
    """A network of fully connected layers with what `values(*shape)` gives as weights and biases."""
    chosen = sizes or _sizes(rng)
    return dense(*((values(b, a), values(b)) for a, b in itertools.pairwise(chosen)))


def _ball(rng: Rng, size: int, clip: tuple[float, float] | None = UNIT) -> Ball:
    low, high = clip or (-2.0, 2.0)
    image = rng.uniform(low, high, size)
    if rng.random() < 0.3:
        image = np.round(image * 4) / 4
    radius = rng.choice([0.0, 1e-9, 0.01, 0.1, 0.25, 0.5, 1.0], p=[0.04, 0.04, 0.12, 0.2, 0.2, 0.2, 0.2])
    return Ball(tuple(np.clip(image, low, high).tolist()), float(radius * (high - low)), clip)


def _asked(rng: Rng, layers: tuple[Layer, ...], clip: tuple[float, float] | None = UNIT) -> Question:
    first = layers[0]
    assert isinstance(first, Linear)
    network = LayerList((first.weight.shape[1],), layers)
    return Question(network, _ball(rng, first.weight.shape[1], clip))


def ordinary(rng: Rng) -> Question:
    """Weights of size one; a quarter of them in eighths, which makes ties."""
    values = _coarse if rng.random() < 0.25 else (lambda r, *shape: r.normal(size=shape))
    clip = UNIT if rng.random() < 0.7 else None
    return _asked(rng, _random(rng, lambda *shape: values(rng, *shape)), clip)


def apart(rng: Rng) -> Question:
    """Neurons of one layer up to 1e24 apart, undone by the next: the function is an ordinary one."""
    sizes = _sizes(rng)
    layers = list(_random(rng, lambda *shape: rng.normal(size=shape), sizes))
    for k in range(0, len(layers) - 2, 2):
        this, after = layers[k], layers[k + 2]
        assert isinstance(this, Linear)
        assert isinstance(after, Linear)
        scales = 10.0 ** rng.uniform(-12, 12, len(this.bias))
        layers[k] = Linear(this.weight * scales[:, None], this.bias * scales)
        layers[k + 2] = Linear(after.weight / scales, after.bias)
    return _asked(rng, tuple(layers))


def backdoor(rng: Rng) -> Question:
    """A neuron `factor` times smaller than its neighbour, with that weight behind it, fires near one corner."""
    size, factor = int(rng.integers(1, 9)), 10.0 ** rng.uniform(4, 13)
    corner = rng.integers(0, 2, size).astype(float)
    trigger = (2 * corner - 1) * 2 / factor
    first = np.vstack([np.full(size, 0.25), trigger])
    hidden = (first, [0.5, -2 * (corner.sum() - 0.5) / factor])
    layers = dense(hidden, ([[0.0, 0.0], [0.0, factor]], [0.5, 0.0]))
    return Question(LayerList((size,), layers), Ball((0.5,) * size, 0.5, UNIT), tuple(corner.tolist()))


def hidden_corner(rng: Rng) -> Question:
    """Ordinary neurons, and one that is zero but for a trifle at the upper corner, with a large weight behind it.

    The margin there is about -2, in every arithmetic.
    """
    pixels = rng.random() < 0.3
    size, width = (16, int(rng.integers(1, 5))) if pixels else (4, int(rng.integers(3, 8)))
    low, high, clip = (0.0, 255.0, (0.0, 255.0)) if pixels else (0.25, 0.75, UNIT)
    fires = 10.0 ** rng.uniform(-4, 0)
    slope = 1.0 if pixels else 10.0 ** rng.uniform(2, 6.5)
    first = np.vstack([rng.normal(size=(width, size)), np.full(size, slope)])
    bias = np.append(rng.normal(size=width) * (100 if pixels else 1), fires - slope * size * high)
    middle = np.zeros((4, width + 1))
    middle[:3, :width], middle[3, width] = rng.normal(size=(3, width)) * 0.4, 1.0
    shares = rng.uniform(-0.05, 0.07, 3) * (0.01 if pixels else 1.0)
    last = np.zeros((2, 4))
    at_corner = (slope * size * high) + bias[-1]
    last[0] = np.append(shares, -3.0 / at_corner)
    layers = dense((first, bias), (middle, np.append(rng.normal(size=3) * 0.2, 0.0)), (last, [1.0, 0.0]))
    image, radius = (0.5 * (low + high),) * size, 0.5 * (high - low)
    return Question(LayerList((size,), layers), Ball(image, radius, clip), (high,) * size)


def decoy(rng: Rng) -> Question:
    """A hidden corner, and pairs of neurons that cancel exactly, which draw linear bounds and attacks elsewhere."""
    size, width = int(rng.integers(2, 5)), int(rng.integers(1, 3))
    corner, low, high = rng.integers(0, 2, size), 0.25, 0.75
    slope, fires = 10.0 ** rng.uniform(0, 7), 10.0 ** rng.uniform(-5, 0)
    sign = 2.0 * corner - 1.0
    away = -sign[None] + 0.3 * rng.normal(size=(width, size))
    at_corner = np.where(corner, high, low)
    trigger = (slope * sign, fires - slope * float(sign @ at_corner))
    drawn = (np.repeat(away, 2, axis=0), np.repeat(-away @ np.full(size, 0.5), 2))
    first = (np.vstack([trigger[0], *drawn[0]]), np.array([trigger[1], *drawn[1]]))
    pull = 10.0 ** rng.uniform(1, 3)
    last = [[-3.0 / fires, *([pull, -pull] * width)], [0.0] * (1 + 2 * width)]
    passed = [(np.eye(1 + 2 * width), np.zeros(1 + 2 * width))] * int(rng.integers(0, 3))
    layers = dense(first, *passed, (last, [1.0, 0.0]))
    return Question(LayerList((size,), layers), Ball((0.5,) * size, 0.25, UNIT), tuple(at_corner.tolist()))


def growth(rng: Rng) -> Question:
    """A trifle that no single weight shows: it shrinks tenfold a layer, and then grows tenfold a layer.

    Zombori et al., "Fooling a complete neural network verifier" (2021), hide a switch like this.
    """
    size, steps, rate = int(rng.integers(1, 4)), int(rng.integers(2, 9)), float(rng.uniform(3, 12))
    corner = rng.integers(0, 2, size).astype(float)
    sign = 2 * corner - 1
    pairs: list[tuple[ArrayLike, ArrayLike]] = [(np.vstack([np.full(size, 0.25), sign]), [0.5, 0.25 - sign @ corner])]
    pairs += [(np.diag([1.0, 1 / rate]), [0.0, 0.0])] * steps
    pairs += [(np.diag([1.0, rate]), [0.0, 0.0])] * steps
    pairs += [([[1.0, -8.0], [0.0, 0.0]], [0.0, 0.0])]
    return Question(LayerList((size,), dense(*pairs)), Ball((0.5,) * size, 0.5, UNIT), tuple(corner.tolist()))


def deep(rng: Rng) -> Question:
    """Many narrow layers with weights of size one to three: values and errors grow together."""
    sizes = [int(rng.integers(1, 3)), *[int(rng.integers(2, 4))] * int(rng.integers(6, 13)), 2]
    size = float(rng.uniform(1, 3))
    return _asked(rng, _random(rng, lambda *shape: rng.normal(size=shape) * size, sizes))


def large_bias(rng: Rng) -> Question:
    """A large bias added and removed again: `relu(z + M) - M`."""
    sizes = [int(rng.integers(1, 4)), 3, 2]
    (first, _, last) = _random(rng, lambda *shape: rng.normal(size=shape), sizes)
    assert isinstance(first, Linear)
    assert isinstance(last, Linear)
    large = float(rng.choice([2.0 ** rng.integers(20, 60), 10.0 ** rng.uniform(4, 17)]))
    if rng.random() < 0.5:  # removed in a layer of its own, and the ReLU is taken after that
        layers = dense((first.weight, first.bias + large), (np.eye(3), [-large] * 3), (last.weight, last.bias))
    else:
        layers = dense((first.weight, first.bias + large), (last.weight, last.bias - last.weight.sum(axis=1) * large))
    return _asked(rng, layers)


def difference(rng: Rng) -> Question:
    """`K (z2 - z1)` of two neurons that differ by one part in K."""
    size, factor = int(rng.integers(1, 4)), 10.0 ** rng.uniform(3, 15)
    common, apart = rng.normal(size=size), rng.normal(size=size)
    first = np.vstack([common, common + apart / factor, rng.normal(size=size)])
    bias = np.full(3, float(np.abs(common).sum()))
    last = [[-factor, factor, 0.3], [0.0, 0.0, float(rng.normal())]]
    return _asked(rng, dense((first, bias), (last, [0.0, 0.0])))


def tiny_columns(rng: Rng) -> Question:
    """Inputs whose weights are tiny, and whose ranges are that much larger, or the other way round."""
    size = int(rng.integers(1, 4))
    layers = list(_random(rng, lambda *shape: rng.normal(size=shape), [size, 3, 2, 2]))
    first = layers[0]
    assert isinstance(first, Linear)
    unit = 10.0 ** rng.uniform(-12, 12)
    columns = np.ones(size) / unit
    columns[0] *= 10.0 ** rng.choice([-9, -6, 0, 3])
    layers[0] = Linear(first.weight * columns, first.bias)
    ball = _ball(rng, size, None)
    ball = Ball(tuple(value * unit for value in ball.image), ball.epsilon * unit, None)
    return Question(LayerList((size,), tuple(layers)), ball)


def adjacent(rng: Rng) -> Question:
    """Affine layers in a row whose product cancels, in exact arithmetic or only in floats."""
    parts = rng.choice([0.1, 0.2, 0.3, -0.2, -0.9, -1.2, 0.7], 3)
    large = 10.0 ** rng.integers(5, 18) * rng.integers(1, 4, 3) * rng.choice([-1.0, 1.0], 3)
    if rng.random() < 0.5:
        large[2] = -(parts[0] * large[0] + parts[1] * large[1]) / parts[2]
    slope = float(rng.choice([1.0, 10.0]))
    hidden: tuple[Layer, ...] = (linear([[slope]], [-float(rng.choice([0.0, 0.9])) * slope]), ReLU())
    pair = (
        linear(np.append(parts * rng.choice([0.0, 1.0]), 1.0)[:, None], [*parts, 0.0]),
        linear([[*large, 0.25]], [1.0]),
    )
    last = linear([[1.0], [0.0]], [0.0, 0.5])
    layers = (*hidden, *pair, *((ReLU(), last) if rng.random() < 0.7 else (last,)))
    return Question(LayerList((1,), layers), Ball((0.5,), 0.5, UNIT))


def composed(rng: Rng) -> Question:
    """Ordinary networks with one layer split into a product of two, or three."""
    layers = list(_random(rng, lambda *shape: rng.normal(size=shape)))
    place = 2 * int(rng.integers(0, (len(layers) + 1) // 2))
    layer = layers[place]
    assert isinstance(layer, Linear)
    size = len(layer.bias)
    spread = 10.0 ** rng.uniform(-9, 9, size)
    turn = np.linalg.qr(rng.normal(size=(size, size)))[0]
    back = Linear(turn.T / spread, rng.normal(size=size))
    layers[place : place + 1] = [Linear((turn * spread[:, None]) @ layer.weight, rng.normal(size=size) * spread), back]
    return _asked(rng, tuple(layers))


def tiny_balls(rng: Rng) -> Question:
    """A radius below half an ulp of the image, or a little more, and a slope that makes it matter."""
    size = int(rng.integers(1, 3))
    image = rng.choice([1.0, 0.9, 0.7, 0.3, 0.5, float(rng.uniform(0.1, 1))], size)
    radius = float(rng.choice([2.0**-60, 2.0**-54, 2.0**-53, 1e-16, 3e-16, 1e-14, 1e-12]))
    slope = 2.0 ** rng.integers(40, 58)
    sign = rng.choice([-1.0, 1.0], size)
    layers = dense(
        (sign[None] * slope, [-slope * float(sign @ image)]), ([[float(rng.choice([-1.0, 1.0]))], [0.0]], [0.25, 0.0])
    )
    return Question(LayerList((size,), layers), Ball(tuple(image.tolist()), radius, UNIT))


def box_edges(rng: Rng) -> Question:
    """Sides that floats round: a neuron is zero up to the nearest float of a side, and steep beyond it."""
    image, radius = float(rng.choice([0.1, 0.3, 0.7, 0.9])), float(rng.choice([0.1, 0.3, 1 / 3, 8 / 255]))
    side = float(rng.choice([-1.0, 1.0]))
    edge, slope = image + side * radius, 2.0 ** rng.integers(50, 60)
    layers = dense(([[side * slope]], [-side * slope * edge]), ([[-1.0], [0.0]], [0.25, 0.0]))
    return Question(LayerList((1,), layers), Ball((image,), radius, None))


def denormal(rng: Rng) -> Question:
    """Weights down to the smallest floats, beside ordinary ones."""
    sizes = np.array([0.0, -150.0, -160.0, -300.0, -308.0, -315.0, -320.0])
    return _asked(rng, _random(rng, lambda *shape: rng.normal(size=shape) * 10.0 ** rng.choice(sizes, shape)))


def huge(rng: Rng) -> Question:
    """Weights up to 1e300, which overflow when they meet, and ones that are too large for float32."""
    top = float(rng.choice([20.0, 39.0, 60.0, 155.0, 300.0]))
    return _asked(rng, _random(rng, lambda *shape: rng.normal(size=shape) * 10.0 ** rng.choice([0.0, top / 2, top])))


def mixed(rng: Rng) -> Question:
    """Every weight of a size of its own, from 1e-12 to 1e12."""
    reach = float(rng.choice([3, 6, 9, 12]))
    values = lambda *shape: rng.normal(size=shape) * 10.0 ** rng.uniform(-reach, reach, shape)  # noqa: E731
    return _asked(rng, _random(rng, values))


def cancelling(rng: Rng) -> Question:
    """Weights whose sums cancel to nothing or to a rounding error."""
    pool = [1.0, -1.0, 0.1, -0.1, 0.3, -0.3, 2.0**53, -(2.0**53), 2.0**27, 1.0 - 2.0**27]
    return _asked(rng, _random(rng, lambda *shape: rng.choice(pool, shape)))


def rounding(rng: Rng) -> Question:
    """Robust, or not, by less than what floats round away: `(x + M) - M` against a quarter."""
    large = 2.0 ** rng.integers(24, 56)
    layers = dense(
        ([[1.0], [0.0]], [0.0, 1.0]),
        ([[float(rng.choice([0.0, 1.0])), 1.0]], [large]),
        ([[1.0], [0.0]], [-large, float(rng.choice([0.25, 0.75, 1.0, 1.25]))]),
    )
    return Question(LayerList((1,), layers), Ball((0.5,), float(rng.choice([0.25, 0.5])), UNIT))


def convolution(rng: Rng) -> Question:
    """One or two convolutions with strides, padding, dilation and groups, and a fully connected layer or none."""
    shape = ((1, 2, 2), (2, 1, 2), (1, 1, 3), (1, 3, 1), (2, 2, 1), (1, 1, 4))[int(rng.integers(0, 6))]
    layers: list[Layer] = []
    current: tuple[int, ...] = shape
    for _ in range(int(rng.integers(1, 3))):
        layer = _fitting(rng, current)
        layers += [layer, ReLU()]
        current = layer.output_shape(current)
    layers.append(Flatten())
    outputs = int(np.prod(current))
    if outputs < 2 or rng.random() < 0.7:
        layers.append(Linear(_coarse(rng, 2, outputs), _coarse(rng, 2)))
    return Question(LayerList(shape, tuple(layers)), _ball(rng, int(np.prod(shape))))


def _fitting(rng: Rng, shape: tuple[int, ...]) -> Conv2d:
    """A convolution that fits, with at most eight outputs."""
    while True:
        groups = int(rng.choice([d for d in (1, 2) if shape[0] % d == 0]))
        kernel = rng.integers(1, 4, 2).tolist()
        stride, padding, dilation = (tuple(rng.integers(low, 3, 2).tolist()) for low in (1, 0, 1))
        out = groups * int(rng.integers(1, 3))
        layer = Conv2d(
            _coarse(rng, out, shape[0] // groups, *kernel), _coarse(rng, out), stride, padding, dilation, groups
        )
        try:
            if np.prod(layer.output_shape(shape)) <= 8:
                return layer
        except NetworkError:
            continue


def pixels(rng: Rng) -> Question:
    """Inputs from 0 to 255, with ordinary weights."""
    layers = _random(rng, lambda *shape: rng.normal(size=shape))
    question = _asked(rng, layers, (0.0, 255.0))
    return replace(question, ball=replace(question.ball, epsilon=float(rng.choice([1.0, 8.0, 127.5, 255.0]))))


def degenerate(rng: Rng) -> Question:
    """Dead layers, constants, zero rows and columns, and neurons that are one another's copies or opposites."""

    def values(*shape: int) -> Array:
        found = _coarse(rng, *shape) * (rng.random(shape) < 0.6)
        if shape[0] > 1 and rng.random() < 0.5:
            found[1] = found[0] * rng.choice([1.0, -1.0])
        if rng.random() < 0.3:
            found[0] = 0.0
        return -np.abs(found) if rng.random() < 0.2 else found

    return _asked(rng, _random(rng, values))


def odd(rng: Rng) -> Question:
    """ReLUs first, last and twice in a row; no ReLU at all; a Flatten in the middle."""
    layers = list(_random(rng, lambda *shape: _coarse(rng, *shape)))
    size, classes = layers[0].weight.shape[1], len(layers[-1].bias)  # type: ignore[union-attr]
    ways: tuple[list[Layer], ...] = (
        [ReLU(), *layers],
        [*layers, ReLU()],
        [same for layer in layers for same in ((layer, layer) if isinstance(layer, ReLU) else (layer,))],
        [ReLU(), ReLU(), *layers, ReLU()],
        [_identity(size), ReLU(), Flatten(), *layers],
        [Linear(_coarse(rng, classes, size), _coarse(rng, classes))],
        [layer for layer in layers if isinstance(layer, Linear)],
        [*layers, _identity(classes), _identity(classes)],
    )
    chosen = ways[int(rng.integers(0, len(ways)))]
    return Question(LayerList((size,), tuple(chosen)), _ball(rng, size, UNIT if rng.random() < 0.5 else None))


FAMILIES: dict[str, Callable[[Rng], Question]] = {
    make.__name__: make
    for make in (
        ordinary,
        apart,
        backdoor,
        hidden_corner,
        decoy,
        growth,
        deep,
        large_bias,
        difference,
        tiny_columns,
        adjacent,
        composed,
        tiny_balls,
        box_edges,
        denormal,
        huge,
        mixed,
        cancelling,
        rounding,
        convolution,
        pixels,
        degenerate,
        odd,
    )
}
