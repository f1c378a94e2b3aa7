"""The balls of the three norms for a batch of perturbations: projection, steepest ascent, uniform starts.

Every tensor is (n, ...): a norm is taken over all dimensions behind the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

Box = tuple[Tensor, Tensor]
TINY = 1e-30  # stands in for a norm of zero, which zeros are divided by


@dataclass(frozen=True, slots=True)
class Ball:
    """What an attack needs to know of a norm.

    Attributes
    ----------
    project_ : (delta, radius) -> delta
        The nearest points of the ball, in place.
    direction : (gradient, delta, box) -> Tensor
        The direction of length one in which a linear function with this gradient grows fastest. `box` holds the
        bounds of `delta` that come from the range of valid inputs, or is None.
    sample : (shape, radius, generator) -> Tensor
        Points drawn uniformly from the ball, float32 on the CPU.
    """

    project_: Callable[[Tensor, float], Tensor]
    direction: Callable[[Tensor, Tensor, Box | None], Tensor]
    sample: Callable[[tuple[int, ...], float, torch.Generator], Tensor]


def project_linf_(delta: Tensor, radius: float) -> Tensor:
    """Clamp to `[-radius, radius]`, in place."""
    return delta.clamp_(-radius, radius)


def project_l2_(delta: Tensor, radius: float) -> Tensor:
    """Scale what lies outside down to the norm `radius`, in place."""
    norms = delta.flatten(1).norm(dim=1)
    return delta.mul_(_column((radius / norms.clamp_min(TINY)).clamp_max(1.0), delta))


def project_l1_(delta: Tensor, radius: float) -> Tensor:
    """Shrink every entry of what lies outside by one threshold an image, in place.

    The projection is `sign(v) max(|v| - theta, 0)` with `theta = (|v|_(1) + ... + |v|_(k) - radius) / k`, where the
    absolute values are sorted downwards and k is the largest index with `|v|_(k) > theta_k` (Duchi et al. 2008,
    "Efficient projections onto the l1-ball for learning in high dimensions", figure 1).
    """
    sizes = delta.flatten(1).abs()
    outside = (sizes.sum(1) > radius).nonzero().squeeze(1)
    if not len(outside):
        return delta
    ordered = sizes[outside].sort(dim=1, descending=True).values
    counts = torch.arange(1, ordered.shape[1] + 1, device=delta.device)
    thresholds = (ordered.cumsum(1) - radius) / counts
    # A radius of zero, or lost in the rounding, leaves no such k: the first threshold then takes away everything.
    k = (ordered > thresholds).sum(1, keepdim=True).clamp_min(1)
    theta = torch.zeros(len(delta), 1, dtype=delta.dtype, device=delta.device)
    theta[outside] = thresholds.gather(1, k - 1)
    shrunk = (sizes - theta).clamp_min_(0.0).view_as(delta)
    return delta.copy_(shrunk.copysign_(delta))


def signs(gradient: Tensor, delta: Tensor, box: Box | None) -> Tensor:
    """Steepest ascent in the l-infinity norm: one step up or down in every entry."""
    return gradient.sign()


def unit_l2(gradient: Tensor, delta: Tensor, box: Box | None) -> Tensor:
    """Steepest ascent in the l2 norm: the gradient divided by its norm."""
    return normalize(gradient.flatten(1), eps=TINY).view_as(gradient)


def largest_entry(gradient: Tensor, delta: Tensor, box: Box | None) -> Tensor:
    """Steepest ascent in the l1 norm: one step in the entry with the largest derivative.

    Entries that `box` keeps from moving that way are passed over; else an attack would push the same black or white
    pixel for ever (Croce and Hein 2021, "Mind the box").
    """
    if box is not None:
        gradient = gradient.where(torch.where(gradient > 0, delta < box[1], delta > box[0]), 0.0)
    flat = gradient.flatten(1)
    index = flat.abs().argmax(1, keepdim=True)
    return torch.zeros_like(flat).scatter_(1, index, flat.gather(1, index).sign()).view_as(gradient)


def sample_linf(shape: tuple[int, ...], radius: float, generator: torch.Generator) -> Tensor:
    """Uniform in the cube."""
    return torch.rand(shape, generator=generator).mul_(2).sub_(1).mul_(radius)


def sample_l2(shape: tuple[int, ...], radius: float, generator: torch.Generator) -> Tensor:
    """Uniform in the l2 ball: a normal direction, at a distance of `radius u^(1/d)` with u uniform."""
    directions = normalize(torch.randn(shape, generator=generator).flatten(1), eps=TINY)
    distances = torch.rand(shape[0], 1, generator=generator) ** (1 / directions.shape[1])
    return (directions * distances * radius).view(shape)


def sample_l1(shape: tuple[int, ...], radius: float, generator: torch.Generator) -> Tensor:
    """Uniform in the l1 ball: d of d + 1 exponential variables, over the sum of all, with random signs."""
    size = math.prod(shape[1:])
    parts = torch.empty(shape[0], size + 1).exponential_(generator=generator)
    signs = torch.randint(0, 2, (shape[0], size), generator=generator).mul_(2).sub_(1)
    return (parts[:, :-1] / parts.sum(1, keepdim=True) * signs * radius).view(shape)


BALLS = {
    "linf": Ball(project_linf_, signs, sample_linf),
    "l2": Ball(project_l2_, unit_l2, sample_l2),
    "l1": Ball(project_l1_, largest_entry, sample_l1),
}


def _column(values: Tensor, like: Tensor) -> Tensor:
    """(n,) as (n, 1, ...), to be broadcast over `like`."""
    return values.view(-1, *(1,) * (like.dim() - 1))
