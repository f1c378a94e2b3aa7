"""Instances: the box, the margins, the digest, and what is no question."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from networks.errors import InputError
from networks.instance import Instance, ball, check_classes, check_clip, check_epsilon, check_images
from networks.layers import Array, LayerList, Linear
from tests.networks.strategies import SEEDS, classifiers, points_in

NETWORK = LayerList((4,), (Linear(np.arange(12.0).reshape(3, 4), np.zeros(3)),))
IMAGE = np.array([0.0, 0.25, 0.5, 1.0])


def question(**changes: Any) -> Instance:
    arguments: dict[str, Any] = {"network": NETWORK, "image": IMAGE, "label": 1, "epsilon": 0.25, **changes}
    return ball(**arguments)


def test_box_is_the_ball_cut_to_the_clip() -> None:
    instance = question()
    np.testing.assert_array_equal(instance.lower, [0.0, 0.0, 0.25, 0.75])
    np.testing.assert_array_equal(instance.upper, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_array_equal(instance.image, IMAGE)


def test_box_without_clip_is_the_ball() -> None:
    instance = question(clip=None, image=3 * IMAGE)
    np.testing.assert_array_equal(instance.lower, 3 * IMAGE - 0.25)
    np.testing.assert_array_equal(instance.upper, 3 * IMAGE + 0.25)
    assert instance.clip is None


def test_box_keeps_another_clip() -> None:
    instance = question(clip=[-0.125, 1.125])
    np.testing.assert_array_equal(instance.lower, [-0.125, 0.0, 0.25, 0.75])
    np.testing.assert_array_equal(instance.upper, [0.25, 0.5, 0.75, 1.125])
    assert instance.clip == (-0.125, 1.125)


@settings(max_examples=50, deadline=None)
@given(classifiers(), st.floats(0, 2), SEEDS)
def test_box_lies_within_clip_and_ball_and_contains_the_image(network: LayerList, epsilon: float, seed: int) -> None:
    image = np.random.default_rng(seed).uniform(0, 1, network.input_shape)
    instance = ball(network, image, 0, epsilon)
    assert (instance.lower >= 0).all()
    assert (instance.upper <= 1).all()
    assert np.abs(points_in((instance.lower, instance.upper), 5, seed) - image).max() <= epsilon + 1e-15
    assert instance.contains(image[None])
    assert instance.contains(points_in(instance.inner, 5, seed))


# Ordinary numbers, an epsilon lost in the image's rounding, denormals, and the largest numbers that there are.
SIDES = st.floats(-1.0, 1.0) | st.sampled_from((5e-324, 1e-310, 2.0**-1022, 1e-17, 1e16, 1.7e308, -1.7e308))


@given(x=SIDES, epsilon=SIDES.map(abs))
@example(x=0.9, epsilon=0.3)
@example(x=0.7, epsilon=0.1)
@example(x=1.0, epsilon=2.0**-54)
@example(x=1.7e308, epsilon=1.7e308)
def test_the_ball_of_real_numbers_lies_between_the_outer_and_the_inner_box(x: float, epsilon: float) -> None:
    clip = (-1.75e308, 1.75e308)
    instance = question(image=np.full(4, x), epsilon=epsilon, clip=clip)
    low = max(Fraction(x) - Fraction(epsilon), Fraction(clip[0]))
    high = min(Fraction(x) + Fraction(epsilon), Fraction(clip[1]))
    (inner_low, inner_high), outer_low, outer_high = instance.inner, instance.lower[0], instance.upper[0]
    assert Fraction(outer_low) <= low <= Fraction(inner_low[0]) <= Fraction(x)
    assert Fraction(x) <= Fraction(inner_high[0]) <= high <= Fraction(outer_high)
    # And neither is further from the ball than it must be.
    assert outer_low in (inner_low[0], np.nextafter(inner_low[0], -np.inf))
    assert outer_high in (inner_high[0], np.nextafter(inner_high[0], np.inf))


@pytest.mark.parametrize(("x", "epsilon"), [(0.9, 0.3), (0.7, 0.1), (0.1, 0.3), (1.0, 2.0**-54)])
def test_a_point_outside_the_ball_by_less_than_a_rounding_is_outside(x: float, epsilon: float) -> None:
    instance = question(image=np.full(4, x), epsilon=epsilon, clip=None)
    for corner in (instance.lower, instance.upper):
        inside = abs(Fraction(corner[0]) - Fraction(x)) <= Fraction(epsilon)
        assert instance.contains(corner[None]) is inside


def test_a_ball_beyond_the_largest_number_is_refused_unless_a_clip_cuts_it() -> None:
    assert question(image=np.full(4, 1e308), epsilon=1e308, clip=(0.0, 1.5e308)).upper.max() == 1.5e308
    with pytest.raises(InputError, match=r"^epsilon is 1e\+308: the ball reaches beyond the range of doubles; give it"):
        question(image=np.full(4, 1e308), epsilon=1e308, clip=None)


def test_point_beyond_the_box_by_one_rounding_is_outside() -> None:
    instance = question()
    corners = np.stack([instance.lower, instance.upper])
    assert instance.contains(corners)
    for beyond in (np.nextafter(corners[:1], -9), np.nextafter(corners[1:], 9)):
        assert not instance.contains(np.concatenate([corners, beyond]))
    assert not instance.contains(np.full((1, 4), np.nan))


def test_zero_epsilon_gives_a_point() -> None:
    instance = question(epsilon=0)
    np.testing.assert_array_equal(instance.lower, instance.upper)


def test_margins_ask_the_label_against_every_other_class() -> None:
    instance = question()
    assert instance.targets == (0, 2)
    np.testing.assert_array_equal(instance.margins, [[-1, 1, 0], [0, 1, -1]])
    logits = NETWORK.forward(IMAGE[None])[0]
    np.testing.assert_array_equal(instance.margins @ logits, [logits[1] - logits[0], logits[1] - logits[2]])


def test_targets_are_kept_in_the_order_given() -> None:
    instance = question(targets=iter([2, 0]))
    assert instance.targets == (2, 0)
    np.testing.assert_array_equal(instance.margins, [[0, 1, -1], [-1, 1, 0]])


@pytest.mark.parametrize("label", [np.int64(1), np.uint8(1), torch.tensor(1)])
def test_labels_may_be_integers_of_other_libraries(label: Any) -> None:
    instance = question(label=label, targets=[np.int32(2)])
    assert type(instance.label) is int
    assert [type(target) for target in instance.targets] == [int]


@pytest.mark.parametrize("image", [IMAGE.tolist(), IMAGE.astype(np.float32), torch.tensor(IMAGE)])
def test_image_may_come_in_other_types(image: Any) -> None:
    assert question(image=image).digest == question().digest


def test_instance_is_frozen_and_shares_no_memory() -> None:
    image: Array = IMAGE.copy()
    instance = question(image=image)
    image[:] = 9.0
    np.testing.assert_array_equal(instance.image, IMAGE)
    for array in (instance.image, instance.lower, instance.upper, instance.margins):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        instance.label = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"epsilon": -0.1}, r"epsilon is -0.1; expected a finite number of at least 0"),
        ({"epsilon": math.nan}, "epsilon is nan"),
        ({"epsilon": math.inf}, "epsilon is inf"),
        ({"label": 3}, "label is 3; expected a class from 0 to 2"),
        ({"label": -1}, "label is -1; expected a class from 0 to 2"),
        ({"label": 1.5}, r"label is 1\.5"),
        ({"label": 1.0}, r"label is 1\.0"),
        ({"label": math.nan}, "label is nan"),
        ({"label": True}, "label is True"),
        ({"label": np.bool_(True)}, "label is np.True_"),
        ({"label": "1"}, "label is '1'"),
        ({"label": None}, "label is None"),
        ({"targets": [3]}, "target is 3; expected a class from 0 to 2"),
        ({"targets": [-1]}, "target is -1"),
        ({"targets": [0.5]}, r"target is 0\.5"),
        ({"targets": [False]}, "target is False"),
        ({"targets": [0, 0]}, r"targets are \[0, 0\]; expected one or more distinct classes other than label 1"),
        ({"targets": [0, 1]}, r"targets are \[0, 1\]; .* other than label 1"),
        ({"targets": []}, r"targets are \[\]"),
        ({"image": IMAGE[:3]}, r"the input has shape \(3,\); the network takes \(4,\)"),
        ({"image": IMAGE[None]}, r"the input has shape \(1, 4\); the network takes \(4,\)"),
        ({"image": 0.5}, r"the input has shape \(\); the network takes \(4,\)"),
        ({"image": [0, 0, 0, math.nan]}, "values that are not finite"),
        ({"image": [0, 0, 0, math.inf], "clip": None}, "values that are not finite"),
        ({"image": [0, 0, 0, "a"]}, "the input is no array of numbers"),
        ({"image": [[0], [0, 0]]}, "the input is no array of numbers"),
        ({"image": 2 * IMAGE}, r"values span \[0.0, 2.0\]; expected values inside the clip \[0.0, 1.0\], or no clip"),
        ({"image": IMAGE - 0.5}, r"values span \[-0.5, 0.5\]"),
        ({"clip": (1.0, 0.0)}, r"clip is \(1.0, 0.0\); expected two finite numbers, the lower first"),
        ({"clip": (0.0, 0.0)}, r"clip is \(0.0, 0.0\)"),
        ({"clip": (0.0, math.inf)}, r"clip is \(0.0, inf\)"),
        ({"clip": (math.nan, 1.0)}, r"clip is \(nan, 1.0\)"),
        ({"clip": (0.0, 0.5, 1.0)}, r"clip is \(0.0, 0.5, 1.0\)"),
    ],
)
def test_what_is_no_question_is_refused_in_one_line(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        question(**changes)
    assert "\n" not in str(caught.value)


def test_network_with_one_output_has_no_other_class() -> None:
    network = LayerList((4,), (Linear(np.ones((1, 4)), np.zeros(1)),))
    with pytest.raises(InputError, match=r"targets are \[\]"):
        ball(network, IMAGE, 0, 0.1)


def test_digest_follows_the_box_and_the_margins_alone() -> None:
    assert question(source="here", clip=[0, 1]).digest == question(source="there").digest
    different = [
        question(),
        question(epsilon=np.nextafter(0.25, 1)),
        question(label=0),
        question(targets=[0]),
        question(targets=[2, 0]),
        question(image=IMAGE[::-1]),
        question(clip=None),
        ball(LayerList((4,), (Linear(np.ones((4, 4)), np.zeros(4)),)), IMAGE, 1, 0.25),
        ball(LayerList((4,), (Linear(np.ones((4, 4)), np.zeros(4)),)), IMAGE, 1, 0.25, targets=[0, 2]),
    ]
    assert len({instance.digest for instance in different}) == len(different)
    assert all(len(instance.digest) == 64 for instance in different)


def test_checks_pass_what_is_right() -> None:
    check_epsilon(0.0)
    check_classes(range(3), 3, "label")
    check_clip(None)
    batch = check_images((4,), np.stack([IMAGE, IMAGE]), (0.0, 1.0))
    assert batch.shape == (2, 4)
    assert check_images((4,), np.empty((0, 4)), (0.0, 1.0)).shape == (0, 4)


def test_float32_image_at_the_edge_of_a_clip_is_moved_into_it() -> None:
    clip = ((0 - 0.1307) / 0.3081, (1 - 0.1307) / 0.3081)
    edges = np.array([clip[0], clip[1], np.nextafter(np.float32(clip[0]), np.float32(-9)), 0.0], np.float32)
    assert edges.min() < clip[0]
    assert question(image=edges, clip=clip).image.min() == clip[0]
    assert check_images((4,), edges[None], clip).min() == clip[0]


def test_image_outside_the_clip_by_more_than_a_rounding_is_shown_in_full() -> None:
    with pytest.raises(InputError, match=r"span \[0\.0, 1\.0000003\]; expected values inside the clip \[0\.0, 1\.0\]"):
        check_images((4,), [[0, 0, 0, 1.0000003]], (0.0, 1.0))


def test_tensors_are_taken_for_every_argument() -> None:
    image = torch.tensor(IMAGE, dtype=torch.bfloat16, requires_grad=True)
    targets = torch.tensor([0, 2])
    instance = question(image=image, epsilon=torch.tensor(0.25), label=torch.tensor(1), targets=targets)
    assert instance.digest == question(targets=[0, 2]).digest
    with pytest.raises(InputError, match=r"targets are \[2, 2\]; expected one or more distinct"):
        question(targets=torch.tensor([2, 2]))


@pytest.mark.parametrize("image", [IMAGE + 1j, torch.tensor(IMAGE + 1j), [[0.0, 1.0], [0.5]]])
def test_complex_and_ragged_images_are_refused(image: Any) -> None:
    with pytest.raises(InputError, match="the input is no array of numbers"):
        question(image=image)
