"""A share of the hostile networks, asked in this process; `python -m tests.soundness` asks 2,000."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import Verdict
from bench.choices import BY_MILP
from bench.verdict import Tier
from tests.soundness import asking, hunt
from tests.soundness.hostile import FAMILIES, case

NETWORKS = 4  # of each family


def asked_here(index: int) -> list[hunt.Answer]:
    """All answers but those of first-order solvers, which only the command asks, in processes of their own.

    OSQP's setup has ended a process (a segmentation fault) in which many other solvers had been at work before.
    """
    ways = hunt.ways_of(0, index)
    kept = [place for place, way in enumerate(ways) if way.get("solver") not in asking.FIRST_ORDER]
    return [answer for place in kept for answer in hunt.asked((0, index, place))]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_no_network_of_the_family_gets_a_wrong_answer(family: str) -> None:
    place = list(FAMILIES).index(family)
    for index in range(place, place + NETWORKS * len(FAMILIES), len(FAMILIES)):
        for answer in asked_here(index):
            assert not answer.faults, f"network {index}, asked {answer.way}"


def test_ordinary_networks_are_decided() -> None:
    clear = [k for k in range(0, 400, len(FAMILIES)) if abs(min(case(0, k).most)) > 1e-3][:4]
    answers = [answer for k in clear for answer in asked_here(k)]
    assert {answer.verdict for answer in answers if answer.way["method"] in BY_MILP} == {"verified", "falsified"}


def ordinary_outcome() -> tuple[Any, Any]:
    """A robust network of the family `ordinary`, and what a MILP says of it."""
    index = next(k for k in range(0, 1000, len(FAMILIES)) if case(0, k).robust and min(case(0, k).most) > 0.01)
    return case(0, index), asking.ask(case(0, index), {"method": "milp"})


def test_what_is_wrong_with_an_outcome_is_found() -> None:
    made, outcome = ordinary_outcome()
    assert asking.faults(made, outcome) == []
    false = replace(made, most=(Fraction(-1),) * len(made.most))
    above = np.array([float(value) + 1e-9 for value in made.most])
    image = np.array(made.question.ball.image)
    for case_, changed, words in (
        (false, {}, "VERIFIED (solver), but the least margin is -1"),
        (made, {"certified": above}, "is above the least margin"),
        (made, {"lower": above, "safety": np.zeros_like(above)}, "with no safety is above"),
        (made, {"lower": above + 1, "safety": np.ones_like(above)}, "less its safety"),
        (made, {"verdict": Verdict.FALSIFIED, "witness": image}, "in exact arithmetic"),
        (made, {"verdict": Verdict.FALSIFIED, "witness": image + 9}, "outside the ball"),
        (made, {"verdict": Verdict.FALSIFIED}, "without a witness"),
        (made, {"verdict": Verdict.UNKNOWN, "certified": np.ones_like(above)}, "UNKNOWN beside certified"),
        (made, {"verdict": Verdict.UNKNOWN}, "without a reason"),
        (made, {"upper": np.full_like(above, np.nan)}, "upper is NaN"),
        (made, {"status": ("fine",)}, "ended with fine"),
        (made, {"total_s": 1e3}, "took 1000 s"),
    ):
        tier = {"tier": Tier.SOLVER}
        assert any(words in fault for fault in asking.faults(case_, replace(outcome, **{**tier, **changed}))), words


def dies_at_the_second_way(task: hunt.Task) -> list[hunt.Answer]:
    _, index, only = task
    if index == 1 and only in (None, 1):
        os._exit(86)
    return [hunt.Answer(index, "", True, {"method": "lp", "solver": "highs"}, "verified", None, ())]


def test_a_process_that_dies_is_the_fault_of_one_way() -> None:
    found = [answer for answers in hunt.hunt(0, [0, 1, 2], 1, dies_at_the_second_way) for answer in answers]
    dead = [answer for answer in found if answer.faults]
    assert [answer.faults for answer in dead] == [("the process died with exit code 86",)]
    assert dead[0].way == hunt.ways_of(0, 1)[1]
    assert len(found) == 2 + len(hunt.ways_of(0, 1))


def test_what_is_found_can_be_asked_again(tmp_path: Path) -> None:
    index = list(FAMILIES).index("pixels")
    answer = replace(hunt.asked((0, index, 1))[0], faults=("wrong",))
    path = hunt.save(tmp_path, 0, answer)
    assert '"wrong"' in path.read_text()
    assert hunt.again(path) == replace(answer, faults=())
