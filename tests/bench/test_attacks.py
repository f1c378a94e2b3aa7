import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.methods import ascent, attacks
from bench.methods.attacks import METHODS, AttackResult, Classes, attack
from bench.replay import signed_margins
from networks.data import samples
from networks.errors import InputError, NetworkError
from networks.instance import ball
from networks.layers import Array, Conv2d, Flatten, LayerList, Linear, ReLU

NORM_ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
UNTARGETED = [name for name, method in METHODS.items() if not method.own_target_loss]
ITERATED = [name for name in UNTARGETED if name != "fgsm"]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks of a dozen neurons: handing them to several threads takes longer than computing them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_network(shape: tuple[int, ...] = (6,), classes: int = 3, seed: int = 0) -> LayerList:
    rng = np.random.default_rng(seed)
    size = math.prod(shape)
    return LayerList(
        shape,
        (
            Flatten(),
            Linear(rng.normal(size=(12, size)) / math.sqrt(size), rng.normal(size=12)),
            ReLU(),
            Linear(rng.normal(size=(classes, 12)), rng.normal(size=classes)),
        ),
    )


def linear_network(inputs: int = 8, classes: int = 2, seed: int = 0) -> LayerList:
    rng = np.random.default_rng(seed)
    return LayerList((inputs,), (Linear(rng.normal(size=(classes, inputs)), rng.normal(size=classes)),))


def question(network: LayerList, count: int = 20, seed: int = 1) -> tuple[Array, Classes]:
    """Images in [0, 1], and the network's own classes for them."""
    x = np.random.default_rng(seed).random((count, *network.input_shape))
    return x, network.forward(x).argmax(1)


def distances(result: AttackResult, x: Array) -> Array:
    flat = (result.adversarial - x).reshape(len(x), -1)
    return np.asarray(np.linalg.norm(flat, ord=NORM_ORDERS[result.norm], axis=1))


def margins(network: LayerList, points: Array, labels: Classes) -> Array:
    outputs = network.forward(points)
    own = np.take_along_axis(outputs, labels[:, None], 1)[:, 0]
    others = np.where(np.eye(outputs.shape[1], dtype=bool)[labels], -np.inf, outputs)
    return np.asarray(own - others.max(1))


@pytest.mark.parametrize("method", METHODS)
@given(
    epsilon=st.floats(1e-6, 50),
    shape=st.sampled_from([(6,), (1, 2, 3), (2, 2)]),
    clip=st.sampled_from([None, (0.0, 1.0), (-0.5, 1.25)]),
    scale=st.sampled_from([1.0, 1e-3]),
    seed=st.integers(0, 5),
)
@settings(max_examples=25, deadline=None)
def test_attacks_stay_inside_the_ball_and_the_clip(
    method: str, epsilon: float, shape: tuple[int, ...], clip: tuple[float, float] | None, scale: float, seed: int
) -> None:
    network = random_network(shape, seed=seed)
    x, y = question(network, count=3, seed=seed)
    x *= scale
    targets = (y + 1) % 3 if METHODS[method].own_target_loss else None
    result = attack(network, x, y, method, epsilon, steps=3, restarts=2, clip=clip, targets=targets, seed=seed)
    assert (distances(result, x) <= epsilon).all()
    if clip is not None:
        assert result.adversarial.min() >= clip[0]
        assert result.adversarial.max() <= clip[1]


@pytest.mark.parametrize("method", ["pgd_linf", "pgd_l2", "pgd_l1"])
@pytest.mark.parametrize("epsilon", [1e-17, 1e-9, 0.1])
def test_attacks_stay_inside_the_ball_of_real_numbers(method: str, epsilon: float) -> None:
    network = random_network()
    x, y = question(network, count=2)
    for point, image in zip(attack(network, x, y, method, epsilon, restarts=2).adversarial, x, strict=True):
        moved = [abs(Fraction(p) - Fraction(c)) for p, c in zip(point.tolist(), image.tolist(), strict=True)]
        if method == "pgd_linf":
            assert max(moved) <= Fraction(epsilon)
        elif method == "pgd_l1":
            assert sum(moved) <= Fraction(epsilon)
        else:
            assert sum(step**2 for step in moved) <= Fraction(epsilon) ** 2


def test_a_tie_is_no_error() -> None:
    network = LayerList((4,), (Linear(np.zeros((3, 4)), np.zeros(3)),))
    result = attack(network, np.full((6, 4), 0.5), np.arange(6) % 3, "fgsm", 0.1)
    assert result.error_rate == 0.0
    assert result.margin.tolist() == [0.0] * 6
    assert result.predictions.tolist() == [0, 1, 2] * 2


def test_a_success_is_one_in_exact_arithmetic_whatever_float64_rounds() -> None:
    # The outputs are 2^54 + x and 2^54 + 3/4: in float64 both are 2^54.
    layers = (Linear(np.array([[1.0], [0.0]]), np.array([0.0, 0.75])), Linear(np.eye(2), np.full(2, 2.0**54)))
    result = attack(LayerList((1,), layers), [[0.5], [1.0]], [0, 0], "fgsm", 0.125)
    assert result.margin.tolist() == [0.375 - 0.75, 0.875 - 0.75]
    assert result.predictions.tolist() == [1, 0]


def test_outputs_beyond_float64_are_refused_in_one_line() -> None:
    network = LayerList((4,), (Linear(np.full((3, 4), 1e308), np.zeros(3)),))
    x = np.array([[0.0] * 4, [1.0] * 4])
    with pytest.raises(InputError, match=r"^the network's outputs for image 1 are not finite; expected numbers of fl"):
        attack(network, x, [0, 0], "fgsm", 0.0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[..., ::-1],
        lambda x: x[::-1],
        np.asfortranarray,
        lambda x: np.frombuffer(x.tobytes()).reshape(x.shape),
        lambda x: x.astype(">f8"),
        lambda x: np.broadcast_to(x[:1], x.shape),
    ],
    ids=["mirrored", "backwards", "fortran", "read-only", "big-endian", "broadcast"],
)
def test_images_of_any_layout_are_attacked_as_their_copy_is(view: Any) -> None:
    network = random_network((1, 2, 3))
    given = view(question(network)[0])
    labels = network.forward(given).argmax(1)
    found = attack(network, given, labels[::-1][::-1].astype(">i8"), "pgd_linf", 0.2, steps=3)
    copied = attack(network, np.array(given, dtype=np.float64, order="C"), labels, "pgd_linf", 0.2, steps=3)
    np.testing.assert_array_equal(found.adversarial, copied.adversarial)


def test_the_rate_is_of_the_whole_call(monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network()
    x, y = question(network)

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.2)
        return signed_margins(*arguments)

    monkeypatch.setattr(attacks, "signed_margins", slowly)
    began = time.perf_counter()
    result = attack(network, x, y, "fgsm", 0.1)
    assert 0.2 <= result.seconds <= time.perf_counter() - began


TORCH_IN_A_PROCESS = """
import numpy as np
from bench import attack, verify
from networks.layers import Conv2d, Flatten, LayerList, Linear, ReLU
conv = Conv2d(np.ones((1, 1, 2, 1)), np.zeros(1), stride=(2, 2), padding=(0, 1), dilation=(1, 2))
network = LayerList((1, 3, 1), (conv, ReLU(), Flatten(), Linear(np.eye(2), np.array([0.0, 1.0]))))
x = np.full((20, 1, 3, 1), 0.5)
attack(network, x, np.zeros(20, dtype=int), "pgd_linf", 0.1)
print(verify(network, x[0], 0, 0.1, "staged").verdict.value)
"""


def test_a_convolution_that_kills_torch_in_channels_last_is_attacked() -> None:
    ended = subprocess.run([sys.executable, "-c", TORCH_IN_A_PROCESS], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "falsified\n")


def test_strides_that_torch_computes_wrongly_in_channels_last_are_computed_rightly() -> None:
    rng = np.random.default_rng(0)
    conv = Conv2d(rng.normal(size=(8, 1, 3, 3)), rng.normal(size=8), stride=(1, 2))
    network = LayerList((1, 6, 4), (conv, ReLU(), Flatten()))
    x = rng.random((9, 1, 6, 4))
    single = torch.from_numpy(x.astype(np.float32))
    with torch.no_grad():
        found = ascent.prepare(network, torch.device("cpu"))(single)
    np.testing.assert_allclose(found.numpy(), network.forward(x), atol=1e-4)


@given(epsilon=st.floats(1e-9, 1), seed=st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_an_attack_in_the_l_infinity_norm_stays_in_the_box_of_its_instance(epsilon: float, seed: int) -> None:
    network = random_network(seed=seed)
    x, y = question(network, count=1, seed=seed)
    found = attack(network, x, y, "pgd_linf", epsilon, clip=(0, 1), steps=12).adversarial
    assert ball(network, x[0], int(y[0]), epsilon).contains(found)


@pytest.mark.parametrize("method", METHODS)
def test_predictions_and_margins_are_those_of_forward_at_the_images(method: str) -> None:
    network = random_network(classes=4)
    x, y = question(network)
    targets = (y + 1) % 4 if METHODS[method].own_target_loss else None
    result = attack(network, x, y, method, 0.5, targets=targets)
    outputs = network.forward(result.adversarial)
    rows = np.arange(len(x))
    expected = margins(network, result.adversarial, y)
    np.testing.assert_array_equal(result.predictions, outputs.argmax(1))
    np.testing.assert_array_equal(
        result.margin, expected if targets is None else outputs[rows, y] - outputs[rows, targets]
    )
    assert result.error_rate == np.mean(outputs.argmax(1) != y)
    assert result.adversarial.dtype == result.margin.dtype == np.float64
    assert result.predictions.dtype == np.int64
    assert result.images_per_s == len(x) / result.seconds > 0


@pytest.mark.parametrize(
    ("method", "dual"), [("fgsm", 1), ("pgd", 1), ("pgd_linf", 1), ("pgd_l2", 2), ("pgd_l1", np.inf)]
)
def test_attacks_reach_the_exact_optimum_of_a_linear_network(method: str, dual: float) -> None:
    network = linear_network()
    x, y = question(network)
    weight = network.layers[0].weight  # type: ignore[union-attr]
    expected = margins(network, x, y) - 0.3 * np.linalg.norm(weight[0] - weight[1], ord=dual)
    np.testing.assert_allclose(attack(network, x, y, method, 0.3).margin, expected, atol=1e-6)


@pytest.mark.parametrize(("method", "dual"), [("pgd_linf", 1), ("pgd_l2", 2), ("pgd_l1", np.inf)])
def test_targeted_attacks_reach_the_exact_optimum_of_a_linear_network(method: str, dual: float) -> None:
    network = linear_network(classes=4)
    x, y = question(network)
    targets = (y + 2) % 4
    weight = network.layers[0].weight  # type: ignore[union-attr]
    outputs, rows = network.forward(x), np.arange(len(x))
    gain = 0.3 * np.linalg.norm(weight[y] - weight[targets], ord=dual, axis=1)
    result = attack(network, x, y, method, 0.3, targets=targets)
    np.testing.assert_allclose(result.margin, outputs[rows, y] - outputs[rows, targets] - gain, atol=1e-6)


def test_the_attack_versus_all_raises_its_target_over_the_other_classes() -> None:
    network = linear_network(classes=4)
    x, y = question(network)
    result = attack(network, x, y, "pgd_linf_versus_all", 0.3, targets=(y + 1) % 4)
    weight = network.layers[0].weight  # type: ignore[union-attr]
    direction = np.sign(2 * weight[(y + 1) % 4] - weight.sum(0))
    np.testing.assert_allclose(result.adversarial, x + 0.3 * direction, atol=1e-7)


def test_a_clip_of_a_linear_network_is_used_up_to_its_corner() -> None:
    network = linear_network()
    x, y = question(network)
    weight = network.layers[0].weight  # type: ignore[union-attr]
    direction = np.sign(weight[1 - y] - weight[y])
    result = attack(network, x, y, "pgd_linf", 0.3, clip=(0, 1))
    np.testing.assert_allclose(result.adversarial, np.clip(x + 0.3 * direction, 0, 1), atol=1e-7)


def test_a_network_too_sure_for_the_cross_entropy_in_single_precision_is_attacked_all_the_same() -> None:
    # Margins of some thousands: softmax gives 1 and 0, so the cross entropy's own gradient is zero.
    sure = linear_network()
    sure = LayerList(sure.input_shape, (Linear(1e4 * sure.layers[0].weight, np.zeros(2)),))  # type: ignore[union-attr]
    x, y = question(sure)
    found = attack(sure, x, y, "fgsm", 0.3).margin
    weight = sure.layers[0].weight  # type: ignore[union-attr]
    np.testing.assert_allclose(found, margins(sure, x, y) - 0.3 * np.abs(weight[0] - weight[1]).sum(), rtol=1e-6)


@pytest.mark.parametrize("method", ITERATED)
def test_more_restarts_never_give_a_higher_margin(method: str) -> None:
    network = random_network(classes=5)
    x, y = question(network, count=50)
    found = [attack(network, x, y, method, 0.4, steps=5, restarts=restarts).margin for restarts in (1, 2, 6)]
    assert (found[1] <= found[0]).all()
    assert (found[2] <= found[1]).all()
    assert (found[2] < found[0]).any()


@pytest.mark.parametrize("method", ITERATED)
def test_the_same_seed_gives_the_same_images_and_leaves_torchs_generator_alone(method: str) -> None:
    network = random_network(classes=5)
    x, y = question(network)
    state = torch.get_rng_state()
    first, again, other = (
        attack(network, x, y, method, 0.4, steps=3, restarts=3, seed=seed).adversarial for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("method", ["pgd_linf", "pgd_l2", "pgd_l1"])
def test_chunks_do_not_change_what_is_found(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network((1, 4, 4), classes=4)
    x, y = question(network, count=23)
    whole = attack(network, x, y, method, 0.3, restarts=2, clip=(0, 1), device="cpu")
    monkeypatch.setitem(ascent.CHUNK_BYTES, "cpu", 5 * 4 * (16 + 16 + 12 + 12 + 4))
    assert ascent.chunk_size(network, torch.device("cpu")) == 5
    parts = attack(network, x, y, method, 0.3, restarts=2, clip=(0, 1), device="cpu")
    np.testing.assert_allclose(parts.adversarial, whole.adversarial, atol=1e-5)


def test_convolutional_networks_are_attacked() -> None:
    rng = np.random.default_rng(0)
    layers = (
        Conv2d(rng.normal(size=(4, 2, 3, 3)), rng.normal(size=4), stride=(2, 2), padding=(1, 1)),
        ReLU(),
        Flatten(),
        Linear(rng.normal(size=(3, 36)), np.zeros(3)),
    )
    network = LayerList((2, 6, 6), layers)
    x, y = question(network)
    result = attack(network, x, y, "pgd_linf", 0.2, clip=(0, 1))
    assert (result.margin < margins(network, x, y)).all()
    assert result.error_rate > 0.5


@pytest.mark.parametrize("method", METHODS)
def test_a_radius_of_zero_gives_back_the_images(method: str) -> None:
    network = random_network()
    x, y = question(network)
    targets = (y + 1) % 3 if METHODS[method].own_target_loss else None
    result = attack(network, x, y, method, 0.0, targets=targets, restarts=2, clip=(0, 1))
    np.testing.assert_array_equal(result.adversarial, x)


def test_zoo_networks_fall_as_the_published_ones_do() -> None:
    # Chapter 4 of Kolter and Madry's tutorial has 92.6 % (FGSM) and 96.4 % (PGD) at 0.1 for its two-layer network.
    data = samples()
    x, y = data.images[:100], data.labels[:100]
    clean, fgsm, pgd = (
        attack("mnist_dnn_2", x, y, method, epsilon).error_rate
        for method, epsilon in (("fgsm", 0.0), ("fgsm", 0.1), ("pgd_linf", 0.1))
    )
    assert clean <= 0.05
    assert 0.85 <= fgsm <= pgd


def test_tensors_lists_and_paths_are_taken(tmp_path: Path) -> None:
    network = random_network()
    x, y = question(network)
    network.save(tmp_path / "network.safetensors")
    expected = attack(network, x, y, "pgd_linf", 0.2, targets=np.where(y == 2, 0, 2)).adversarial
    given = torch.from_numpy(x).requires_grad_(), torch.from_numpy(y)
    targets = torch.from_numpy(np.where(y == 2, 0, 2))
    found = attack(tmp_path / "network.safetensors", *given, "pgd_linf", 0.2, targets=targets).adversarial
    np.testing.assert_array_equal(found, expected)
    others = y != 2
    one = attack(network, x[others].tolist(), y[others].tolist(), "pgd_linf", 0.2, targets=2).adversarial
    np.testing.assert_allclose(one, expected[others], atol=1e-6)


def test_a_result_is_read_only_and_goes_to_json_without_its_arrays() -> None:
    network = random_network()
    x, y = question(network)
    result = attack(network, x, y, "pgd_l2", 0.2, clip=(0, 1), device="cpu")
    record = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert record == {
        "method": "pgd_l2",
        "norm": "l2",
        "epsilon": 0.2,
        "step": pytest.approx(0.01),
        "steps": 40,
        "restarts": 1,
        "seed": 0,
        "clip": [0, 1],
        "device": "cpu",
        "images": 20,
        "error_rate": result.error_rate,
        "seconds": result.seconds,
        "images_per_s": result.images_per_s,
    }
    for array in (result.adversarial, result.predictions, result.margin):
        assert not array.flags.writeable


def test_the_first_gradient_method_takes_one_step() -> None:
    network = random_network()
    x, y = question(network)
    assert attack(network, x, y, "fgsm", 0.2).steps == 1


NETWORK = random_network()
IMAGES, LABELS = question(NETWORK, count=4)
GOOD: dict[str, Any] = {"x": IMAGES, "y": LABELS, "method": "pgd_linf", "epsilon": 0.1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "cw"}, r"^attack is 'cw'; expected one of fgsm, pgd, pgd_linf, pgd_linf_versus_all, pgd_l2"),
        ({"method": "pgd_linf_versus_all"}, "climbs towards a class; give it targets"),
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"epsilon": math.nan}, "epsilon is nan"),
        ({"epsilon": math.inf}, "epsilon is inf"),
        ({"y": [0, 1, 2, 3]}, "label is 3; expected a class from 0 to 2"),
        ({"y": [0, 1, 2, -1]}, "label is -1"),
        ({"y": [0, 1, 2]}, r"labels are of shape \(3,\)"),
        ({"y": [0.0, 1.0, 2.0, math.nan]}, "type float64; expected .* whole numbers"),
        ({"x": IMAGES[:, :5]}, "the network takes"),
        ({"x": IMAGES[:0], "y": LABELS[:0]}, "the batch is empty"),
        ({"x": np.full_like(IMAGES, np.nan)}, "not finite"),
        ({"x": IMAGES + 1, "clip": (0, 1)}, "inside the clip"),
        ({"clip": (1, 0)}, "clip is"),
        ({"steps": 0}, "steps is 0; expected a whole number from 1 to 1,000,000"),
        ({"steps": 1.5}, "steps is 1.5"),
        ({"restarts": 0}, "restarts is 0"),
        ({"step": 0.0}, "step is 0.0; expected a number above 0"),
        ({"step": math.nan}, "step is nan"),
        ({"targets": LABELS}, r"target is \d for image 0, its label"),
        ({"targets": 3}, "target is 3; expected a class from 0 to 2"),
        ({"targets": [0, 1]}, r"targets are of shape \(2,\)"),
        ({"device": "tpu"}, "device is 'tpu'"),
    ],
)
def test_bad_input_is_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        attack(NETWORK, **GOOD | change)
    assert "\n" not in str(caught.value)


def test_a_network_of_one_class_and_an_unknown_network_are_refused() -> None:
    with pytest.raises(InputError, match="at least two classes"):
        attack(random_network(classes=1), IMAGES, [0] * 4, "fgsm", 0.1)
    with pytest.raises(NetworkError, match="neither a file nor in the zoo"):
        attack("resnet", **GOOD)


@needs_gpu
@pytest.mark.parametrize("method", UNTARGETED)
def test_the_gpu_finds_what_the_cpu_finds(method: str) -> None:
    network = random_network((1, 4, 4), classes=4)
    x, y = question(network)
    cpu, gpu = (attack(network, x, y, method, 0.2, restarts=2, clip=(0, 1), device=name) for name in ("cpu", "cuda"))
    assert gpu.device == torch.cuda.get_device_name()
    np.testing.assert_allclose(gpu.margin, cpu.margin, atol=1e-2)
    assert (distances(gpu, x) <= 0.2).all()
