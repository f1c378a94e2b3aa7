"""`relubench export`: to a layer-list file, or to the MPS or LP file of one instance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.choices import DEFAULT_BOUNDS
from bench.commands.options import FRACTION, INTEGER, ClipText, Data, FormulationName, Stable, choose_input, parse_clip
from bench.console import console

SUFFIXES = (".safetensors", ".mps", ".lp")


def export(
    model: Annotated[str, typer.Argument(help="A zoo network, a layer-list file, or a torch state dict.")],
    out: Annotated[Path, typer.Argument(help="A .safetensors (layer list), .mps or .lp file.")],
    architecture: Annotated[str | None, typer.Option(help="The zoo architecture of a state dict.")] = None,
    image: Annotated[int, typer.Option("--image", "-i", parser=INTEGER, help="Index of the test image (MPS, LP).")] = 0,
    epsilon: Annotated[
        float | None, typer.Option("--epsilon", "-e", parser=FRACTION, help="Radius of the ball (MPS, LP).")
    ] = None,
    target: Annotated[
        int | None, typer.Option("--target", "-t", parser=INTEGER, help="The class to compare with (MPS, LP).")
    ] = None,
    clip: ClipText = "0,1",
    relaxation: Annotated[bool, typer.Option(help="The LP relaxation instead of the MILP.")] = False,
    bounds: Annotated[str, typer.Option(help="interval, linear or alpha; lp or milp by HiGHS.")] = DEFAULT_BOUNDS,
    formulation: FormulationName = "compact",
    stable: Stable = None,
    data: Data = None,
) -> None:
    """Write a network as a layer list, or one verification problem as a file that any solver reads.

    Examples:
    relubench export weights.pt mine.safetensors --architecture mnist_dnn_2

    relubench export mnist_small seven.mps --image 0 --epsilon 0.05 --target 3
    """
    from bench.methods.question import Question
    from bench.methods.settings import Settings
    from bench.store import writing
    from bench.verification import question_encoding
    from networks import load_network, load_state_dict
    from networks.errors import InputError
    from networks.instance import ball
    from solvers.backend import SolverOptions

    if out.suffix not in SUFFIXES:
        raise InputError(f"output {out} ends in {out.suffix!r}; expected one of {', '.join(SUFFIXES)}")
    switches: dict[str, Any] = {"bounds": bounds, "formulation": formulation, "stable": stable}
    method = "lp" if relaxation else "milp"
    settings = Settings(method, "highs", SolverOptions(), **switches)
    network = load_state_dict(model, architecture) if architecture else load_network(model)
    if out.suffix == ".safetensors":
        network.save(out)
        console.print(f"wrote {out}: {len(network.layers)} layers, digest {network.digest[:16]}", soft_wrap=True)
        return
    if epsilon is None or target is None:
        raise InputError(f"{out.suffix} files hold one problem; give its --epsilon and its --target")
    x, label = choose_input(image, None, None, data)
    instance = ball(network, x, label, epsilon, clip=parse_clip(clip), targets=[target])
    problem = question_encoding(Question.of(network, instance), settings).model
    with writing(out):
        (problem.write_mps if out.suffix == ".mps" else problem.write_lp)(out)
    console.print(
        f"wrote {out}: {problem.row_count:,} rows, {problem.column_count:,} columns, {problem.A.nnz:,} non-zeros, "
        f"{int(problem.integer.sum())} binaries; its minimum is the margin of class {label} over {target}",
        soft_wrap=True,
    )
