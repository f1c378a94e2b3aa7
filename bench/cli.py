"""The command line. Every command stands in its own file under `bench/commands/`."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Annotated, Any

import typer

import bench
from bench.commands import attack, check, compare, export, listing, pair, report, run, status, train, verify
from networks.errors import RelubenchError

# Click's own; newer typers bring a click of their own and export no more of it than this.
UsageError: Any = typer.BadParameter.__base__
LONGEST_MESSAGE = 2000  # characters
app = typer.Typer(
    name="relubench",
    help="Robustness verification benchmarks for ReLU networks with a pluggable solver back-end.",
    epilog="To start: relubench run quick",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    run.run,
    status.status,
    report.report,
    check.check,
    compare.compare,
    pair.pair,
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
        print(f"relubench {bench.__version__}")
        raise typer.Exit


@app.callback()
def root(  # noqa: D103 (typer would show a docstring in place of the help above)
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: bad usage and bad input are one line on stderr and exit code 2; Ctrl-C is 130, failing output 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name need not be text of any encoding
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_exit_code(sys.argv[1:] or ["--help"]))


def _exit_code(arguments: list[str]) -> int:
    try:
        code = app(arguments, prog_name="relubench", standalone_mode=False)
        if sys.stdout is not None:  # it is None where the shell closed it
            sys.stdout.flush()
        return code or 0
    except (KeyboardInterrupt, typer.Abort):  # Click raises the second for the first
        return run.INTERRUPTED
    except UsageError as error:
        command = error.ctx.command_path if error.ctx else "relubench"
        return _fail(f"{error.format_message()} (see `{command} --help`)", 2)
    except RelubenchError as error:
        return _fail(str(error), 2)
    except MemoryError:
        return _fail("out of memory; expected a smaller network, file or number", 1)
    except OSError as error:
        _drop_output()
        return 1 if isinstance(error, BrokenPipeError) else _fail(str(error), 1)


def _drop_output() -> None:
    """Let the flush at the interpreter's end succeed, as Python's note on SIGPIPE has it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # an output that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    """Say it on one line of stderr; what a terminal would obey, or no encoding has, is escaped."""
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(message.splitlines()))
    shortened = line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]}..."
    sys.stderr.write(f"relubench: error: {shortened}\n")
    return code
