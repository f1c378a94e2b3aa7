"""State dicts: what torch.load meets, and what fits no architecture."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from networks import zoo
from tests.fuzz.conftest import Workplace
from tests.fuzz.hunting import hunt
from tests.fuzz.malice import Malicious, malicious
from tests.fuzz.strategies import mangled

NAME = "mnist_small"
Tensors = dict[Any, Any]


def state() -> Tensors:
    """A state dict that fits."""
    with torch.random.fork_rng():
        return dict(zoo.architecture(NAME).state_dict())


def saved(value: Any, **options: Any) -> bytes:
    """The file that torch.save makes."""
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


SPOILT: dict[str, Callable[[torch.Tensor], Any]] = {
    "shape": lambda tensor: tensor[:1],
    "nan": lambda tensor: tensor * torch.nan,
    "inf": lambda tensor: tensor + torch.inf,
    "complex": lambda tensor: tensor.to(torch.complex64),
    "integers": lambda tensor: tensor.to(torch.int8),
    "booleans": lambda tensor: tensor.bool(),
    "half": lambda tensor: tensor.half(),
    "sparse": lambda tensor: tensor.to_sparse(),
    "meta": lambda tensor: tensor.to("meta"),
    "expanded": lambda tensor: torch.zeros(1).expand(10**12),
    "quantised": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    "numpy": lambda tensor: tensor.numpy(),
    "list": lambda tensor: tensor.tolist()[:2],
    "text": lambda tensor: "weights",
    "none": lambda tensor: None,
    "module": lambda tensor: torch.nn.ReLU(),
    "parameter": torch.nn.Parameter,
}
KEYS = ["", "1", "1.weight.extra", "x" * 10_000, "\ud800", 3, None, "_metadata", "state_dict", "a\nb"]


@st.composite
def dictionaries(draw: DrawFn) -> bytes:
    """A state dict with a tensor spoilt, a key changed, or something around it."""
    tensors: Tensors = OrderedDict(state())
    for key in draw(st.lists(st.sampled_from(sorted(tensors)), min_size=1, max_size=2, unique=True)):
        change = draw(st.sampled_from(["spoil", "spoil", "drop", "rename", "add"]))
        if change == "spoil":
            tensors[key] = SPOILT[draw(st.sampled_from(sorted(SPOILT)))](tensors[key])
        elif change == "add":
            tensors[draw(st.sampled_from(KEYS))] = tensors[key]
        else:
            kept = tensors.pop(key)
            tensors |= {draw(st.sampled_from(KEYS)): kept} if change == "rename" else {}
    if draw(st.booleans()):
        tensors._metadata = draw(st.sampled_from([[], "x", 3, {"": None}]))  # type: ignore[attr-defined]
    around = st.sampled_from([lambda it: it, lambda it: {"state_dict": it}, lambda it: [it], lambda it: {"model": it}])
    return _saved_quietly(draw(around)(tensors), _use_new_zipfile_serialization=draw(st.booleans()))


def files(canary: Path) -> SearchStrategy[bytes]:
    """Contents of .pt files."""
    valid = saved(state())
    evil = malicious(canary)
    whole = [
        evil,
        {"1.weight": evil},
        state() | {"1.weight": Malicious(eval, f"open({str(canary)!r}, 'w')")},
        3,
        "x",
        None,
        torch.nn.ReLU(),
    ]
    return st.one_of(
        mangled(valid),
        dictionaries(),
        dictionaries(),
        st.sampled_from(
            [
                *map(saved, whole),
                pickle.dumps(evil),
                pickle.dumps(state()),
                b"",
                b"PK\5\6" + bytes(18),
                _deflated(valid),
            ]
        ),
    )


def _saved_quietly(value: Any, **options: Any) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of quantised tensors, which torch gives up
        try:
            return saved(value, **options)
        except (NotImplementedError, RuntimeError, ValueError):  # what not even torch writes, as surrogates
            return b"not written"


def _deflated(content: bytes) -> bytes:
    """The archive compressed, as torch never writes it, with a record that unpacks to far more than the file has."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            target.writestr(item.filename, source.read(item))
        target.writestr("archive/data/99", bytes(10**7))
    return packed.getvalue()


@pytest.mark.filterwarnings("ignore:.*quantize.*", "ignore:.*Sparse.*")
def test_a_state_dict_ends_in_a_layer_list_or_in_one_clear_line(workplace: Workplace) -> None:
    def check(content: bytes) -> None:
        Path("weights.pt").write_bytes(content)
        workplace.run("export", "weights.pt", "out.safetensors", "--architecture", NAME)
        assert not workplace.canary.exists()

    hunt("state_dict", files(workplace.canary), check)
