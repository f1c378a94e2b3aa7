"""What `relubench verify` shows: the best bound of each target, or its sign where no more is known."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import bench
from bench.commands import verify as command
from bench.outcome import Outcome
from networks.data import test_image as shipped_image
from tests.conftest import RunCommand


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return bench.verify("mnist_small", *shipped_image(0), 0.01, "lp", targets=[1, 2, 3])


def lines(outcome: Outcome, monkeypatch: pytest.MonkeyPatch, width: int = 160) -> list[str]:
    out = StringIO()
    monkeypatch.setattr(command, "console", Console(file=out, width=width, highlight=False))
    command._show(outcome, "mnist_small")
    return out.getvalue().splitlines()


def lower_bounds(outcome: Outcome, monkeypatch: pytest.MonkeyPatch, **values: Any) -> list[str]:
    arrays: dict[str, Any] = {name: np.array(numbers) for name, numbers in values.items()}
    made = replace(outcome, **arrays)
    shown = lines(made, monkeypatch)
    header = next(index for index, line in enumerate(shown) if "lower bound" in line)
    end = shown[header].index("lower bound") + len("lower bound")
    return [line[:end].split(maxsplit=1)[1].strip() for line in shown[header + 1 : header + 4]]


def test_no_bound_is_shown_that_a_certified_one_exceeds(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    found = lower_bounds(
        outcome, monkeypatch, lower=[-np.inf, 0.5, 2.0], certified=[0.25, 1.5, 1.0], safety=[0.0, 0.0, 0.0]
    )
    assert found == ["0.250000", "1.500000", "2.000000"]


def test_where_the_sign_alone_is_known_the_sign_is_shown(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    found = lower_bounds(
        outcome, monkeypatch, lower=[2.3e-5, 1.15e-5, 0.5], certified=[-0.6, -0.6, -0.6], safety=[1.15e-5] * 3
    )
    assert found == ["> 0", "0.000012", "0.500000"]  # the second does not exceed its safety, and has no sign


def test_a_solver_that_stops_at_the_sign_shows_no_tiny_bound(relubench: RunCommand) -> None:
    asked = ("verify", "mnist_small", "-i", 1, "-e", 0.05, "-t", 3, "-m", "milp", "--goal", "verdict")
    ended = relubench(*asked)
    assert "VERIFIED (trusting the solver)" in ended.out
    assert " > 0 " in next(line for line in ended.out.splitlines() if line.split()[:1] == ["3"])


@pytest.mark.parametrize("width", [80, 160])
def test_what_is_shown_fits_the_terminal(width: int, outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    assert max(map(len, lines(outcome, monkeypatch, width))) <= width


def test_a_tier_of_another_version_is_shown_by_its_own_word(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = lines(replace(outcome, tier="sworn"), monkeypatch)  # type: ignore[arg-type]
    assert any(line.startswith("VERIFIED (sworn): ") for line in shown)
