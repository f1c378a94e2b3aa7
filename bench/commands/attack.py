"""`relubench attack`: an attack on a batch of test images."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import FRACTION, INTEGER, ClipText, Data, Epsilon, Json, Network, parse_clip, parsed
from bench.console import console
from bench.numerals import integer, number


def attack(
    network: Network,
    epsilon: Epsilon,
    method: Annotated[str, typer.Option("--method", "-m", help="The attack; a wrong name lists all.")] = "pgd_linf",
    images: Annotated[
        int, typer.Option("--images", "-n", parser=INTEGER, help="How many test images, from the first on.")
    ] = 100,
    step: Annotated[
        float | None, typer.Option(parser=FRACTION, help="Step size; the default depends on the method.")
    ] = None,
    steps: Annotated[int, typer.Option(parser=INTEGER, help="Steps of a PGD attack.")] = 40,
    restarts: Annotated[int, typer.Option(parser=INTEGER, help="Starts; all but the first are random.")] = 1,
    target: Annotated[
        int | None, typer.Option("--target", "-t", parser=INTEGER, help="Drive all images towards this class.")
    ] = None,
    clip: ClipText = "none",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(parser=parsed(integer, 1, 1024), help="Of torch.", show_default="as many as there are cores"),
    ] = None,
    seed: Annotated[int, typer.Option(parser=INTEGER, help="Of the random starts.")] = 0,
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="Save the adversarial images to this .npz file.")] = None,
    json: Json = False,
    fail_over: Annotated[
        float | None,
        typer.Option(parser=parsed(number, 0, 1), help="Exit with code 1 if the error rate is above this."),
    ] = None,
) -> None:
    """Attack test images and print the error rate and the speed.

    With --target, images of that class are left out.

    Examples:
    relubench attack mnist_cnn --epsilon 0.1 --method fgsm

    relubench attack mnist_dnn_2 -e 2 -m pgd_l2 --step 0.1 --clip 0,1 -n 1000
    """
    import numpy as np

    from bench.devices import threads_of_libraries
    from bench.methods.attacks import attack as run
    from bench.store import save_npz
    from networks.data import test_images

    chosen = test_images(images, data)
    kept = np.ones(len(chosen), bool) if target is None else chosen.labels != target
    with threads_of_libraries(threads):
        result = run(
            network,
            chosen.images[kept],
            chosen.labels[kept],
            method,
            epsilon,
            step=step,
            steps=steps,
            restarts=restarts,
            targets=target,
            clip=parse_clip(clip),
            device=device,
            seed=seed,
        )
    if out is not None:
        save_npz(
            out,
            adversarial=result.adversarial,
            predictions=result.predictions,
            margin=result.margin,
            labels=chosen.labels[kept],
        )
    if json:
        print(json_format.dumps(result.to_dict(), allow_nan=False))
    else:
        console.print(
            f"{network}, {method}, epsilon {epsilon:g}: error rate {result.error_rate:.4f} on "
            f"{len(result.margin):,} images, {result.images_per_s:,.0f} images/s "
            f"({result.seconds:.3f} s on {result.device})",
            soft_wrap=True,
        )
    if fail_over is not None and result.error_rate > fail_over:
        raise typer.Exit(1)
