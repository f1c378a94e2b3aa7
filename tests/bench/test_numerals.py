"""Numbers out of text: what is not plainly one is refused, on the command line and in suites."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import typer

from bench.cli import app
from bench.numerals import fraction, indices, integer, number
from bench.suite import load_suite
from networks.errors import SuiteError
from tests.bench.suites import write_suite
from tests.conftest import RunCommand

NO_INTEGERS = ["0_9", "7.0", "0-9", "1e1", "", " 7", "7 ", "٣", "0x10", "--1", "1/1", "9" * 5000]
NO_NUMBERS = ["0_9", "0-9", "", " 7", "٣", "0x10", "1e", "e1", ".", "1..2", "1,5", "8 / 255", "infinity", "x"]
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def options_of_numbers() -> Iterator[tuple[str, str, Any]]:
    """Every option of every command that takes a number: the command, the option's name, and what typer knows of it."""
    for command, made in COMMANDS.items():
        for name, hint in get_type_hints(made.callback, include_extras=True).items():
            kind, *more = get_args(hint) if get_origin(hint) is Annotated else (hint,)
            if {int, float} & {kind, *get_args(kind), *(each for part in get_args(kind) for each in get_args(part))}:
                yield command, name, more[0]


OF_NUMBERS = [*options_of_numbers()]


@pytest.mark.parametrize("text", NO_INTEGERS)
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a whole number"):
        integer(text)


@pytest.mark.parametrize("text", [*NO_NUMBERS, "8/255"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        number(text)


@pytest.mark.parametrize("text", [*NO_NUMBERS, "8/0", "/255", "8/", "8/-255", "1/2/3", "1e3/2", "1_0/2"])
def test_what_is_neither_number_nor_fraction_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="or a fraction such as 8/255"):
        fraction(text)


def test_numbers_are_read_as_python_reads_them() -> None:
    assert [integer(text) for text in ("0", "-3", "+12", "007")] == [0, -3, 12, 7]
    assert [number(text) for text in ("1", "-.5", "2.", "1e-3", "+1E5", "1e400")] == [1, -0.5, 2, 1e-3, 1e5, math.inf]
    assert math.isnan(number("nan"))


def test_a_fraction_is_rounded_once() -> None:
    assert [fraction(text) for text in ("8/255", "0.5/255", "0.1", "1/3")] == [8 / 255, 0.5 / 255, 0.1, 1 / 3]


def test_ranges_of_indices_have_both_ends_and_each_index_once() -> None:
    assert indices("7") == (7,)
    assert indices("0-3") == (0, 1, 2, 3)
    assert indices("9,0,3-4,4-5") == (9, 0, 3, 4, 5)


@pytest.mark.parametrize("text", ["", "-1", "3-1", "0-", "-", "0,,1", "0-9-10", "0 - 9", "0_9", "7.0", "0-10000000"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected an index, or several such as 0-9 or 0,3,7-9"):
        indices(text)


@pytest.mark.parametrize(
    ("command", "name", "option"), OF_NUMBERS, ids=[f"{command}-{name}" for command, name, _ in OF_NUMBERS]
)
def test_every_option_that_takes_a_number_takes_it_strictly(command: str, name: str, option: Any) -> None:
    assert option.parser is not None, f"{command}: typer itself would read {name}"
    for text in ("0_9", "٣", "0-9"):
        with pytest.raises(typer.BadParameter, match=r"'.+'; expected a "):
            option.parser(text)


def test_options_were_looked_at() -> None:
    found = {name for _, name, _ in OF_NUMBERS}
    assert {"label", "epsilon", "target", "jobs", "work_threshold", "epochs", "fail_over"} <= found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("verify", "mnist_small", "-e", "0.01", "-i", "0_9"),
            "--image is '0_9'; expected an index, or several such as 0-9",
        ),
        (
            ("verify", "mnist_small", "-e", "0.01", "-i", "7.0"),
            "--image is '7.0'; expected an index, or several such as 0-9",
        ),
        (("export", "mnist_small", "x.mps", "-i", "0-9"), "'--image' / '-i': '0-9'; expected a whole number"),
        (("attack", "mnist_small", "-e", "8/0"), "'--epsilon' / '-e': '8/0'; expected a number, or a fraction"),
        (("verify", "mnist_small", "-e", "1", "--clip", "0,1_0"), "--clip is '0,1_0'; expected LOW,HIGH such as 0,1"),
    ],
)
def test_a_slip_is_one_line_and_no_other_number(
    arguments: tuple[str, ...], message: str, relubench: RunCommand
) -> None:
    ended = relubench(*arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert message in ended.err


def test_fractions_are_read_wherever_an_epsilon_is_taken(tmp_path: Path, relubench: RunCommand) -> None:
    told = json.loads(relubench("verify", "mnist_small", "-e", "8/255", "-m", "interval", "--json").out)
    assert told["epsilon"] == 8 / 255
    plain, ratio = (
        relubench("attack", "mnist_small", "-e", epsilon, "-m", "fgsm", "-n", 5, "--device", "cpu").out.split(",")[:3]
        for epsilon in (8 / 255, "8/255")
    )
    assert plain == ratio
    suite = load_suite(write_suite(tmp_path, "mnist_small", epsilons=["8/255", 0.1, 0]))
    assert suite.verify[0].epsilons == (8 / 255, 0.1, 0.0)


@pytest.mark.parametrize("epsilon", ["8/0", "0_1/2", "small", "-1/2", "0.1"])
def test_a_suite_takes_no_other_text_for_an_epsilon(epsilon: object, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"epsilons\[0\] is .*: expected a number, or a fraction such as \"8/255\""):
        load_suite(write_suite(tmp_path, "mnist_small", epsilons=[epsilon]))


def test_several_images_are_a_line_each(relubench: RunCommand) -> None:
    asked = ("verify", "mnist_small", "-e", "0.05", "-m", "interval", "-i", "0,3-4")
    lines = relubench(*asked).out.splitlines()
    assert [line.split(", label")[0] for line in lines[:-1]] == ["image 0", "image 3", "image 4"]
    assert lines[-1] == "3 images: 3 unknown"
    told = [json.loads(line) for line in relubench(*asked, "--json").out.splitlines()]
    assert [each["image"] for each in told] == [0, 3, 4]
    assert len({each["label"] for each in told}) == 3
    assert relubench(*asked, "--fail-on", "unverified").code == 1


def test_an_index_that_is_not_there_is_named_among_several(relubench: RunCommand) -> None:
    ended = relubench("verify", "mnist_small", "-e", "0.05", "-m", "interval", "-i", "0,20000")
    assert (ended.code, ended.out) == (2, "")  # nothing is asked before all images are there
    assert "test image index 20000 is out of range" in ended.err
