"""The zoo: architectures, and the trained weights that ship with the package."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from networks import data, zoo
from networks.errors import NetworkError
from networks.layers import LayerList
from networks.torch_io import from_torch
from networks.train import evaluate

LARGEST_ERROR = 0.06  # on the shipped thousand images; the published errors on all ten thousand are 1 % to 3 %
NEURONS = {
    "mnist_small": 70,
    "mnist_dnn_2": 200,
    "mnist_dnn_4": 400,
    "mnist_cnn": 25_088 + 6_272 + 12_544 + 3_136 + 100,
}


@pytest.mark.parametrize("name", zoo.NAMES)
def test_shipped_network_classifies_the_shipped_images(name: str) -> None:
    error, _ = evaluate(zoo.load(name).to_torch(), data.samples())
    assert 0 < error < LARGEST_ERROR


@pytest.mark.parametrize("name", zoo.NAMES)
def test_shipped_weights_are_float32_values(name: str) -> None:
    for array in zoo.load(name).arrays().values():
        np.testing.assert_array_equal(array.astype(np.float32), array)


@pytest.mark.parametrize("name", zoo.NAMES)
def test_shipped_network_has_the_architecture_of_its_name(name: str) -> None:
    untrained = from_torch(zoo.architecture(name), zoo.INPUT_SHAPE)
    assert zoo.load(name).structure() == untrained.structure()
    assert zoo.load(name).shapes == untrained.shapes
    assert zoo.load(name).neuron_count == NEURONS[name]
    assert zoo.load(name).class_count == data.CLASS_COUNT


def test_shipped_network_is_loaded_once() -> None:
    assert zoo.load("mnist_small") is zoo.load("mnist_small")
    assert zoo.load_network("mnist_small") is zoo.load("mnist_small")


def test_every_network_has_a_published_error() -> None:
    assert set(zoo.PUBLISHED_TEST_ERROR) == set(zoo.NAMES)


@pytest.mark.parametrize("name", zoo.NAMES)
def test_the_test_error_is_that_of_the_weights_that_ship(name: str) -> None:
    folder = Path(__file__).parents[2] / "results" / "training"
    *_, last = csv.DictReader((folder / f"{name}.csv").read_text(encoding="utf-8").splitlines())
    assert float(last["test_error"]) == zoo.TEST_ERROR[name]
    assert LayerList.load(folder / f"{name}.safetensors").digest == zoo.load(name).digest
    error, _ = evaluate(zoo.load(name).to_torch(), data.samples())
    assert abs(error - zoo.TEST_ERROR[name]) < 0.02  # on a tenth of the images


@pytest.mark.parametrize("name", ["mnist", "", "MNIST_SMALL", "../zoo"])
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    known = "mnist_small, mnist_dnn_2, mnist_dnn_4, mnist_cnn"
    for function in (zoo.load, zoo.architecture, zoo.check_name):
        with pytest.raises(NetworkError) as caught:
            function(name)
        assert str(caught.value) == f"network {name!r} is not in the zoo; expected one of {known}"


def test_network_is_found_by_name_by_path_or_as_it_is(tmp_path: Path) -> None:
    network = zoo.load("mnist_small")
    network.save(tmp_path / "mine")
    assert zoo.load_network(network) is network
    assert zoo.load_network("mnist_small") is network
    assert zoo.load_network(tmp_path / "mine") == network
    assert zoo.load_network(str(tmp_path / "mine")) == network


@pytest.mark.parametrize("below", ["absent", "."])
def test_neither_name_nor_file_is_refused(below: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"is neither a file nor in the zoo \(mnist_small, "):
        zoo.load_network(tmp_path / below)


def test_architectures_are_untrained_modules_of_their_own() -> None:
    one, other = zoo.architecture("mnist_small"), zoo.architecture("mnist_small")
    assert isinstance(one, nn.Sequential)
    assert from_torch(one, zoo.INPUT_SHAPE) != from_torch(other, zoo.INPUT_SHAPE)
    assert isinstance(zoo.load("mnist_small"), LayerList)


@pytest.mark.parametrize("source", [nn.Linear(2, 2), None])
def test_what_is_no_network_is_refused_with_the_way_to_make_one(source: Any) -> None:
    with pytest.raises(NetworkError, match=r"is of type \w+; expected .* networks\.from_torch"):
        zoo.load_network(source)
