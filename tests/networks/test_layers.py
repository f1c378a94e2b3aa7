"""The layer list: meaning, checks, digest, file and summary."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from safetensors.numpy import save_file

from networks.errors import NetworkError
from networks.layer_file import FORMAT
from networks.layers import FORWARD_BATCH, Array, Conv2d, Flatten, LayerList, Linear, ReLU
from tests.networks.strategies import SEEDS, layer_lists

EYE = np.eye(2)
ZERO = np.zeros(2)
KERNEL = np.arange(1.0, 19.0).reshape(2, 1, 3, 3)


def example() -> LayerList:
    """One layer of each kind: (1, 4, 4) -> (3,)."""
    rng = np.random.default_rng(0)
    conv = Conv2d(rng.normal(size=(2, 1, 3, 3)), rng.normal(size=2), stride=(2, 2), padding=(1, 1))
    return LayerList((1, 4, 4), (conv, ReLU(), Flatten(), Linear(rng.normal(size=(3, 8)), rng.normal(size=3))))


def convolve(layer: Conv2d, image: Array) -> Array:
    """The definition of a convolution, one product at a time."""
    out, per_group, *kernel = layer.weight.shape
    _, rows, columns = layer.output_shape(image.shape)
    padded = np.pad(image, ((0, 0), (layer.padding[0],) * 2, (layer.padding[1],) * 2))
    result = np.empty((out, rows, columns))
    for o, i, j in np.ndindex(out, rows, columns):
        first = o // (out // layer.groups) * per_group
        result[o, i, j] = layer.bias[o] + sum(
            layer.weight[o, c, u, v]
            * padded[
                first + c,
                i * layer.stride[0] + u * layer.dilation[0],
                j * layer.stride[1] + v * layer.dilation[1],
            ]
            for c, u, v in np.ndindex(per_group, *kernel)
        )
    return result


@settings(max_examples=25, deadline=None)
@given(layer_lists(max_layers=1), SEEDS)
def test_each_layer_computes_its_definition(network: LayerList, seed: int) -> None:
    image = np.random.default_rng(seed).normal(size=network.input_shape)
    layer = network.layers[0]
    definitions: dict[type, Callable[[], Array]] = {
        Linear: lambda: layer.weight @ image + layer.bias,  # type: ignore[union-attr]
        Conv2d: lambda: convolve(layer, image),  # type: ignore[arg-type]
        ReLU: lambda: np.where(image > 0, image, 0.0),
        Flatten: lambda: np.array(list(image.flat)),
    }
    expected = definitions[type(layer)]()
    np.testing.assert_allclose(network.forward(image[None])[0], expected, rtol=1e-12, atol=1e-12)
    assert expected.shape == network.output_shape


@settings(max_examples=25, deadline=None)
@given(layer_lists(), SEEDS)
def test_torch_module_computes_the_same(network: LayerList, seed: int) -> None:
    batch = np.random.default_rng(seed).normal(size=(3, *network.input_shape))
    module = network.to_torch(torch.float64)
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    found = module(torch.tensor(batch)).numpy()
    np.testing.assert_allclose(found, network.forward(batch), rtol=1e-12, atol=1e-12)


def test_torch_module_is_float32_unless_asked_otherwise() -> None:
    assert {parameter.dtype for parameter in example().to_torch().parameters()} == {torch.float32}


@settings(max_examples=25, deadline=None)
@given(layer_lists())
def test_shapes_are_those_of_the_outputs(network: LayerList) -> None:
    values: Array = np.zeros((2, *network.input_shape))
    for layer, shape in zip(network.layers, network.shapes, strict=True):
        values = layer.forward(values)
        assert values.shape == (2, *shape)
    assert network.class_count == values[0].size


@settings(max_examples=25, deadline=None)
@given(layer_lists())
def test_an_empty_batch_gives_no_outputs(network: LayerList) -> None:
    assert network.forward(np.empty((0, *network.input_shape))).shape == (0, *network.output_shape)


def test_batches_beyond_the_chunk_size_come_out_in_order() -> None:
    network = LayerList((1, 3, 3), (Conv2d(np.ones((1, 1, 3, 3)), np.zeros(1)),))
    numbers = np.arange(FORWARD_BATCH + 3.0)
    batch = np.broadcast_to(numbers[:, None, None, None], (len(numbers), 1, 3, 3))
    np.testing.assert_allclose(network.forward(batch).ravel(), 9 * numbers)


@pytest.mark.parametrize("view", ["read-only", "reversed", "float32", "list"])
def test_any_array_of_the_right_shape_is_taken(view: str) -> None:
    batch = np.random.default_rng(1).normal(size=(2, 1, 4, 4)).astype(np.float32).astype(np.float64)
    expected = example().forward(batch)
    given_as: Any = {
        "read-only": batch.view(),
        "reversed": batch[::-1].copy()[::-1],
        "float32": batch.astype(np.float32),
        "list": batch.tolist(),
    }[view]
    if view == "read-only":
        given_as.flags.writeable = False
    np.testing.assert_array_equal(example().forward(given_as), expected)


def test_forward_leaves_its_input_and_torchs_random_state_alone() -> None:
    batch = np.random.default_rng(1).normal(size=(2, 1, 4, 4))
    before, random_state = batch.copy(), torch.get_rng_state()
    example().forward(batch)
    np.testing.assert_array_equal(batch, before)
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 1, 4, 5), (2, 16), (2, 1, 1, 4, 4), ()])
def test_batches_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(NetworkError, match=r"takes batches of shape \(n, 1, 4, 4\), not \("):
        example().forward(np.zeros(shape))


def test_weights_are_float64_copies_that_cannot_be_written_to() -> None:
    weight: Any = np.ones((2, 2), dtype=np.float32)
    network = LayerList((2,), (Linear(weight, ZERO), ReLU()))
    for array in network.arrays().values():
        assert array.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 3.0
    weight[0, 0] = 5.0
    assert network.arrays()["0.weight"][0, 0] == 1.0


@pytest.mark.parametrize("name", ["input_shape", "layers", "shapes"])
def test_attributes_of_a_network_cannot_be_set(name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(example(), name, ())


@pytest.mark.parametrize("index", range(4))
def test_attributes_of_layers_cannot_be_set(index: int) -> None:
    layer = example().layers[index]
    for name in [item.name for item in dataclasses.fields(layer)]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(layer, name, None)


def test_layers_may_come_from_any_iterable() -> None:
    network = example()
    assert LayerList([1, 4, 4], iter(network.layers)) == network  # type: ignore[arg-type]


def test_repr_names_shapes_and_layers() -> None:
    assert repr(example()) == "LayerList((1, 4, 4) -> (3,): Conv2d, ReLU, Flatten, Linear)"


def conv(**settings: Any) -> Conv2d:
    return Conv2d(KERNEL, ZERO, **settings)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no layer": (lambda: LayerList((2,), ()), "at least one layer"),
    "no input": (lambda: LayerList((), (Flatten(),)), r"input_shape is \(\)"),
    "zero input": (lambda: LayerList((0,), (Flatten(),)), r"input_shape is \(0,\)"),
    "fractional input": (lambda: LayerList((2.5,), (Flatten(),)), r"input_shape is \(2.5,\)"),  # type: ignore[arg-type]
    "input as text": (lambda: LayerList("12", (Flatten(),)), "input_shape is '12'"),  # type: ignore[arg-type]
    "input as number": (lambda: LayerList(784, (Flatten(),)), "input_shape is 784"),  # type: ignore[arg-type]
    "no layer kind": (lambda: LayerList((2,), (ReLU(), "ReLU")), "layer 1 is a str; expected one of Linear, Conv2d"),  # type: ignore[arg-type]
    "columns": (lambda: LayerList((3,), (ReLU(), Linear(EYE, ZERO))), r"layer 1: Linear takes \(2,\), .* \(3,\)"),
    "not flat": (lambda: LayerList((2, 1), (Linear(EYE, ZERO),)), r"layer 0: Linear takes \(2,\), .* \(2, 1\)"),
    "channels": (lambda: LayerList((2, 4, 4), (conv(),)), r"layer 0: Conv2d takes \(1, height, width\)"),
    "flat conv": (lambda: LayerList((16,), (conv(),)), r"layer 0: Conv2d takes \(1, height, width\)"),
    "kernel": (lambda: LayerList((1, 2, 2), (conv(),)), r"layer 0: Conv2d kernel \(3, 3\) does not fit"),
    "dilated kernel": (lambda: LayerList((1, 4, 4), (conv(dilation=(2, 2)),)), "does not fit"),
    "NaN": (lambda: LayerList((2,), (Linear(EYE, [0, np.nan]),)), r"layer 0: Linear bias\[1\] is nan"),  # type: ignore[arg-type]
    "infinite": (lambda: LayerList((2,), (Linear(EYE + np.inf, ZERO),)), r"layer 0: Linear weight\[0, 0\] is"),
    "vector": (lambda: Linear(ZERO, ZERO), r"Linear weight has shape \(2,\); expected 2 positive sizes"),
    "no rows": (lambda: Linear(np.zeros((0, 2)), np.zeros(0)), r"Linear weight has shape \(0, 2\)"),
    "bias": (lambda: Linear(EYE, np.zeros(3)), r"Linear bias has shape \(3,\); expected \(2,\)"),
    "no numbers": (lambda: Linear([["a"]], [0]), "Linear weight is no array of numbers"),  # type: ignore[arg-type]
    "ragged": (lambda: Linear([[1], [1, 2]], [0]), "Linear weight is no array of numbers"),  # type: ignore[arg-type]
    "gradient": (lambda: Linear(torch.ones(2, 2, requires_grad=True), ZERO), "Linear weight is no array of numbers"),  # type: ignore[arg-type]
    "conv vector": (lambda: Conv2d(EYE, ZERO), r"Conv2d weight has shape \(2, 2\); expected 4 positive sizes"),
    "stride": (lambda: conv(stride=(0, 1)), r"Conv2d stride is \(0, 1\); expected whole numbers from 1 to 10,000,000"),
    "one stride": (lambda: conv(stride=2), "Conv2d stride is 2"),
    "fractional stride": (lambda: conv(stride=(1.5, 1)), r"Conv2d stride is \(1.5, 1\)"),
    "three strides": (lambda: conv(stride=(1, 1, 1)), r"Conv2d stride is \(1, 1, 1\); expected two numbers"),
    "padding": (
        lambda: conv(padding=(-1, 0)),
        r"Conv2d padding is \(-1, 0\); expected whole numbers from 0 to 10,000,000",
    ),
    "padding by name": (lambda: conv(padding="same"), "Conv2d padding is 'same'"),
    "dilation": (lambda: conv(dilation=(0, 0)), r"Conv2d dilation is \(0, 0\)"),
    "groups": (lambda: conv(groups=3), "Conv2d groups is 3; expected a divisor of 2"),
    "no groups": (lambda: conv(groups=0), r"Conv2d groups is \[0\]"),
    "fractional groups": (lambda: conv(groups=2.0), r"Conv2d groups is \[2.0\]"),
}


@pytest.mark.parametrize(("build", "complaint"), REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_network_is_refused_in_one_line(build: Callable[[], object], complaint: str) -> None:
    with pytest.raises(NetworkError, match=complaint) as caught:
        build()
    assert "\n" not in str(caught.value)


@settings(max_examples=25, deadline=None)
@given(layer_lists(), layer_lists())
def test_digests_differ_between_networks(one: LayerList, other: LayerList) -> None:
    same = one.structure() == other.structure() and all(
        np.array_equal(a, b) for a, b in zip(one.arrays().values(), other.arrays().values(), strict=True)
    )
    assert (one.digest == other.digest) == same
    assert (one == other) == same


def test_digest_changes_with_everything() -> None:
    shape, image = (4,), (1, 4, 4)
    weight, bias = np.ones((2, 4)), np.zeros(2)
    other_weight, other_bias = weight.copy(), bias.copy()
    other_weight[1, 3] = np.nextafter(1.0, 2.0)
    other_bias[1] = 1e-300
    networks = [
        LayerList(shape, (Linear(weight, bias),)),
        LayerList(shape, (Linear(other_weight, bias),)),
        LayerList(shape, (Linear(weight, other_bias),)),
        LayerList(shape, (Linear(weight, bias), ReLU())),
        LayerList(shape, (ReLU(), Linear(weight, bias))),
        LayerList(shape, (Flatten(), Linear(weight, bias))),
        LayerList((2, 2), (Flatten(), Linear(weight, bias))),
        LayerList((4, 1), (Flatten(), Linear(weight, bias))),
        *(
            LayerList(image, (conv(**setting),))
            for setting in ({}, {"stride": (1, 2)}, {"stride": (2, 1)}, {"padding": (1, 0)}, {"padding": (0, 1)})
        ),
        LayerList((2, 4, 4), (conv(groups=2),)),
        LayerList((1, 6, 6), (conv(),)),
        LayerList((1, 6, 6), (conv(dilation=(2, 2)),)),
    ]
    assert len({network.digest for network in networks}) == len(networks)
    assert len(set(networks)) == len(networks)
    assert all(len(network.digest) == 64 for network in networks)


def test_digest_is_the_same_in_another_process(tmp_path: Path) -> None:
    example().save(tmp_path / "network")
    code = f"from networks import LayerList; print(LayerList.load({str(tmp_path / 'network')!r}).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert output.stdout.strip() == example().digest


@settings(max_examples=25, deadline=None)
@given(layer_lists(), SEEDS)
def test_saved_network_is_loaded_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, network: LayerList, seed: int
) -> None:
    path = tmp_path_factory.mktemp("layers") / "network.safetensors"
    network.save(path)
    loaded = LayerList.load(path)
    assert loaded == network
    assert repr(loaded) == repr(network)
    batch = np.random.default_rng(seed).normal(size=(2, *network.input_shape))
    np.testing.assert_array_equal(loaded.forward(batch), network.forward(batch))


def test_loaded_weights_are_read_only(tmp_path: Path) -> None:
    example().save(tmp_path / "network")
    arrays = LayerList.load(str(tmp_path / "network")).arrays()
    assert not any(array.flags.writeable for array in arrays.values())


def test_float32_weights_take_half_the_space(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(100, 100))
    LayerList((100,), (Linear(weight, np.zeros(100)),)).save(tmp_path / "double")
    LayerList((100,), (Linear(weight.astype(np.float32), np.zeros(100)),)).save(tmp_path / "single")
    assert (tmp_path / "single").stat().st_size < 0.55 * (tmp_path / "double").stat().st_size


def test_saved_file_has_the_usual_permissions(tmp_path: Path) -> None:
    example().save(tmp_path / "network")
    (tmp_path / "other").touch()
    assert (tmp_path / "network").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_unwritable_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"absent/network: cannot be written: No such file or directory"):
        example().save(tmp_path / "absent" / "network")


def write_changed(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
    """A layer-list file after `change(structure, arrays)`."""
    network = example()
    structure, arrays = network.structure(), dict(network.arrays())
    change(structure, arrays)
    save_file(arrays, path, {"format": FORMAT, "version": "1", "structure": json.dumps(structure)})


CHANGES: dict[str, tuple[Callable[[dict[str, Any], dict[str, Any]], object], str]] = {
    "missing tensor": (lambda s, a: a.pop("0.weight"), "tensor 0.weight is missing"),
    "spare tensor": (lambda s, a: a.update({"1.weight": EYE}), r"no layer has the tensors \['1.weight'\]"),
    "wrong shape": (lambda s, a: a.update({"3.weight": np.ones((3, 7))}), r"layer 3: Linear takes \(7,\)"),
    "wrong rank": (lambda s, a: a.update({"3.weight": np.ones(3)}), r"layer 3: Linear weight has shape \(3,\)"),
    "wrong bias": (lambda s, a: a.update({"3.bias": np.ones(2)}), r"layer 3: Linear bias has shape \(2,\)"),
    "whole numbers": (lambda s, a: a.update({"3.bias": np.ones(3, dtype=np.int64)}), "tensor 3.bias is of int64"),
    "half": (lambda s, a: a.update({"3.bias": np.ones(3, dtype=np.float16)}), "tensor 3.bias is of float16"),
    "NaN": (lambda s, a: a.update({"3.bias": np.full(3, np.nan)}), r"layer 3: Linear bias\[0\] is nan"),
    "no input shape": (lambda s, a: s.pop("input_shape"), r"its structure .* expected the keys \['input_shape'"),
    "extra key": (lambda s, a: s.update(classes=3), "its structure .*'classes'"),
    "input shape as text": (lambda s, a: s.update(input_shape="144"), "input_shape is '144'"),
    "input shape of texts": (lambda s, a: s.update(input_shape=["1", "4", "4"]), "input_shape is"),
    "input shape null": (lambda s, a: s.update(input_shape=None), "input_shape is None"),
    "layers as number": (lambda s, a: s.update(layers=3), "layers is 3; expected a list"),
    "no layers": (lambda s, a: (s.update(layers=[]), [a.pop(name) for name in list(a)]), "at least one layer"),
    "layer as text": (lambda s, a: s["layers"].__setitem__(1, "ReLU"), "layer 1 is 'ReLU'; expected an object"),
    "unknown kind": (lambda s, a: s["layers"][1].update(kind="Softmax"), "layer 1 is .*Softmax.* expected an object"),
    "kind as list": (lambda s, a: s["layers"][1].update(kind=["ReLU"]), "layer 1 is .* expected an object"),
    "no kind": (lambda s, a: s["layers"][1].clear(), r"layer 1 is \{\}; expected an object"),
    "missing setting": (lambda s, a: s["layers"][0].pop("stride"), r"layer 0 \(Conv2d\) .* expected the keys"),
    "extra setting": (lambda s, a: s["layers"][1].update(slope=0.1), r"layer 1 \(ReLU\) .* 'slope'"),
    "weight in JSON": (lambda s, a: s["layers"][3].update(weight=[[1.0]]), r"layer 3 \(Linear\) .* 'weight'"),
    "stride as text": (lambda s, a: s["layers"][0].update(stride="22"), "layer 0: Conv2d stride is '22'"),
    "stride as number": (lambda s, a: s["layers"][0].update(stride=2), "layer 0: Conv2d stride is 2"),
    "groups as text": (lambda s, a: s["layers"][0].update(groups="1"), r"layer 0: Conv2d groups is \['1'\]"),
    "groups": (lambda s, a: s["layers"][0].update(groups=2), "layer 0: Conv2d takes"),
}


@pytest.mark.parametrize(("change", "complaint"), CHANGES.values(), ids=CHANGES.keys())
def test_malformed_contents_are_refused_in_one_line(
    change: Callable[[dict[str, Any], dict[str, Any]], object], complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "network.safetensors"
    write_changed(path, change)
    with pytest.raises(NetworkError, match=rf"network\.safetensors: not a valid layer list: .*{complaint}") as caught:
        LayerList.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        (None, "no layer list; `relubench export` makes one"),
        ({"format": "pt"}, "no layer list; `relubench export` makes one"),
        ({"format": FORMAT}, "layer list version None, expected 1"),
        ({"format": FORMAT, "version": "2"}, "layer list version '2', expected 1"),
        ({"format": FORMAT, "version": "1"}, "its structure is not JSON"),
        ({"format": FORMAT, "version": "1", "structure": "{'a'}"}, "its structure is not JSON"),
        ({"format": FORMAT, "version": "1", "structure": "[" * 100_000}, "its structure is not JSON"),
        ({"format": FORMAT, "version": "1", "structure": "[]"}, "its structure is or has the keys"),
        ({"format": FORMAT, "version": "1", "structure": "null"}, "its structure is or has the keys"),
    ],
)
def test_wrong_metadata_are_refused_in_one_line(
    metadata: dict[str, str] | None, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "network.safetensors"
    save_file({"0.weight": EYE}, path, metadata)
    with pytest.raises(NetworkError, match=complaint) as caught:
        LayerList.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_tensors_that_numpy_lacks_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file as save_torch_file

    save_torch_file({"0.weight": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "network", {"format": FORMAT})
    with pytest.raises(NetworkError, match=r"cannot be read as a layer list: .*bfloat16"):
        LayerList.load(tmp_path / "network")


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"\xff" * 100, b"PK\x03\x04 no tensors", b"\x80\x04}."])
def test_other_files_are_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "network").write_bytes(content)
    with pytest.raises(NetworkError, match="network: cannot be read as a layer list: ") as caught:
        LayerList.load(tmp_path / "network")
    assert "\n" not in str(caught.value)


def test_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    example().save(tmp_path / "network")
    content = (tmp_path / "network").read_bytes()
    for size in range(0, len(content), 16):
        (tmp_path / "cut").write_bytes(content[:size])
        with pytest.raises(NetworkError, match="cut: cannot be read as a layer list"):
            LayerList.load(tmp_path / "cut")


@pytest.mark.parametrize("name", ["absent", "."])
def test_missing_file_and_folder_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="cannot be read as a layer list: no such file"):
        LayerList.load(tmp_path / name)


def test_summary_has_a_row_for_each_layer() -> None:
    table = example().summary()
    assert list(table.columns) == ["layer", "output shape", "parameters", "settings"]
    assert list(table["layer"]) == ["Conv2d", "ReLU", "Flatten", "Linear"]
    assert list(table["output shape"]) == ["(2, 2, 2)", "(2, 2, 2)", "(8,)", "(3,)"]
    assert list(table["parameters"]) == [20, 0, 0, 27]
    assert table["settings"][0] == "stride=[2, 2], padding=[1, 1], dilation=[1, 1], groups=1"
    assert list(table["settings"][1:]) == ["", "", ""]


def test_neurons_are_counted_at_the_relus() -> None:
    assert example().neuron_count == 8
    assert example().class_count == 3


def test_loading_imports_no_torch(tmp_path: Path) -> None:
    LayerList((2,), (Linear(EYE, ZERO), ReLU())).save(tmp_path / "network")
    code = (
        "import sys, numpy; from networks import LayerList, lower;"
        f"lower(LayerList.load({str(tmp_path / 'network')!r})).forward(numpy.eye(2));"
        "print('torch' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "False"
