"""Export from torch: what is represented computes the same, what is not is refused by name."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn
from torch.nn.utils import parametrizations, prune

from networks import zoo
from networks.errors import NetworkError, UnsupportedLayerError
from networks.layers import Conv2d, Flatten, LayerList, Linear, ReLU, Shape
from networks.torch_io import Normalize, from_torch, load_state_dict
from tests.networks.strategies import SEEDS, randomize, torch_modules


def relative_error(module: nn.Module, network: LayerList, dtype: torch.dtype, seed: int) -> float:
    """The largest difference on random inputs, relative to max(1, |value|); `module` in eval mode."""
    batch = torch.tensor(np.random.default_rng(seed).normal(size=(6, *network.input_shape)), dtype=dtype)
    with torch.no_grad():
        expected = copy.deepcopy(module).eval()(batch).double().numpy()
    found = network.forward(batch.double().numpy())
    return float((np.abs(found - expected) / np.maximum(1.0, np.abs(expected))).max())


def kinds(network: LayerList) -> list[type]:
    return [type(layer) for layer in network.layers]


def exported(module: nn.Module, shape: Shape, seed: int = 0) -> LayerList:
    """Export the module with random values in float64, and check the export against it."""
    randomize(module.double(), np.random.default_rng(seed))
    network = from_torch(module, shape)
    assert relative_error(module, network, torch.float64, seed) <= 1e-12
    return network


@settings(max_examples=60, deadline=None)
@given(torch_modules(torch.float32), SEEDS)
def test_export_agrees_with_torch_in_float32(drawn: tuple[nn.Sequential, Shape], seed: int) -> None:
    module, shape = drawn
    assert relative_error(module, from_torch(module, shape), torch.float32, seed) <= 1e-5


@settings(max_examples=60, deadline=None)
@given(torch_modules(torch.float64), SEEDS)
def test_export_agrees_with_torch_in_float64(drawn: tuple[nn.Sequential, Shape], seed: int) -> None:
    module, shape = drawn
    assert relative_error(module, from_torch(module, shape), torch.float64, seed) <= 1e-12


@settings(max_examples=25, deadline=None)
@given(torch_modules(torch.float32))
def test_export_leaves_the_module_and_the_random_state_alone(drawn: tuple[nn.Sequential, Shape]) -> None:
    module, shape = drawn
    modes = [part.training for part in module.modules()]
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    random_state = torch.get_rng_state()
    network = from_torch(module, shape)
    network.to_torch()
    network.forward(np.zeros((1, *shape)))
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(tensor, weights[name]) for name, tensor in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_export_does_not_share_memory_with_the_module() -> None:
    module = nn.Linear(2, 2).double()
    network = from_torch(module, (2,))
    before = network.digest
    nn.init.zeros_(module.weight)
    assert LayerList(network.input_shape, network.layers).digest == before


def test_float32_weights_are_represented_exactly() -> None:
    module = zoo.architecture("mnist_small")
    network = from_torch(module, zoo.INPUT_SHAPE)
    again = network.to_torch().state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize(
    ("modules", "shape", "expected"),
    [
        pytest.param([nn.Linear(3, 2), nn.BatchNorm1d(2)], (3,), [Linear], id="behind a Linear"),
        pytest.param([nn.BatchNorm1d(3), nn.Linear(3, 2)], (3,), [Linear], id="before a Linear"),
        pytest.param(
            [nn.Linear(3, 2), nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.ReLU()], (3,), [Linear, ReLU], id="two in a row"
        ),
        pytest.param([nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2)], (1, 3, 3), [Conv2d], id="behind a Conv2d"),
        pytest.param([nn.BatchNorm2d(4), nn.Conv2d(4, 6, 2, groups=2)], (4, 3, 3), [Conv2d], id="before groups"),
        pytest.param([nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, padding=1)], (2, 3, 3), [Conv2d, Conv2d], id="padding"),
        pytest.param(
            [nn.ReLU(), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, padding="same")],
            (2, 3, 3),
            [ReLU, Conv2d, Conv2d],
            id="behind a ReLU, before padding",
        ),
        pytest.param([nn.Linear(3, 2), nn.ReLU(), nn.BatchNorm1d(2)], (3,), [Linear, ReLU, Linear], id="last"),
        pytest.param([nn.BatchNorm1d(3), nn.ReLU()], (3,), [Linear, ReLU], id="first, before a ReLU"),
        pytest.param([nn.BatchNorm2d(3), nn.ReLU()], (3, 2, 2), [Conv2d, ReLU], id="first, on an image"),
        pytest.param(
            [nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2)], (3, 2, 2), [Flatten, Linear], id="before a Flatten"
        ),
        pytest.param(
            [nn.Conv2d(3, 2, 2), nn.Flatten(), nn.BatchNorm1d(2), nn.Linear(2, 2)],
            (3, 2, 2),
            [Conv2d, Flatten, Linear],
            id="behind a Flatten",
        ),
        pytest.param([nn.BatchNorm1d(3, affine=False)], (3,), [Linear], id="without parameters, alone"),
        pytest.param(
            [Normalize([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]), nn.Conv2d(3, 2, 2)], (3, 2, 2), [Conv2d], id="Normalize"
        ),
        pytest.param(
            [Normalize([0.1], [0.3]), nn.Flatten(), nn.Linear(12, 2)], (3, 2, 2), [Flatten, Linear], id="one deviation"
        ),
        pytest.param(
            [nn.Dropout(), nn.Identity(), nn.Linear(3, 2, bias=False), nn.Dropout()], (3,), [Linear], id="no-ops"
        ),
    ],
)
def test_scales_are_folded_into_the_fewest_layers(modules: list[nn.Module], shape: Shape, expected: list[type]) -> None:
    assert kinds(exported(nn.Sequential(*modules), shape)) == expected


def test_normalised_network_takes_raw_pixels() -> None:
    module = nn.Sequential(Normalize([0.1307], [0.3081]), nn.Flatten(), nn.Linear(4, 2))
    images = np.random.default_rng(0).uniform(0, 1, (3, 1, 2, 2))
    inner = from_torch(module[1:], (1, 2, 2)).forward((images - np.float32(0.1307)) / np.float64(np.float32(0.3081)))
    np.testing.assert_allclose(from_torch(module, (1, 2, 2)).forward(images), inner, atol=1e-6)


def test_module_that_stands_in_several_places_is_exported_at_each() -> None:
    relu, linear = nn.ReLU(), nn.Linear(3, 3)
    network = exported(nn.Sequential(linear, relu, linear, nn.Sequential(relu, linear)), (3,))
    assert kinds(network) == [Linear, ReLU, Linear, ReLU, Linear]


def test_subclasses_that_compute_as_their_kind_are_exported() -> None:
    class Wide(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 8)

    class Network(nn.Sequential):
        pass

    assert kinds(exported(Network(Wide(), nn.ReLU()), (3,))) == [Linear, ReLU]


def test_single_module_is_exported_without_a_sequential() -> None:
    assert kinds(exported(nn.Linear(3, 2), (3,))) == [Linear]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_represented_exactly(dtype: torch.dtype) -> None:
    module = nn.Linear(3, 2).to(dtype)
    layer = from_torch(module, (3,)).layers[0]
    assert isinstance(layer, Linear)
    np.testing.assert_array_equal(layer.weight, module.weight.detach().double().numpy())


class Doubling(nn.Linear):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.mul(super().forward(batch), 2)


class DoublingConv(nn.Conv2d):
    def _conv_forward(self, batch: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return torch.mul(super()._conv_forward(batch, weight, bias), 2)


class Residual(nn.Sequential):
    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch + torch.as_tensor(self[0](batch))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.linear(batch))


def with_hook() -> nn.Module:
    module = nn.Linear(2, 2)
    module.register_forward_hook(lambda *values: 2 * values[-1])
    return module


def with_hook_on_sequential() -> nn.Module:
    module = nn.Sequential(nn.Linear(2, 2))
    module.register_forward_pre_hook(lambda *values: 2 * values[-1])
    return module


def with_own_forward() -> nn.Module:
    module = nn.Linear(2, 2)
    module.forward = lambda batch: 2 * batch  # type: ignore[method-assign,assignment]
    return module


UNSUPPORTED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "Softmax": (lambda: nn.Softmax(1), "Softmax"),
    "Sigmoid": (nn.Sigmoid, "Sigmoid"),
    "LeakyReLU": (nn.LeakyReLU, "LeakyReLU"),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(1, 1, 1), "ConvTranspose2d"),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), "MaxPool2d"),
    "ModuleList": (lambda: nn.ModuleList([nn.ReLU()]), "ModuleList"),
    "functional": (Functional, "Functional"),
    "own forward": (lambda: Doubling(2, 2), "Doubling"),
    "own convolution": (lambda: DoublingConv(1, 1, 1), "DoublingConv"),
    "own Sequential": (lambda: Residual(nn.Linear(2, 2)), "Residual"),
    "forward of the object": (with_own_forward, "Linear"),
    "hook": (with_hook, "Linear"),
    "hook on a Sequential": (with_hook_on_sequential, "Sequential"),
    "spectral norm": (lambda: parametrizations.spectral_norm(nn.Linear(2, 2)), "ParametrizedLinear"),
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(2, 2)), "ParametrizedLinear"),
    "pruned": (lambda: prune.l1_unstructured(nn.Linear(2, 2), "weight", 1), "Linear"),
}


@pytest.mark.parametrize(("build", "kind"), UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_what_cannot_be_represented_is_refused_with_path_type_and_what_can(
    build: Callable[[], nn.Module], kind: str
) -> None:
    module = nn.Sequential()
    module.add_module("features", nn.Sequential(nn.Identity(), build()))
    with pytest.raises(UnsupportedLayerError) as caught:
        from_torch(module, (2,))
    message = str(caught.value)
    assert message.startswith(f"layer features.1 ({kind}) cannot be exported: ")
    assert "Sequential (nested), Linear, Conv2d, ReLU, Flatten, Identity, Dropout, BatchNorm1d" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("module", "shape", "complaint"),
    [
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), (1, 4, 4), "padding_mode is 'reflect'"),
        (nn.Conv2d(1, 1, 2, padding="same"), (1, 4, 4), "pads unevenly"),
        (nn.Flatten(2), (1, 4, 4), "start_dim=1"),
        (nn.Flatten(1, 2), (1, 4, 4), "end_dim=-1"),
        (nn.BatchNorm1d(2, track_running_stats=False), (2,), "no running statistics"),
    ],
)
def test_unsupported_settings_are_refused(module: nn.Module, shape: Shape, complaint: str) -> None:
    with pytest.raises(UnsupportedLayerError, match=complaint):
        from_torch(nn.Sequential(module), shape)


def test_unsupported_root_is_named() -> None:
    with pytest.raises(UnsupportedLayerError, match=r"layer \(root\) \(Functional\)"):
        from_torch(Functional(), (2,))


def nan_linear() -> nn.Module:
    module = nn.Linear(2, 2)
    nn.init.constant_(module.weight, float("nan"))
    return module


@pytest.mark.parametrize(
    ("module", "shape", "complaint"),
    [
        (nn.Sequential(nn.Linear(2, 2)), (3,), r"layer 0 \(Linear\): Linear takes \(2,\)"),
        (nn.Sequential(nn.Linear(2, 2)), (3, 2), r"layer 0 \(Linear\): Linear takes \(2,\)"),
        (nn.Sequential(nn.ReLU(), nn.Conv2d(2, 2, 3)), (2, 2, 2), r"layer 1 \(Conv2d\): Conv2d kernel \(3, 3\)"),
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(4, 2, 1)), (3, 2, 2), r"layer 1 \(Conv2d\): Conv2d takes \(4,"),
        (nn.Sequential(nn.BatchNorm1d(3), nn.Linear(4, 2)), (3,), r"layer 1 \(Linear\): Linear takes \(4,\)"),
        (nn.Sequential(nn.BatchNorm1d(3)), (3, 2, 2), r"layer 0 \(BatchNorm1d\): it normalises"),
        (nn.Sequential(nn.BatchNorm2d(2)), (3, 2, 2), r"layer 0 \(BatchNorm2d\): it normalises"),
        (nn.Sequential(Normalize([0, 0], [1, 1])), (3, 2, 2), r"layer 0 \(Normalize\): it has 2 means"),
        (nn.Sequential(Normalize([0], [0])), (3, 2, 2), r"layer 0 \(Normalize\): its standard deviations are \[0.0\]"),
        (nn.Sequential(nan_linear()), (2,), r"weight\[0, 0\] is nan"),
        (nn.Sequential(), (2,), "at least one layer"),
        (nn.Sequential(nn.Identity()), (2,), "at least one layer"),
        (nn.Linear(2, 2), (), "input_shape"),
        (nn.Linear(2, 2), (2.5,), "input_shape"),
        (nn.Linear(2, 2), 2, "input_shape is 2"),
        (nn.Linear(2, 2), "2", "input_shape is '2'"),
    ],
)
def test_what_makes_no_network_is_refused_in_one_line(module: nn.Module, shape: Shape, complaint: str) -> None:
    with pytest.raises(NetworkError, match=complaint) as caught:
        from_torch(module, shape)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def small() -> nn.Sequential:
    return zoo.architecture("mnist_small")


def test_state_dict_is_loaded(small: nn.Sequential, tmp_path: Path) -> None:
    torch.save(small.state_dict(), tmp_path / "small.pt")
    assert load_state_dict(tmp_path / "small.pt", "mnist_small") == from_torch(small, zoo.INPUT_SHAPE)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict"])
def test_state_dict_within_a_checkpoint_is_loaded(small: nn.Sequential, tmp_path: Path, key: str) -> None:
    torch.save({key: small.state_dict(), "epoch": 3}, tmp_path / "checkpoint.pt")
    assert load_state_dict(tmp_path / "checkpoint.pt", "mnist_small") == from_torch(small, zoo.INPUT_SHAPE)


def test_float64_state_dict_is_not_rounded(small: nn.Sequential, tmp_path: Path) -> None:
    state = {name: tensor.double() / 3 for name, tensor in small.state_dict().items()}
    torch.save(state, tmp_path / "small.pt")
    layer = load_state_dict(tmp_path / "small.pt", "mnist_small").layers[1]
    assert isinstance(layer, Linear)
    np.testing.assert_array_equal(layer.weight, state["1.weight"].numpy())


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (os.mkdir, (str(self.path),))


def test_code_in_a_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"1.weight": Trap(sprung)}, tmp_path / "zipped.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"1.weight": Trap(sprung)}))
    for name in ("zipped.pt", "plain.pt"):
        with pytest.raises(NetworkError, match=r"no state dict: (it is a .*; )?expected what torch\.save"):
            load_state_dict(tmp_path / name, "mnist_small")
    assert not sprung.exists()
    pickle.loads((tmp_path / "plain.pt").read_bytes())
    assert sprung.exists()  # the trap works where it is let


@pytest.mark.parametrize("content", [b"", b"no state dict", b"\x80\x02}q\x00.", bytes(64)])
def test_garbage_is_no_state_dict(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "garbage.pt"
    path.write_bytes(content)
    with pytest.raises(NetworkError, match=r"garbage\.pt: no state dict") as caught:
        load_state_dict(path, "mnist_small")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {1: torch.ones(1)}, torch.ones(2), {"state_dict": 3}])
def test_other_contents_are_no_state_dict(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(NetworkError, match=r"other.pt: no state dict: it holds a \w+; expected tensors by name"):
        load_state_dict(tmp_path / "other.pt", "mnist_small")


def test_whole_module_is_no_state_dict(small: nn.Sequential, tmp_path: Path) -> None:
    torch.save(small, tmp_path / "module.pt")
    with pytest.raises(NetworkError, match=r"torch.save\(module.state_dict\(\), path\)"):
        load_state_dict(tmp_path / "module.pt", "mnist_small")


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [("mnist_dnn_2", "no state dict of mnist_small: .*5.weight"), ("mnist_cnn", "no state dict of mnist_small")],
)
def test_state_dict_of_another_architecture_is_refused(wrong: str, complaint: str, tmp_path: Path) -> None:
    torch.save(zoo.architecture(wrong).state_dict(), tmp_path / "wrong.pt")
    with pytest.raises(NetworkError, match=complaint) as caught:
        load_state_dict(tmp_path / "wrong.pt", "mnist_small")
    assert "\n" not in str(caught.value)


def test_missing_state_dict_and_unknown_architecture_are_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"absent.pt: no state dict: no such file"):
        load_state_dict(tmp_path / "absent.pt", "mnist_small")
    with pytest.raises(NetworkError, match="'mnist_huge' is not in the zoo"):
        load_state_dict(tmp_path / "absent.pt", "mnist_huge")
