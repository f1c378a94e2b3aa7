"""The command line. Every command stands in its own file under `bench/commands/`."""

from __future__ import annotations

import sys

import typer

from bench.commands.train import train
from networks.errors import RelubenchError

app = typer.Typer(
    name="relubench",
    help="Robustness verification benchmarks for ReLU networks with a pluggable solver back-end.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (train,):
    app.command()(command)


@app.callback()
def root() -> None:  # noqa: D103 (typer would show a docstring in place of the help above)
    pass


def main() -> None:
    """Entry point: bad input is one line on stderr and exit code 2."""
    try:
        app()
    except RelubenchError as error:
        sys.stderr.write(f"relubench: error: {error}\n")
        sys.exit(2)
