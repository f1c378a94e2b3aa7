"""State dicts as others keep them, and files that are no network: what each is, and the way out."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from networks import zoo
from networks.errors import NetworkError
from networks.layers import LayerList
from networks.torch_io import from_torch, load_state_dict


@pytest.fixture(scope="module")
def small() -> nn.Sequential:
    return zoo.architecture("mnist_small")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "_orig_mod.module."])
@pytest.mark.parametrize("key", [None, "state_dict", "net", "model"])
def test_state_dict_behind_a_prefix_or_a_key_is_loaded(
    prefix: str, key: str | None, small: nn.Sequential, tmp_path: Path
) -> None:
    state = {prefix + name: tensor for name, tensor in small.state_dict().items()}
    torch.save(state if key is None else {key: state, "optimizer": {}, "epoch": 3}, tmp_path / "checkpoint.pt")
    assert load_state_dict(tmp_path / "checkpoint.pt", "mnist_small") == from_torch(small, zoo.INPUT_SHAPE)


def test_state_dict_of_two_is_not_guessed_unless_its_key_is_usual(small: nn.Sequential, tmp_path: Path) -> None:
    state = dict(small.state_dict())
    torch.save({"net": state, "ema": state, "epoch": 3}, tmp_path / "two.pt")
    with pytest.raises(NetworkError, match=r"expected tensors by name, found the keys \['ema', 'epoch', 'net'\]"):
        load_state_dict(tmp_path / "two.pt", "mnist_small")
    torch.save({"ema": zoo.architecture("mnist_cnn").state_dict(), "state_dict": state}, tmp_path / "usual.pt")
    assert load_state_dict(tmp_path / "usual.pt", "mnist_small") == from_torch(small, zoo.INPUT_SHAPE)


def test_a_prefix_of_some_names_alone_is_none(small: nn.Sequential, tmp_path: Path) -> None:
    first, *others = small.state_dict().items()
    torch.save({f"module.{first[0]}": first[1], **dict(others)}, tmp_path / "mixed.pt")
    with pytest.raises(NetworkError, match=r'Unexpected key\(s\) in state_dict: "module.1.weight"'):
        load_state_dict(tmp_path / "mixed.pt", "mnist_small")


def test_state_dict_in_safetensors_is_loaded(small: nn.Sequential, tmp_path: Path) -> None:
    save_file(small.state_dict(), tmp_path / "small.safetensors")
    assert load_state_dict(tmp_path / "small.safetensors", "mnist_small") == from_torch(small, zoo.INPUT_SHAPE)


def write_other_files(folder: Path, module: nn.Module) -> dict[str, str]:
    """Files that may be taken for a network, and what each is."""
    torch.save(module.state_dict(), folder / "new.pt")
    torch.save(module.state_dict(), folder / "old.pt", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(folder / "script.pt", "w") as archive:  # torch deprecates what would write one
        for name in ("script/data.pkl", "script/constants.pkl", "script/code/__torch__.py"):
            archive.writestr(name, b"")
    (folder / "model.onnx").write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(range(256)))
    (folder / "keras.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
    np.save(folder / "array.npy", np.ones(3))
    np.savez(folder / "arrays.npz", a=np.ones(3))
    (folder / "notes.txt").write_text("neither weights nor structure\n" * 9)
    (folder / "empty").touch()
    (folder / "some.pkl").write_bytes(pickle.dumps([1, 2]))
    kinds = {"new.pt": "a torch checkpoint", "old.pt": "a torch checkpoint", "script.pt": "a TorchScript module"}
    kinds |= {"model.onnx": "an ONNX model", "keras.h5": "an HDF5 file, as Keras writes", "empty": "an empty file"}
    kinds |= {"array.npy": "a NumPy array", "arrays.npz": "NumPy arrays", "notes.txt": "text", "some.pkl": "a pickle"}
    return kinds


def test_a_file_of_another_kind_is_told_as_what_it_is_with_the_way_out(small: nn.Sequential, tmp_path: Path) -> None:
    ways = {"a torch checkpoint": "--architecture NAME"}
    ways |= dict.fromkeys(("an ONNX model", "a TorchScript module"), "networks.from_torch")
    for name, kind in write_other_files(tmp_path, small).items():
        with pytest.raises(NetworkError, match=rf"{name}: cannot be read as a layer list: it is {kind}; ") as refused:
            LayerList.load(tmp_path / name)
        assert ways.get(kind, "relubench export") in str(refused.value)
        assert "header" not in str(refused.value)
        if name not in ("new.pt", "old.pt"):
            with pytest.raises(NetworkError, match=rf"{name}: no state dict: it (is {kind}|holds a list)"):
                load_state_dict(tmp_path / name, "mnist_small")
