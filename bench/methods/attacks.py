"""Attacks: images near the given ones for which a network's margins are as small as can be found.

A margin found by an attack is an upper bound on the worst-case margin, at an image that proves it. An attack that
finds nothing proves nothing.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.choices import MOST_STEPS
from bench.devices import device_name, resolve_device
from bench.replay import signed_margins
from networks.errors import InputError
from networks.exact import largest_error
from networks.instance import (
    Clip,
    check_classes,
    check_epsilon,
    check_images,
    exact_sum,
    is_finite_number,
    is_whole_number,
)
from networks.layers import Array, LayerList
from networks.zoo import load_network

if TYPE_CHECKING:
    import torch

    from bench.methods.ascent import Ascent

Classes = NDArray[np.int64]
T = TypeVar("T", bound=np.generic)
LARGEST_RADIUS = 1e30  # of an epsilon or a step: leaves float32 room for what is computed with it
TINY = 1e-300  # stands in for the size of a perturbation of zeros
SEEDS = 2**63  # what torch's generators take
HAIR = 2.0**-52  # share of the radius given up for every entry: a norm is a sum of as many rounded terms


@dataclass(frozen=True, slots=True)
class Method:
    """What sets an attack apart; see `bench.methods.ascent` for the losses and directions.

    Attributes
    ----------
    norm : {"linf", "l2", "l1"}
        Of the ball.
    direction : str
        Of a step, made from the loss's gradient.
    step : float
        The default length of a step, over epsilon.
    loss : str
        What untargeted attacks climb.
    steps : int or None
        Fixed for the method, or the caller's.
    own_target_loss : bool
        Whether `loss` itself takes targets, and needs them.
    """

    norm: str
    direction: str
    step: float
    loss: str = "log_odds"
    steps: int | None = None
    own_target_loss: bool = False


# The steps are those of Kolter and Madry's tutorial, chapter 4, over the epsilon that they stand with there: 0.01 at
# 0.1 (pgd_linf), 0.1 at 2 (pgd_l2), and 1e4 at 0.1 for plain gradients, which are tiny at a well-classified image. The
# chapter has no l1 attack; ours steps as far as the l2 one.
METHODS = {
    "fgsm": Method("linf", "steepest_linf", step=1.0, steps=1),
    "pgd": Method("linf", "gradient", step=1e5, loss="cross_entropy"),
    "pgd_linf": Method("linf", "steepest_linf", step=0.1),
    "pgd_linf_versus_all": Method("linf", "steepest_linf", step=0.1, loss="versus_all", own_target_loss=True),
    "pgd_l2": Method("l2", "steepest_l2", step=0.05),
    "pgd_l1": Method("l1", "steepest_l1", step=0.05),
}


@dataclass(frozen=True, slots=True, eq=False)
class AttackResult:
    """What an attack found, and what it cost.

    Attributes
    ----------
    adversarial : ndarray, shape (n, *input_shape), float64
        The images found. Each is inside its ball of real numbers and the clip.
    predictions : ndarray, shape (n,), int64
        The network's class for each of them: the label unless another class has a larger output in exact arithmetic.
    margin : ndarray, shape (n,), float64
        `f_y - max_{t != y} f_t` at them; with targets, `f_y - f_target`. Below zero is a success, zero is a tie. The
        last digits are float64's; the sign is that of exact arithmetic.
    error_rate : float
        The share of `predictions` that are not the label: a tie is no error.
    seconds, images_per_s : float
        Of the whole call but loading the network: what torch loads, all restarts, and the replay.
    method, norm : str
    epsilon, step : float
    steps, restarts, seed : int
    clip : (float, float) or None
    device : str
        `cpu` or the GPU's name.
    """

    adversarial: Array
    predictions: Classes
    margin: Array
    error_rate: float
    seconds: float
    images_per_s: float
    method: str
    norm: str
    epsilon: float
    step: float
    steps: int
    restarts: int
    seed: int
    clip: Clip | None
    device: str

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, ready for JSON, and the number of images."""
        arrays = ("adversarial", "predictions", "margin")
        scalars = {name: getattr(self, name) for name in self.__slots__ if name not in arrays}
        return scalars | {"images": len(self.margin), "clip": list(self.clip) if self.clip else None}


def attack(
    network: LayerList | str | Path,
    x: ArrayLike | torch.Tensor,
    y: ArrayLike | torch.Tensor,
    method: str,
    epsilon: float,
    *,
    step: float | None = None,
    steps: int = 40,
    restarts: int = 1,
    targets: int | ArrayLike | torch.Tensor | None = None,
    clip: Clip | None = None,
    device: str = "auto",
    seed: int = 0,
) -> AttackResult:
    """Look for misclassified images within `epsilon` of a batch of images.

    The gradients are float32. What they lead to is moved inside the ball and the clip exactly, and run through the
    network again in float64, and in exact arithmetic where float64's error bounds leave a margin's sign open.

    Parameters
    ----------
    network : LayerList, str or Path
        A layer list, a zoo name, or a layer-list file.
    x : array_like or Tensor, shape (n, *input_shape)
    y : array_like or Tensor of whole numbers, shape (n,)
        The labels.
    method : str
        `fgsm`: one step of epsilon by the sign of the cross entropy's gradient. `pgd`: plain gradient steps, and
        `pgd_linf`: sign steps, both in the l-infinity ball. `pgd_linf_versus_all`: sign steps up
        `2 f_target - sum_t f_t`. `pgd_l2`: steps along the normalised gradient in the l2 ball. `pgd_l1`: steps in the
        entry with the largest derivative in the l1 ball.
    epsilon : float
        The ball's radius, in the images' units.
    step : float, optional
        Length of a step; for `pgd`, the factor on the summed cross entropy's gradient. By default `METHODS` has it as
        a multiple of epsilon.
    steps : int
        Not used by `fgsm`.
    restarts : int
        Number of starts, of which each image keeps the one with the lowest margin. The first is the image itself, the
        others are uniform in the ball.
    targets : int or array_like or Tensor of whole numbers, shape (n,), optional
        Classes to reach: attacks then climb `f_target - f_y`.
    clip : (float, float) or None
        The range of valid inputs.
    device : {"auto", "cpu", "cuda"}
    seed : int
        Of the starts. Torch's own generators are not touched.

    Raises
    ------
    InputError
        An argument that does not fit, or outputs that float64 cannot hold.
    """
    check_method(method, targets is not None)
    _check_settings(epsilon, step, steps, restarts, seed)
    layer_list, start_s = load_network(network), time.perf_counter()
    asked = _asked(layer_list, x, y, targets, clip)
    ascent = ascent_of(METHODS[method], float(epsilon), step, steps, clip, targeted=targets is not None)
    where = resolve_device(device)
    found = (_replay(asked, points) for points in search(asked, ascent, where, int(restarts), int(seed)))
    best = functools.reduce(_Found.keep_lower, found)
    seconds = time.perf_counter() - start_s
    return AttackResult(
        adversarial=_frozen(best.points),
        predictions=_frozen(best.predictions),
        margin=_frozen(best.margin),
        error_rate=float((best.predictions != asked.labels).mean()),
        seconds=seconds,
        images_per_s=len(asked.labels) / seconds,
        method=method,
        norm=ascent.norm,
        epsilon=ascent.epsilon,
        step=ascent.step,
        steps=ascent.steps,
        restarts=int(restarts),
        seed=int(seed),
        clip=ascent.clip,
        device=device_name(where),
    )


def check_method(method: str, has_targets: bool) -> None:
    """Raise InputError unless there is such an attack, and it has the targets that it needs."""
    if method not in METHODS:
        raise InputError(f"attack is {method!r}; expected one of {', '.join(METHODS)}")
    if METHODS[method].own_target_loss and not has_targets:
        raise InputError(f"attack {method} climbs towards a class; give it targets")


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The network, images (n, *input_shape), labels (n,) and, where there are any, targets (n,)."""

    network: LayerList
    images: Array
    labels: Classes
    targets: Classes | None


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Points (n, *input_shape) and what the network makes of them, (n,) each."""

    points: Array
    predictions: Classes
    margin: Array

    def keep_lower(self, other: _Found) -> _Found:
        """Image by image, the one with the lower margin."""
        take = other.margin < self.margin
        wide = take.reshape(-1, *(1,) * (self.points.ndim - 1))
        return _Found(
            np.where(wide, other.points, self.points),
            np.where(take, other.predictions, self.predictions),
            np.where(take, other.margin, self.margin),
        )


def _check_settings(epsilon: float, step: float | None, steps: int, restarts: int, seed: int) -> None:
    check_epsilon(epsilon)
    if epsilon > LARGEST_RADIUS:
        raise InputError(f"epsilon is {epsilon}; expected at most {LARGEST_RADIUS:g}, as attacks compute in float32")
    if step is not None and not (is_finite_number(step) and 0 < step <= LARGEST_RADIUS):
        raise InputError(f"step is {step!r}; expected a number above 0 and up to {LARGEST_RADIUS:g}, or none")
    for name, count in (("steps", steps), ("restarts", restarts)):
        if not is_whole_number(count) or not 1 <= count <= MOST_STEPS:
            raise InputError(f"{name} is {count!r}; expected a whole number from 1 to {MOST_STEPS:,}")
    if not is_whole_number(seed) or not 0 <= seed < SEEDS:
        raise InputError(f"seed is {seed!r}; expected a whole number from 0 to {SEEDS - 1}")


def _asked(
    network: LayerList,
    x: ArrayLike | torch.Tensor,
    y: ArrayLike | torch.Tensor,
    targets: int | ArrayLike | torch.Tensor | None,
    clip: Clip | None,
) -> Asked:
    classes = network.class_count
    if classes < 2:
        raise InputError(f"the network has {classes} output; an attack needs at least two classes")
    images = check_images(network.input_shape, x, clip)
    if not len(images):
        raise InputError("the batch is empty; expected at least one image")
    labels = _whole_numbers(_numpy(y), len(images), classes, "label")
    wanted = None if targets is None else _targets(_numpy(targets), labels, classes)
    return Asked(network, images, labels, wanted)


def _targets(given: NDArray[Any], labels: Classes, classes: int) -> Classes:
    count = len(labels)
    targets = _whole_numbers(np.full(count, given) if given.ndim == 0 else given, count, classes, "target")
    if (targets == labels).any():
        index = int((targets == labels).argmax())
        raise InputError(f"target is {targets[index]} for image {index}, its label; expected another class")
    return targets


def _whole_numbers(values: NDArray[Any], count: int, classes: int, what: str) -> Classes:
    if values.shape != (count,) or values.dtype.kind not in "iu":
        raise InputError(
            f"{what}s are of shape {values.shape} and type {values.dtype}; expected ({count},) and whole numbers"
        )
    check_classes(values.tolist(), classes, what)
    return values.astype(np.int64, order="C")


def _numpy(values: ArrayLike | torch.Tensor) -> NDArray[Any]:
    import torch

    return np.asarray(values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values)


def ascent_of(
    method: Method, epsilon: float, step: float | None, steps: int, clip: Clip | None, *, targeted: bool
) -> Ascent:
    """The settings of an ascent; `step` None is the method's own."""
    from bench.methods.ascent import Ascent

    return Ascent(
        loss="targeted" if targeted and not method.own_target_loss else method.loss,
        direction=method.direction,
        norm=method.norm,
        epsilon=epsilon,
        step=method.step * epsilon if step is None else float(step),
        steps=method.steps or int(steps),
        clip=None if clip is None else (float(clip[0]), float(clip[1])),
    )


def search(asked: Asked, ascent: Ascent, device: torch.device, restarts: int = 1, seed: int = 0) -> Iterator[Array]:
    """The points (n, *input_shape) that each start leads to, inside the ball and the clip.

    The starts are drawn on the CPU for the whole batch at once: they depend on neither the device nor the chunks, and
    the first few not on how many follow.
    """
    import torch

    from bench.methods.ascent import Batch, ascend, chunk_size, prepare
    from bench.methods.projections import BALLS

    module, size = prepare(asked.network, device), chunk_size(asked.network, device)
    targets = asked.labels if asked.targets is None else asked.targets
    with np.errstate(over="ignore"):
        single = asked.images.astype(np.float32, order="C")  # a copy that torch can take, whatever the layout was
    images, labels, goals = (torch.from_numpy(array).to(device) for array in (single, asked.labels, targets))
    chunks = Batch(images, labels, goals).split(size)
    generator = torch.Generator().manual_seed(seed)
    shape = asked.images.shape
    for number in range(restarts):
        start = BALLS[ascent.norm].sample(shape, ascent.epsilon, generator) if number else torch.zeros(shape)
        parts = zip(chunks, start.to(device).split(size), strict=True)
        delta = torch.cat([ascend(module, chunk, part, ascent) for chunk, part in parts])
        yield _inside(asked.images, delta.cpu().double().numpy(), ascent)


def _inside(images: Array, delta: Array, ascent: Ascent) -> Array:
    """The points `images + delta`, inside the ball and the clip exactly."""
    # Where float32 overflows, gradients are not finite: such an entry stays as it was.
    finite = np.nan_to_num(delta, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    shorter = _shorten(finite, ascent.norm, ascent.epsilon)
    points, rest = exact_sum(images, shorter)
    # A sum that was rounded away from the image: the next number towards it is inside.
    rest *= np.sign(shorter)
    away = rest < 0
    points[away] = np.nextafter(points[away], images[away])
    return points if ascent.clip is None else np.clip(points, *ascent.clip, out=points)


def _shorten(delta: Array, norm: str, epsilon: float) -> Array:
    """`delta`, where it is longer than epsilon by float32's rounding, made no longer than that; it is used up."""
    if norm == "linf":
        return np.clip(delta, -epsilon, epsilon, out=delta)
    flat = delta.reshape(len(delta), -1)
    sizes = np.maximum(np.abs(flat).max(axis=1, keepdims=True), TINY)  # squares of tiny entries would vanish
    lengths = sizes * np.linalg.norm(flat / sizes, ord={"l1": 1, "l2": 2}[norm], axis=1, keepdims=True)
    allowed = epsilon * (1 - HAIR * (flat.shape[1] + 8))
    factors = np.divide(allowed, lengths, out=np.ones_like(lengths), where=lengths > allowed)
    return np.asarray((flat * factors).reshape(delta.shape))


def _replay(asked: Asked, points: Array) -> _Found:
    """Run the points through the network again."""
    _check_outputs(asked.network, points)
    margins, rows = signed_margins(asked.network, points, asked.labels), np.arange(len(points))
    predictions = np.where(margins.min(axis=1) < 0, margins.argmin(axis=1), asked.labels)
    if asked.targets is not None:
        return _Found(points, predictions, margins[rows, asked.targets])
    margins[rows, asked.labels] = np.inf
    return _Found(points, predictions, margins.min(axis=1))


def _check_outputs(network: LayerList, points: Array) -> None:
    """Raise InputError where float64 overflows: no gradient leads anywhere then."""
    if math.isfinite(largest_error(network, points)):
        return
    for index, point in enumerate(points):
        if not np.isfinite(network.forward(point[None])).all():
            raise InputError(f"the network's outputs for image {index} are not finite; expected numbers of float64")


def _frozen(array: NDArray[T]) -> NDArray[T]:
    array.flags.writeable = False
    return array
