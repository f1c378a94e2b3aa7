"""`relubench pair`: two installations timed against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands.options import INTEGER, NUMBER, Data, Json
from bench.commands.outputs import GitHub, JUnit, Markdown, Outputs
from bench.console import errors, progress_bar

if TYPE_CHECKING:
    from bench.limits import Limits
    from bench.pairing.result import Pairing, Rules
    from bench.plan import Plan


def pair(
    suite: Annotated[str, typer.Argument(help="A shipped suite (`relubench suites`) or a TOML file.")],
    base: Annotated[str, typer.Option(metavar="PYTHON", help="Interpreter of the installation to compare with.")],
    head: Annotated[str, typer.Option(metavar="PYTHON", help="Interpreter of the installation to judge.")],
    threshold: Annotated[
        float, typer.Option(parser=NUMBER, help="Fail where head takes surely more than this times base's.")
    ] = 1.10,
    rounds: Annotated[
        int, typer.Option(parser=INTEGER, help="Rounds of four measurements a cell, two pairs, at least.")
    ] = 3,
    max_rounds: Annotated[
        int, typer.Option(parser=INTEGER, help="Rounds at most, while the answer is not clear.")
    ] = 10,
    hard_limit: Annotated[
        float | None,
        typer.Option(
            parser=NUMBER,
            help="Seconds after which a first call hangs.",
            show_default="time limit + 10 s or a quarter, else 600",
        ),
    ] = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option(help="Folder for pair.json, with every measurement.")] = None,
    markdown: Markdown = None,
    junit: JUnit = None,
    json: Json = False,
    github: GitHub = False,
) -> None:
    """Time two installations of relubench against each other, cell by cell in turns, in one job.

    Exit code 1 where head is slower: where the interval of its time over base's lies above the threshold.

    Exit code 3 where their answers differ, 4 where nothing could be compared.

    Example: relubench pair quick --base base/bin/python --head head/bin/python
    """
    from bench.pairing.comparison import compared, not_compared
    from bench.pairing.record import save
    from bench.pairing.result import Rules
    from bench.store import make_folder
    from networks.errors import PairingError

    outputs, rules = Outputs(markdown, junit, json, github), Rules(threshold, rounds, max_rounds)
    plan, limits = _planned(suite, data, hard_limit)
    if out is not None:
        make_folder(out)
    try:
        pairing = _measured(plan, base, head, rules, limits)
    except PairingError as error:
        errors.print(f"relubench: error: {error}")
        found = not_compared(base, head, error)
        outputs.show(found, terminal=False)
        raise typer.Exit(found.exit_code) from None
    if out is not None:
        save(pairing, plan, out)
    found = compared(pairing)
    outputs.show(found)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _planned(name: str, data: Path | None, hard_limit: float | None) -> tuple[Plan, Limits]:
    from bench.limits import Limits, in_force
    from bench.plan import make_plan
    from bench.suite import load_suite

    suite = load_suite(name)
    plan = make_plan(suite, data)
    for note in plan.notes:
        errors.print(f"note: {note}")
    return plan, in_force(suite, 1, Limits(hard_limit))


def _measured(plan: Plan, base: str, head: str, rules: Rules, limits: Limits) -> Pairing:
    from bench.pairing.session import Session
    from bench.pairing.side import Side

    with Side("base", base, plan.threads) as a, Side("head", head, plan.threads) as b, progress_bar() as progress:
        task = progress.add_task("starting", total=None)

        def on_step(what: str, total: int) -> None:
            progress.update(task, description=what, total=total, advance=1)

        return Session(plan, a, b, rules, limits, on_step).run()
