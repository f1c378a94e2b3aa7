"""Training: the recipe, its records, and that a seed repeats it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from networks import data, zoo
from networks.errors import InputError, NetworkError
from networks.layers import LayerList
from networks.torch_io import from_torch
from networks.train import BATCH_SIZE, EpochRecord, evaluate, learning_rate, train

TRAIN_SET = data.test_images(300)
TEST_SET = data.test_images(150)


def run(seed: int = 0, epochs: int = 2, name: str = "mnist_small") -> tuple[list[EpochRecord], LayerList]:
    """Train from the same initial weights."""
    torch.manual_seed(0)
    module = zoo.architecture(name)
    records = list(train(name, module, TRAIN_SET, TEST_SET, epochs=epochs, seed=seed))
    return records, from_torch(module, zoo.INPUT_SHAPE)


def test_training_lowers_loss_and_error() -> None:
    records, _ = run(epochs=4)
    assert records[-1].train_loss < records[0].train_loss
    assert records[-1].test_loss < records[0].test_loss < math.log(10) + 0.1
    assert records[-1].test_error < records[0].test_error


def test_there_is_a_record_of_each_epoch() -> None:
    records, _ = run(epochs=3)
    assert [record.epoch for record in records] == [1, 2, 3]
    for record in records:
        assert record.learning_rate == 0.1
        assert 0 <= record.train_error <= 1
        assert 0 <= record.test_error <= 1
        assert record.train_loss > 0
        assert record.test_loss > 0


def test_seed_repeats_the_training_and_another_does_not() -> None:
    records, network = run(seed=3)
    assert run(seed=3) == (records, network)
    assert run(seed=4)[1] != network


def test_training_leaves_torchs_random_state_alone() -> None:
    module = zoo.architecture("mnist_small")
    before = torch.get_rng_state()
    list(train("mnist_small", module, TRAIN_SET, TEST_SET, epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_records_come_while_the_training_runs() -> None:
    batches: list[None] = []
    module = zoo.architecture("mnist_small")
    records = train("mnist_small", module, TRAIN_SET, TEST_SET, epochs=2, on_batch=lambda: batches.append(None))
    for epoch in (1, 2):
        assert next(records).epoch == epoch
        assert len(batches) == epoch * len(TRAIN_SET) / BATCH_SIZE
        assert not module.training


def test_evaluation_gives_error_and_cross_entropy() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    nn.init.zeros_(module.get_parameter("1.weight"))
    bias = module.get_parameter("1.bias")
    nn.init.zeros_(bias)
    assert evaluate(module, TEST_SET)[1] == pytest.approx(math.log(10))
    with torch.no_grad():
        bias[7] = 1.0
    error, loss = evaluate(module, TEST_SET)
    share = float((TEST_SET.labels == 7).mean())
    assert error == pytest.approx(1 - share)
    assert loss == pytest.approx(math.log(9 + math.e) - share)


def test_evaluation_agrees_with_the_layer_list_over_several_batches() -> None:
    samples = data.samples()
    network = zoo.load("mnist_small")
    wrong = (network.forward(samples.images).argmax(1) != samples.labels).mean()
    assert evaluate(network.to_torch(), samples)[0] == pytest.approx(wrong)


def test_learning_rate_drops_for_the_convolutional_network_alone() -> None:
    assert [learning_rate("mnist_cnn", epoch) for epoch in (1, 5, 6, 10)] == [0.1, 0.1, 0.01, 0.01]
    for name in zoo.NAMES[:3]:
        assert {learning_rate(name, epoch) for epoch in range(1, 11)} == {0.1}


@pytest.mark.parametrize("epochs", [0, -1])
def test_fewer_than_one_epoch_is_refused(epochs: int) -> None:
    with pytest.raises(InputError, match=f"epochs is {epochs}; expected at least 1"):
        run(epochs=epochs)


def test_unknown_recipe_is_refused() -> None:
    with pytest.raises(NetworkError, match="'mnist_huge' is not in the zoo"):
        next(train("mnist_huge", zoo.architecture("mnist_small"), TRAIN_SET, TEST_SET))
