import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import brentq, minimize

from bench.methods.projections import BALLS, largest_entry
from networks.layers import Array

NORMS = sorted(BALLS)
vectors = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 7)), elements=st.floats(-3, 3, width=32))
radii = st.floats(0.01, 8)


def length(points: torch.Tensor, norm: str) -> Array:
    order = {"linf": np.inf, "l2": 2, "l1": 1}[norm]
    return np.asarray(np.linalg.norm(points.double().flatten(1).numpy(), ord=order, axis=1))


def project_l1_by_root_finding(point: Array, radius: float) -> Array:
    """Soft thresholding at the root of a scalar equation, the optimality condition."""
    if np.abs(point).sum() <= radius:
        return point
    excess = lambda theta: np.maximum(np.abs(point) - theta, 0).sum() - radius  # noqa: E731
    theta = brentq(excess, 0.0, np.abs(point).max(), xtol=1e-14)
    return np.asarray(np.sign(point) * np.maximum(np.abs(point) - theta, 0))


@given(vectors, radii)
@settings(deadline=None)
def test_l1_projection_is_the_root_of_its_optimality_condition(points: Array, radius: float) -> None:
    projected = BALLS["l1"].project_(torch.from_numpy(points.copy()), radius).numpy()
    expected = [project_l1_by_root_finding(point, radius) for point in points]
    np.testing.assert_allclose(projected, expected, atol=1e-9)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_projection_is_the_nearest_point_of_the_ball(norm: str) -> None:
    # A general-purpose solver as oracle; a point v of the ball is written p - q with p and q >= 0.
    inside = {"l1": lambda z: 1 - z.sum(), "l2": lambda z: 1 - ((z[:4] - z[4:]) ** 2).sum()}[norm]
    rng = np.random.default_rng(3)
    for point in rng.normal(size=(5, 4)):
        distance = lambda z, point=point: ((z[:4] - z[4:] - point) ** 2).sum()  # noqa: E731
        constraint = {"type": "ineq", "fun": inside}
        solution = minimize(distance, np.zeros(8), bounds=[(0, None)] * 8, constraints=constraint, tol=1e-12).x
        projected = BALLS[norm].project_(torch.from_numpy(point[None].copy()), 1.0)[0].numpy()
        np.testing.assert_allclose(projected, solution[:4] - solution[4:], atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
@given(points=vectors, radius=radii)
@settings(max_examples=50, deadline=None)
def test_projection_lands_inside_stays_there_and_leaves_the_inside_alone(
    norm: str, points: Array, radius: float
) -> None:
    before = torch.from_numpy(points)
    once = BALLS[norm].project_(before.clone(), radius)
    twice = BALLS[norm].project_(once.clone(), radius)
    assert (length(once, norm) <= radius * (1 + 1e-12)).all()
    torch.testing.assert_close(twice, once, rtol=1e-12, atol=1e-12)
    inside = length(before, norm) <= radius * (1 - 1e-12)
    assert torch.equal(once[inside], before[inside])


@pytest.mark.parametrize("norm", NORMS)
def test_projection_onto_a_ball_of_radius_zero_is_zero(norm: str) -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, -2.0], [3.0, 3.0]])
    assert torch.equal(BALLS[norm].project_(points, 0.0).abs(), torch.zeros(3, 2))


@pytest.mark.parametrize("norm", NORMS)
def test_projection_treats_images_of_any_shape_as_vectors(norm: str) -> None:
    points = torch.randn(5, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    flat = BALLS[norm].project_(points.flatten(1).clone(), 1.5)
    assert torch.equal(BALLS[norm].project_(points.clone(), 1.5).flatten(1), flat)


@pytest.mark.parametrize("norm", NORMS)
def test_a_step_has_length_one_and_gains_the_dual_norm_of_the_gradient(norm: str) -> None:
    gradient = torch.randn(6, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = BALLS[norm].direction(gradient, torch.zeros_like(gradient), None)
    dual = {"linf": 1, "l2": 2, "l1": math.inf}[norm]
    np.testing.assert_allclose(length(step, norm), 1.0)
    np.testing.assert_allclose((gradient * step).sum(1), np.linalg.norm(gradient.numpy(), ord=dual, axis=1))


@pytest.mark.parametrize("norm", NORMS)
def test_a_gradient_of_zero_moves_nothing(norm: str) -> None:
    zeros = torch.zeros(2, 3)
    assert torch.equal(BALLS[norm].direction(zeros, zeros, None), zeros)


def test_a_step_in_the_l1_norm_passes_over_entries_at_their_bound() -> None:
    gradient = torch.tensor([[3.0, 2.0, -1.0], [-3.0, 2.0, 1.0]])
    delta = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    step = largest_entry(gradient, delta, (torch.zeros(2, 3), torch.ones(2, 3)))
    assert step.tolist() == [[0, 1, 0], [-1, 0, 0]]


@pytest.mark.parametrize("norm", NORMS)
def test_starts_fill_the_ball_evenly(norm: str) -> None:
    # Of points uniform in a ball of dimension d, the length over the radius to the power d is uniform in [0, 1].
    points = BALLS[norm].sample((20_000, 2, 3), 0.7, torch.Generator().manual_seed(0))
    shares = (length(points, norm) / 0.7) ** 6
    assert points.shape == (20_000, 2, 3)
    np.testing.assert_allclose(np.quantile(shares, [0.1, 0.5, 0.9, 1.0]), [0.1, 0.5, 0.9, 1.0], atol=0.015)
    np.testing.assert_allclose(points.mean(0), 0.0, atol=0.02)
