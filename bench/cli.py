"""The command line. Every command stands in its own file under `bench/commands/`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from bench.commands import attack, export, listing, report, run, train, verify
from networks.errors import RelubenchError

# Click's own; newer typers bring a click of their own and export no more of it than this.
UsageError: Any = typer.BadParameter.__base__
app = typer.Typer(
    name="relubench",
    help="Robustness verification benchmarks for ReLU networks with a pluggable solver back-end.",
    epilog="To start: relubench run quick",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    run.run,
    report.report,
    verify.verify,
    attack.attack,
    train.train,
    export.export,
    listing.networks,
    listing.solvers,
    listing.suites,
):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"relubench {version('relubench')}")
        raise typer.Exit


@app.callback()
def root(  # noqa: D103 (typer would show a docstring in place of the help above)
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: bad usage and bad input are one line on stderr and exit code 2."""
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], prog_name="relubench", standalone_mode=False))
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else "relubench"
        _fail(f"{error.format_message()} (see `{command} --help`)")
    except RelubenchError as error:
        _fail(str(error))


def _fail(message: str) -> None:
    sys.stderr.write(f"relubench: error: {' '.join(message.splitlines())}\n")
    sys.exit(2)
