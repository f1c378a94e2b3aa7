"""Projected gradient ascent for a batch of images, in torch float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bench.methods.projections import BALLS, Box
from networks.instance import Clip
from networks.layers import Conv2d, LayerList

FLOAT32_BYTES = 4
# Activations of one chunk of images. On the CPU they should stay near the cache: of 10 to 400 images of mnist_cnn at a
# time, 50 to 100 were fastest on two cores, and fewer chunks suffer less where other programs want the cores too. A GPU
# wants thousands of images at once; 2 GiB fit on any.
CHUNK_BYTES = {"cpu": 40 * 2**20, "cuda": 2 * 2**30}


@dataclass(frozen=True, slots=True)
class Ascent:
    """The settings of one ascent from one start.

    Attributes
    ----------
    loss, direction : str
        Keys of `LOSSES` and `DIRECTIONS`.
    norm : str
        Key of `projections.BALLS`.
    epsilon, step : float
        The ball's radius and the length of a step.
    steps : int
    clip : (float, float) or None
    """

    loss: str
    direction: str
    norm: str
    epsilon: float
    step: float
    steps: int
    clip: Clip | None


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images (n, *input_shape), float32, labels (n,) and targets (n,), int64. Without targets those are the labels."""

    images: Tensor
    labels: Tensor
    targets: Tensor

    def split(self, size: int) -> list[Batch]:
        """The batch in chunks of at most `size` images."""
        parts = zip(self.images.split(size), self.labels.split(size), self.targets.split(size), strict=True)
        return [Batch(*part) for part in parts]


def ascend(module: torch.nn.Module, batch: Batch, start: Tensor, ascent: Ascent) -> Tensor:
    """Climb the loss from `batch.images + start` for `ascent.steps` steps.

    After every step the images are moved into the clip, then into the ball. Both moves shrink the perturbation entry by
    entry, so the second does not undo the first.

    Returns
    -------
    Tensor, shape (n, *input_shape)
        The perturbations reached.
    """
    loss, direction, ball = LOSSES[ascent.loss], DIRECTIONS[ascent.direction], BALLS[ascent.norm]
    box = _box(batch.images, ascent.clip)
    delta = ball.project_(_clamp_(start.clone(), box), ascent.epsilon)
    for _ in range(ascent.steps):
        points = (batch.images + delta).requires_grad_()
        total = loss(module(points).flatten(1), batch.labels, batch.targets).sum()
        (gradient,) = torch.autograd.grad(total, points)
        delta.add_(direction(gradient, delta, box), alpha=ascent.step)
        ball.project_(_clamp_(delta, box), ascent.epsilon)
    return delta


def prepare(network: LayerList, device: torch.device) -> torch.nn.Module:
    """The network as a float32 module on `device`.

    Channels last, which convolutions on the CPU compute about 1.4 times as fast, where torch computes them rightly.
    """
    module: torch.nn.Module = network.to_torch(device=device)
    return module.to(memory_format=torch.channels_last) if _channels_last_works(network) else module


def _channels_last_works(network: LayerList) -> bool:
    """Whether every convolution has the same stride both ways and no dilation.

    For others torch 2.14.1 kills the process (on the CPU, of a kernel of width one with dilation) or computes wrong
    numbers (of one channel with different strides). Of 9,000 random ones of these no one failed.
    """
    convolutions = [layer for layer in network.layers if isinstance(layer, Conv2d)]
    return all(layer.stride[0] == layer.stride[1] and layer.dilation == (1, 1) for layer in convolutions)


def chunk_size(network: LayerList, device: torch.device) -> int:
    """How many images to attack at a time: as many as `CHUNK_BYTES` hold the activations of, at least one."""
    entries = sum(math.prod(shape) for shape in (network.input_shape, *network.shapes))
    return max(1, CHUNK_BYTES[device.type] // (FLOAT32_BYTES * entries))


def _log_odds(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """`log sum_{t != y} exp f_t - f_y`, shape (n,).

    This is `log((1 - p) / p)` for the probability p of the label, and the cross entropy is `-log p`: the two grow
    together, so their gradients have the same direction. But this one's does not fade to rounding errors where the
    network is sure, p = 1 in float32.
    """
    own = labels[:, None]
    return logits.scatter(1, own, -torch.inf).logsumexp(1) - logits.gather(1, own).squeeze(1)


def _cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """`-log p` for the probability p of the label, shape (n,)."""
    return cross_entropy(logits, labels, reduction="none")


def _targeted(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """`f_target - f_y`, shape (n,)."""
    return (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None])).squeeze(1)


def _versus_all(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """`2 f_target - sum_t f_t`, shape (n,): the target against all other classes."""
    return 2 * logits.gather(1, targets[:, None]).squeeze(1) - logits.sum(1)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "log_odds": _log_odds,
    "cross_entropy": _cross_entropy,
    "targeted": _targeted,
    "versus_all": _versus_all,
}


def _gradient(gradient: Tensor, delta: Tensor, box: Box | None) -> Tensor:
    return gradient


DIRECTIONS: dict[str, Callable[[Tensor, Tensor, Box | None], Tensor]] = {
    "gradient": _gradient,
    **{f"steepest_{norm}": ball.direction for norm, ball in BALLS.items()},
}


def _box(images: Tensor, clip: Clip | None) -> Box | None:
    """The bounds of the perturbation that keep the images inside the clip."""
    return None if clip is None else (clip[0] - images, clip[1] - images)


def _clamp_(delta: Tensor, box: Box | None) -> Tensor:
    return delta if box is None else delta.clamp_(*box)
