"""Training of the zoo: plain stochastic gradient descent, as the chapter does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from networks import zoo
from networks.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from networks.data import Dataset

LEARNING_RATE = 0.1
LATE_LEARNING_RATE = 0.01  # mnist_cnn, after the fifth epoch
EARLY_EPOCHS = 5
BATCH_SIZE = 100
EPOCHS = 10


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch. Errors are fractions, losses mean cross entropies in nats; the training figures are running ones."""

    epoch: int
    learning_rate: float
    train_error: float
    train_loss: float
    test_error: float
    test_loss: float


def learning_rate(name: str, epoch: int) -> float:
    """The step size in `epoch`, counted from 1."""
    return LATE_LEARNING_RATE if name == "mnist_cnn" and epoch > EARLY_EPOCHS else LEARNING_RATE


def train(
    name: str,
    module: nn.Module,
    train_set: Dataset,
    test_set: Dataset,
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
    on_batch: Callable[[], None] = lambda: None,
) -> Iterator[EpochRecord]:
    """Train `module` in place with the recipe of the zoo network `name`; yields one record after each epoch.

    Parameters
    ----------
    train_set, test_set : Dataset
        Inputs in [0, 1], not normalised.
    seed : int
        Of the order of the batches. The initial weights are the module's own.
    on_batch : callable
        Called after each batch of 100, for a progress bar.

    Raises
    ------
    InputError
        Fewer than one epoch, or a name that the zoo lacks; raised when the first record is asked for.
    """
    import torch

    zoo.check_name(name)
    if epochs < 1:
        raise InputError(f"epochs is {epochs}; expected at least 1")
    images, labels = _tensors(train_set)
    optimizer = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(1, epochs + 1):
        rate = learning_rate(name, epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate
        order = torch.randperm(len(labels), generator=generator)
        error, loss = _train_epoch(module, optimizer, images[order], labels[order], on_batch)
        yield EpochRecord(epoch, rate, error, loss, *evaluate(module, test_set))


def evaluate(module: nn.Module, dataset: Dataset) -> tuple[float, float]:
    """The fraction misclassified and the mean cross entropy."""
    import torch
    from torch.nn.functional import cross_entropy

    wrong = loss = 0.0
    module.eval()
    with torch.no_grad():
        for batch, classes in zip(*(part.split(10 * BATCH_SIZE) for part in _tensors(dataset)), strict=True):
            logits = module(batch)
            wrong += (logits.argmax(1) != classes).sum().item()
            loss += cross_entropy(logits, classes, reduction="sum").item()
    return wrong / len(dataset), loss / len(dataset)


def _train_epoch(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    labels: torch.Tensor,
    on_batch: Callable[[], None],
) -> tuple[float, float]:
    from torch.nn.functional import cross_entropy

    wrong = total = 0.0
    module.train()
    for batch, classes in zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True):
        logits = module(batch)
        loss = cross_entropy(logits, classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        wrong += (logits.argmax(1) != classes).sum().item()
        total += loss.item() * len(classes)
        on_batch()
    return wrong / len(labels), total / len(labels)


def _tensors(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    return torch.tensor(dataset.images), torch.tensor(dataset.labels)
