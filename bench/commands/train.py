"""`relubench train`: train a zoo network and record how it went."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import INTEGER, parsed
from bench.console import console, progress_bar
from bench.numerals import integer


def train(
    name: Annotated[str, typer.Argument(help="A zoo network; `relubench networks` lists them.")],
    data: Annotated[Path | None, typer.Option(help="Folder with the four MNIST files, gzipped or not.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the weights and the log.")] = Path("results/training"),
    seed: Annotated[
        int, typer.Option(parser=INTEGER, help="Of the initial weights and of the order of the batches.")
    ] = 0,
    epochs: Annotated[
        int, typer.Option(parser=parsed(integer, 1), help="Passes over the 60,000 training images.")
    ] = 10,
) -> None:
    """Train a zoo network: plain SGD, learning rate 0.1, batches of 100, inputs in [0, 1].

    Writes OUT/NAME.safetensors (a layer list) and OUT/NAME.csv (one line an epoch). MNIST is downloaded to the
    user's cache unless --data or $RELUBENCH_DATA names a folder that has it.

    Example: relubench train mnist_small --data ~/mnist
    """
    import pandas as pd
    import torch

    from bench.store import make_folder, writing
    from networks import from_torch, zoo
    from networks.data import mnist
    from networks.train import BATCH_SIZE
    from networks.train import train as run

    zoo.check_name(name)
    train_set, test_set = (mnist(split, data, download=True) for split in ("train", "test"))
    make_folder(out)
    torch.manual_seed(seed)
    module = zoo.architecture(name)
    records = []
    with progress_bar() as progress:
        task = progress.add_task(name, total=epochs * len(train_set) // BATCH_SIZE)
        advance = lambda: progress.advance(task)  # noqa: E731 (as short as a name for it)
        for record in run(name, module, train_set, test_set, epochs=epochs, seed=seed, on_batch=advance):
            records.append(asdict(record))
            console.print(
                f"epoch {record.epoch:2}  train error {record.train_error:7.2%}  loss {record.train_loss:.4f}"
                f"  test error {record.test_error:7.2%}  loss {record.test_loss:.4f}"
            )
            # Written after every epoch: an interrupted training keeps what it has.
            with writing(out / f"{name}.csv"):
                pd.DataFrame(records).to_csv(out / f"{name}.csv", index=False, float_format="%.6g")
            from_torch(module, zoo.INPUT_SHAPE).save(out / f"{name}.safetensors")
    console.print(
        f"{name}: test error {records[-1]['test_error']:.2%}, the chapter's {zoo.PUBLISHED_TEST_ERROR[name]:.2%}; "
        f"wrote {out / name}.safetensors and .csv"
    )
