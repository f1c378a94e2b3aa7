"""One question: a ball of inputs and the margins whose minimum over it is asked.

The ball is one of real numbers: all x' with `|x' - x| <= epsilon` in every entry, and inside the clip. Its sides are
seldom doubles. A bound must hold on all of it, so bounds are computed over a box that contains it; a witness must lie
in it, so points are moved into the box of the outermost doubles inside. The two differ by one rounding a side.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from networks.errors import InputError
from networks.layers import Array, LayerList, Shape, read_only

Pair = tuple[Array, Array]
Clip = tuple[float, float]

FLOAT32_ROUNDING = 2.0**-23  # relative: images normalised in float32 miss a clip computed in float64 by up to this


@dataclass(frozen=True, eq=False)
class Instance:
    """The ball around one input, and the margin rows asked.

    Attributes
    ----------
    image : ndarray, shape (*input_shape), float64
        The ball's centre.
    lower, upper : ndarray, shape (*input_shape), float64
        The input box: the ball of radius `epsilon` in the l-infinity norm, rounded outwards, cut to `clip`.
    label : int
        The class that must win.
    targets : tuple of int
        The classes that must lose.
    margins : ndarray, shape (k, classes), float64
        One row `e_label - e_target` a target: `margins @ f(x)` are the margins.
    epsilon : float
    clip : (float, float) or None
    source : str
        Where the image came from, e.g. `mnist_test[0]`.
    """

    image: Array
    lower: Array
    upper: Array
    label: int
    targets: tuple[int, ...]
    margins: Array
    epsilon: float
    clip: Clip | None
    source: str = ""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the ball and the margins, as 64 hexadecimal digits."""
        sha = hashlib.sha256(json.dumps([self.lower.shape, self.label, self.targets]).encode())
        for array in (self.lower, self.upper, *self.inner, self.margins):
            sha.update(array.astype("<f8", copy=False).tobytes())
        return sha.hexdigest()

    @cached_property
    def inner(self) -> Pair:
        """The least and the largest doubles inside the ball and the clip, shape (*input_shape) each.

        Between them lies the image, and every double of the ball.
        """
        lower, upper = inner_box(self.image, self.epsilon, self.clip)
        return read_only(lower), read_only(upper)

    def contains(self, points: Array) -> bool:
        """Whether every point of shape (n, *input_shape) lies in the ball and the clip, exactly."""
        lower, upper = self.inner
        return bool(((points >= lower) & (points <= upper)).all())


def ball(
    network: LayerList,
    image: ArrayLike,
    label: int,
    epsilon: float,
    *,
    clip: Clip | None = (0.0, 1.0),
    targets: int | Iterable[int] | None = None,
    source: str = "",
) -> Instance:
    """The question whether a change of each pixel by at most `epsilon` can make `network` prefer a target to `label`.

    Parameters
    ----------
    network : LayerList
    image : array_like, shape (*input_shape)
    label : int
    epsilon : float
        Radius of the l-infinity ball, in the image's units.
    clip : (float, float) or None
        The range of valid inputs; None for no limit.
    targets : int or iterable of int, optional
        All classes but `label` unless given.

    Raises
    ------
    InputError
        A shape that does not fit, a value that is not finite or outside `clip`, an epsilon, label or target that is
        out of range, a ball that reaches beyond the range of doubles.
    """
    x = check_images(network.input_shape, _floats(image)[None], clip)[0]
    classes = network.class_count
    check_epsilon(epsilon)
    epsilon = float(epsilon)
    check_classes([label], classes, "label")
    label = int(label)
    wanted = _wanted(targets, label, classes)
    if not wanted or label in wanted or len(set(wanted)) < len(wanted):
        raise InputError(f"targets are {list(wanted)}; expected one or more distinct classes other than label {label}")
    lower, upper = outer_box(x, epsilon, clip)
    if not (np.isfinite(lower).all() and np.isfinite(upper).all()):
        raise InputError(f"epsilon is {epsilon}: the ball reaches beyond the range of doubles; give it a clip")
    rows = np.eye(classes)[label] - np.eye(classes)[list(wanted)]
    return Instance(
        read_only(x),
        read_only(lower),
        read_only(upper),
        label,
        wanted,
        read_only(rows),
        epsilon,
        None if clip is None else (float(clip[0]), float(clip[1])),
        source,
    )


def outer_box(images: Array, epsilon: float, clip: Clip | None) -> Pair:
    """The least box of doubles that contains each ball of real numbers, cut to the clip; of the images' shape."""
    low, under, high, over = _sides(images, epsilon)
    lower, upper = (
        np.where(under < 0, np.nextafter(low, -np.inf), low),
        np.where(over > 0, np.nextafter(high, np.inf), high),
    )
    return _cut(lower, upper, clip)


def inner_box(images: Array, epsilon: float, clip: Clip | None) -> Pair:
    """The largest box of doubles inside each ball of real numbers, cut to the clip; of the images' shape."""
    low, under, high, over = _sides(images, epsilon)
    lower, upper = (
        np.where(under > 0, np.nextafter(low, np.inf), low),
        np.where(over < 0, np.nextafter(high, -np.inf), high),
    )
    return _cut(lower, upper, clip)


def _sides(images: Array, epsilon: float) -> tuple[Array, Array, Array, Array]:
    """The nearest double to each lower side, by how much the side is above it, and the same of the upper sides."""
    return *exact_sum(images, -epsilon), *exact_sum(images, epsilon)


def exact_sum(a: Array, b: Array | float) -> Pair:
    """The rounded sum and what rounding took from it: `a + b` exactly (Knuth's TwoSum); NaN where the sum overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = a + b
        part = total - a
        rest = total - part
        np.subtract(a, rest, out=rest)  # in place: of ten thousand images every array counts
        rest += np.subtract(b, part, out=part)
        return total, rest


def _cut(lower: Array, upper: Array, clip: Clip | None) -> Pair:
    return (lower, upper) if clip is None else (np.maximum(lower, clip[0]), np.minimum(upper, clip[1]))


def _wanted(targets: int | Iterable[int] | None, label: int, classes: int) -> tuple[int, ...]:
    if targets is None:
        return tuple(target for target in range(classes) if target != label)
    if not is_whole_number(targets) and not isinstance(targets, Iterable):
        raise InputError(f"targets is {targets!r}; expected a class or several")
    wanted: tuple[Any, ...] = (targets,) if is_whole_number(targets) else tuple(targets)  # type: ignore[arg-type]
    check_classes(wanted, classes, "target")
    return tuple(map(int, wanted))


def check_epsilon(epsilon: float) -> None:
    """Raise InputError unless `epsilon` is finite and not negative."""
    if not (is_finite_number(epsilon) and epsilon >= 0):
        raise InputError(f"epsilon is {epsilon!r}; expected a finite number of at least 0")


def check_classes(values: Iterable[int], class_count: int, what: str) -> None:
    """Raise InputError unless every value is a class index."""
    for value in values:
        if not (is_whole_number(value) and 0 <= value < class_count):
            raise InputError(f"{what} is {value!r}; expected a class from 0 to {class_count - 1}")


def is_finite_number(value: object) -> bool:
    """Whether `value` is a finite number of Python, numpy or torch; text is none."""
    try:
        return not isinstance(value, str | bytes) and math.isfinite(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False


def is_whole_number(value: object) -> bool:
    """Whether `value` is an integer of Python, numpy or torch; 3.0 and True are none."""
    try:
        operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return False
    return not isinstance(value, bool)


def check_clip(clip: Clip | None) -> None:
    """Raise InputError unless `clip` is None or an increasing pair of finite numbers."""
    if clip is not None and not (len(clip) == 2 and all(map(math.isfinite, clip)) and clip[0] < clip[1]):
        raise InputError(f"clip is {clip}; expected two finite numbers, the lower first, or none")


def check_images(input_shape: Shape, images: Any, clip: Clip | None) -> Array:
    """A batch of shape (n, *input_shape) as float64, finite and inside `clip`; else InputError.

    What is outside `clip` by no more than a float32 rounding is moved to its edge.
    """
    check_clip(clip)
    batch = _floats(images)
    if batch.shape[1:] != input_shape:
        raise InputError(f"the input has shape {batch.shape[1:]}; the network takes {input_shape}")
    if not np.isfinite(batch).all():
        raise InputError("the input has values that are not finite; expected finite numbers")
    return batch if clip is None or not batch.size else _into(clip, batch)


def _into(clip: Clip, batch: Array) -> Array:
    low, high, least, most = map(float, (*clip, batch.min(), batch.max()))
    if least >= low and most <= high:
        return batch
    slack = FLOAT32_ROUNDING * max(abs(low), abs(high))
    if least < low - slack or most > high + slack:
        raise InputError(
            f"the input's values span [{least!r}, {most!r}]; expected values inside the clip "
            f"[{low!r}, {high!r}], or no clip"
        )
    return np.clip(batch, low, high)


def _floats(values: Any) -> Array:
    try:
        array = np.asarray(_off_torch(values))
        if np.iscomplexobj(array):
            raise TypeError("it is complex")
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: torch's, e.g. for a list with a gradient
        raise InputError(f"the input is no array of numbers: {error}") from error


def _off_torch(values: Any) -> Any:
    """A tensor as numpy's array, without its gradient; bfloat16, which numpy lacks, as float64."""
    torch = sys.modules.get("torch")  # where it was never imported there are no tensors
    if torch is None or not isinstance(values, torch.Tensor):
        return values
    tensor = values.detach().cpu()
    return (tensor.resolve_conj() if tensor.is_complex() else tensor.double()).numpy()
