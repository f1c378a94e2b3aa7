"""`relubench verify`: one question, one method."""

from __future__ import annotations

import json as json_format
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.choices import DEFAULT_BOUNDS, METHODS, SWITCHES
from bench.commands.options import (
    INTEGER,
    NUMBER,
    ClipText,
    Data,
    Epsilon,
    FormulationName,
    Json,
    Network,
    Stable,
    Targets,
    choose_inputs,
    parse_clip,
)
from bench.console import console

if TYPE_CHECKING:
    from rich.table import Table

    from bench.outcome import Outcome
    from networks.layers import Array

TIERS = {
    "certified": "certified in exact arithmetic",
    "solver": "trusting the solver",
    "float32": "in exact arithmetic, float64 and float32",
    "float64": "in exact arithmetic and float64, not in float32",
    "exact": "in exact arithmetic, not in float64",
}
SIGN_ALONE = 3.0  # times what a bound must exceed to count as positive: up to there it says no more than that
FAIL_ON = {"never": (), "falsified": ("falsified",), "unverified": ("falsified", "unknown")}  # the verdicts that fail


def verify(
    network: Network,
    epsilon: Epsilon,
    image: Annotated[
        str | None,
        typer.Option("--image", "-i", help="Index of a test image, or several: 0-9 or 0,3,7-9.", show_default="0"),
    ] = None,
    input_file: Annotated[Path | None, typer.Option("--input", help="A .npy file instead of a test image.")] = None,
    label: Annotated[int | None, typer.Option(parser=INTEGER, help="The true class; a test image has its own.")] = None,
    method: Annotated[str, typer.Option("--method", "-m", help=", ".join(METHODS) + ".")] = "milp",
    solver: Annotated[str, typer.Option("--solver", "-s", help="A back-end (`relubench solvers`).")] = "highs",
    clip: ClipText = "0,1",
    target: Targets = None,
    time_limit: Annotated[
        float | None, typer.Option(parser=NUMBER, help="Seconds for encoding and all targets together.")
    ] = None,
    node_limit: Annotated[
        int | None, typer.Option(parser=INTEGER, help="Nodes of each MILP's branch and bound.")
    ] = None,
    threads: Annotated[int, typer.Option(parser=INTEGER, help="Of the solver, and of torch.")] = 1,
    seed: Annotated[int, typer.Option(parser=INTEGER, help="Of the solver.")] = 0,
    bounds: Annotated[
        str, typer.Option(help=f"Of a model's neurons: {', '.join(SWITCHES['bounds'])}.")
    ] = DEFAULT_BOUNDS,
    goal: Annotated[str, typer.Option(help="margin, or verdict: stop where the sign is known.")] = "margin",
    formulation: FormulationName = "compact",
    stable: Stable = None,
    relu: Annotated[str, typer.Option(help="Open signs by bigm, indicator or sos1.")] = "bigm",
    query: Annotated[str, typer.Option(help="each target by itself, or the maximum of all in one model.")] = "each",
    stop: Annotated[str, typer.Option(help="At a sign, by a row, or the solver's own cutoff.")] = "row",
    start: Annotated[str, typer.Option(help="none, or witness: start the MILP from an attack's input.")] = "none",
    exact: Annotated[bool, typer.Option("--exact", help="Certify LPs' bounds by rational arithmetic: slower.")] = False,
    log: Annotated[Path | None, typer.Option(help="Append the solver's own log to this file.")] = None,
    data: Data = None,
    json: Json = False,
    fail_on: Annotated[str, typer.Option(help=f"Exit with code 1 on: {', '.join(FAIL_ON)}.")] = "never",
) -> None:
    """Bound the worst-case margins around one input, and say whether the network is robust there.

    Of several images, each is a line, and so is each JSON object.

    Examples:
    relubench verify mnist_small --image 0 --epsilon 0.02

    relubench verify mnist_dnn_4 -i 3 -e 0.01 --method lp --solver gurobi --json

    relubench verify mnist_small --image 0-9 -e 8/255 --method staged
    """
    from bench.store import writing
    from bench.verification import verify as run
    from networks.errors import InputError

    if fail_on not in FAIL_ON:
        raise InputError(f"--fail-on is {fail_on!r}; expected one of {', '.join(FAIL_ON)}")
    inputs = choose_inputs(image, input_file, label, data)
    if log is not None:
        with writing(log):
            log.touch()
    verdicts: Counter[str] = Counter()
    for index, x, true_label in inputs:
        outcome = run(
            network,
            x,
            true_label,
            epsilon,
            method,
            solver,
            clip=parse_clip(clip),
            targets=target or None,
            time_limit_s=time_limit,
            threads=threads,
            seed=seed,
            bounds=bounds,
            goal=goal,
            formulation=formulation,
            stable=stable,
            relu=relu,
            query=query,
            stop=stop,
            start=start,
            exact=exact,
            node_limit=node_limit,
            log=log,
        )
        verdicts[outcome.verdict] += 1
        if json:
            which = {"image": index} if len(inputs) > 1 else {}
            print(json_format.dumps(which | outcome.to_dict(), allow_nan=False), flush=True)
        elif len(inputs) == 1:
            _show(outcome, network)
        else:
            _show_line(outcome, index)
    if len(inputs) > 1 and not json:
        console.print(f"{len(inputs)} images: {', '.join(f'{count} {verdict}' for verdict, count in verdicts.items())}")
    if any(verdict in FAIL_ON[fail_on] for verdict in verdicts):
        raise typer.Exit(1)


def _show_line(outcome: Outcome, index: int | None) -> None:
    console.print(
        f"image {index}, label {outcome.label}: {_verdict(outcome)}; {outcome.total_s:.3f} s",
        soft_wrap=True,
    )


def _verdict(outcome: Outcome) -> str:
    """The verdict, what it rests on, and its evidence."""
    tier = f" ({TIERS.get(outcome.tier, outcome.tier)})" if outcome.tier else ""
    return f"{outcome.verdict.upper()}{tier}: {outcome.evidence}"


def _show(outcome: Outcome, network: str) -> None:
    from rich.text import Text

    table = _table(outcome)
    by = f" by {outcome.solver}" if outcome.solver else ""
    console.print(f"{network}, label {outcome.label}, epsilon {outcome.epsilon:g}: {outcome.method}{by}")
    if outcome.switches:
        console.print(", ".join(f"{name} {value}" for name, value in outcome.switches.items()))
    console.print(table)
    said = Text(_verdict(outcome))
    said.stylize("bold", 0, len(outcome.verdict))
    console.print(said)
    if outcome.caveat:
        console.print(outcome.caveat)
    times = (
        ("bounds", outcome.bounds_s),
        ("build", outcome.build_s),
        ("solve", outcome.solve_s),
        ("all", outcome.total_s),
    )
    console.print("seconds: " + ", ".join(f"{name} {seconds:.3f}" for name, seconds in times))
    if outcome.stage_s:
        console.print("stages: " + ", ".join(f"{name} {seconds:.3f}" for name, seconds in outcome.stage_s.items()))
    if outcome.counters:
        console.print(", ".join(f"{name.replace('_', ' ')} {value:,.6g}" for name, value in outcome.counters.items()))


def _table(outcome: Outcome) -> Table:
    """A line a target; with a solver, what it said itself and what is certified beside the bound that counts."""
    from rich.table import Table

    columns: dict[str, list[str]] = {
        "target": [str(target) for target in outcome.targets],
        "lower bound": _lower_bounds(outcome),
        "upper bound": _numbers(outcome.upper),
        "certified": _numbers(outcome.certified),
        "solver says": _numbers(outcome.claimed),
        "status": [status.replace("_", " ") for status in outcome.status],
        "stage": list(outcome.stage),
    }
    without = {"certified", "solver says"} if outcome.solver is None else set()
    without |= set() if outcome.stage else {"stage"}
    shown = {name: cells for name, cells in columns.items() if name not in without}
    table = Table(box=None, header_style="bold")
    for name in shown:
        table.add_column(name, justify="left" if name in ("status", "stage") else "right")
    for line in zip(*shown.values(), strict=True):
        table.add_row(*line)
    return table


def _lower_bounds(outcome: Outcome) -> list[str]:
    """The best bound that there is; `> 0` where a solver was stopped as soon as it had the sign."""
    import numpy as np

    best = np.maximum(outcome.lower, outcome.certified)
    sign_alone = (best > outcome.certified) & (best > outcome.safety) & (best <= SIGN_ALONE * outcome.safety)
    return ["> 0" if sign else text for sign, text in zip(sign_alone, _numbers(best), strict=True)]


def _numbers(values: Array) -> list[str]:
    return [f"{value:.6f}" if value > -math.inf else "" for value in values.tolist()]
