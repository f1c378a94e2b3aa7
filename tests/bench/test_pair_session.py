"""A pairing's rounds and what it makes of the sides' answers, by sides that answer what is written down."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.compare.comparison import Level
from bench.limits import Limits
from bench.machine import usable_cores
from bench.pairing import session
from bench.pairing.comparison import compared
from bench.pairing.ratios import LEAST_CELLS, Decision
from bench.pairing.result import Pairing, Rules
from bench.pairing.session import Session
from bench.pairing.side import Side
from bench.plan import Plan
from networks.errors import InputError, PairingError
from tests.bench.made_side import DESCRIBED, OUTCOME, TIMING, WARMED, made_side, requests_of, slower
from tests.bench.suites import plan_of

CELLS = 6
QUICK = Rules(max_rounds=3)
DIES = "sys.stderr.write('no licence\\n'); os._exit(7)"


@pytest.fixture(autouse=True)
def any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made sides measure nothing: no processor needs to be looked for."""
    monkeypatch.setattr(session, "quietest_cores", lambda count: usable_cores()[:count])


@pytest.fixture
def plan(tmp_path: Path, tiny_network: Path) -> Plan:
    return plan_of(tmp_path, tiny_network, images=CELLS, methods=["interval"])


def paired(folder: Path, plan: Plan, rules: Rules = QUICK, base: dict[str, Any] | None = None, **head: Any) -> Pairing:
    """The pairing of two made sides; `base` and `head` replace their usual answers."""
    pythons = [str(made_side(folder, name, **answers)) for name, answers in (("base", base or {}), ("head", head))]
    with Side("base", pythons[0], 1) as one, Side("head", pythons[1], 1) as other:
        return Session(plan, one, other, rules, Limits()).run()


def for_image(image: int, answer: dict[str, Any], otherwise: dict[str, Any] = WARMED) -> str:
    """Code of a side that answers one image so and all others otherwise."""
    return f"answer = {answer!r} if request['image'] == {image} else {otherwise!r}"


def answering(**outcome: Any) -> dict[str, Any]:
    return WARMED | {"outcome": OUTCOME | outcome}


def failures(pairing: Pairing) -> list[str]:
    return [str(finding) for lane in compared(pairing).lanes for finding in lane.at(Level.FAILURE)]


def test_a_round_measures_each_cell_in_turns_and_every_other_one_mirrored(tmp_path: Path, plan: Plan) -> None:
    pairing = paired(tmp_path, plan)
    assert pairing.rounds == 3
    asked = [(name, found) for name, found in requests_of(tmp_path) if found["do"] == "measure"]
    sides = "".join("AB"[name == "head"] for name, _ in asked)
    orders = [sides[place : place + 4] for place in range(0, len(sides), 4)]
    assert orders == ["ABBA", "BAAB"] * 3 + ["BAAB", "ABBA"] * 3 + ["ABBA", "BAAB"] * 3
    assert {found["calls"] for _, found in asked} == {2}
    assert all(len(timed.pairs) == 6 for timed in pairing.timed)
    assert compared(pairing).exit_code == 0


def test_both_sides_repeat_a_short_call_as_often_as_the_faster_one_needs(tmp_path: Path, plan: Plan) -> None:
    paired(tmp_path, plan, warm=WARMED | {"seconds": 1e-3})
    assert {found["calls"] for _, found in requests_of(tmp_path) if found["do"] == "measure"} == {20}


def test_what_is_clear_after_the_first_rounds_needs_no_more(tmp_path: Path, plan: Plan) -> None:
    pairing = paired(tmp_path, plan, Rules(), measure=slower(1.3))
    assert (pairing.rounds, pairing.decision) == (3, Decision.SLOWER)
    assert compared(pairing).exit_code == 1
    assert failures(pairing) == ["6 cells: time 1x -> 1.300x: slower: 1.300 to 1.300 times as long, threshold 1.1"]


def test_what_is_not_clear_is_measured_on_and_passes_in_the_end(tmp_path: Path, plan: Plan) -> None:
    """Half of the cells are 1.4 times as slow: their mean is above the threshold, its interval not."""
    half = {planned.digest for planned in plan.cells[: CELLS // 2]}
    code = f"answer = {TIMING!r} if request['cell'] in {half!r} else {slower(1.4)!r}"
    pairing = paired(tmp_path, plan, Rules(max_rounds=5), measure=code)
    compare = compared(pairing)
    assert pairing.rounds == 5
    assert pairing.decision is Decision.UNDECIDED
    assert compare.exit_code == 0
    assert [finding.what for finding in compare.lanes[1].at(Level.WARNING)] == ["time"]


@pytest.mark.parametrize(("cpu_s", "doubted"), [(0.0101, True), (0.0131, False)])
def test_a_slowdown_that_processor_time_does_not_show_is_doubted_in_words(
    cpu_s: float, doubted: bool, tmp_path: Path, plan: Plan
) -> None:
    compare = compared(paired(tmp_path, plan, measure=slower(1.3) | {"cpu_s": cpu_s}))
    assert compare.exit_code == 1
    assert any("processor time" in note for note in compare.notes) is doubted


def test_faster_is_fine(tmp_path: Path, plan: Plan) -> None:
    assert compared(paired(tmp_path, plan, measure=slower(0.5))).exit_code == 0


def test_the_threshold_counts(tmp_path: Path, plan: Plan) -> None:
    assert compared(paired(tmp_path, plan, Rules(1.5, max_rounds=3), measure=slower(1.4))).exit_code == 0


def test_parts_are_told_apart(tmp_path: Path, plan: Plan) -> None:
    pairing = paired(tmp_path, plan, measure=TIMING | {"build_s": 0.012, "wall_s": 0.018})
    ratios = {ratio.what: ratio for ratio in compared(pairing).lanes[1].ratios if ratio.setup == "all"}
    assert ratios["seconds of build"].estimate == pytest.approx(3)
    assert ratios["seconds of solve"].estimate == pytest.approx(1)
    assert "seconds of bounds" not in ratios


@pytest.mark.parametrize(
    ("outcome", "what"),
    [
        ({"verdict": "falsified"}, "verdict"),
        ({"lower": [0.99]}, "lower bound"),
        ({"status": ["error"]}, "status"),
        ({"counters": {"rows": 4}}, "rows"),
    ],
)
def test_another_answer_is_wrong_however_fast_it_is(
    outcome: dict[str, Any], what: str, tmp_path: Path, plan: Plan
) -> None:
    pairing = paired(tmp_path, plan, warm=for_image(2, answering(**outcome)), measure=slower(1.3))
    compare = compared(pairing)
    assert compare.exit_code == 3
    assert [finding.what for finding in compare.lanes[0].at(Level.FAILURE)] == [what]


def test_other_weights_are_said_once(tmp_path: Path, plan: Plan) -> None:
    pairing = paired(tmp_path, plan, warm=WARMED | {"network_digest": "e"})
    told = [line for line in failures(pairing) if line.startswith("network")]
    assert len(told) == 1
    assert told[0].endswith(": weights d -> e: the two answer other questions")
    assert compared(pairing).exit_code == 3


def test_a_cell_on_which_head_fails_is_a_changed_answer(tmp_path: Path, plan: Plan) -> None:
    pairing = paired(tmp_path, plan, warm=for_image(2, {"failed": "TypeError: no such thing"}))
    assert [why for _, why in pairing.left_out] == ["head fails: TypeError: no such thing"]
    assert len(pairing.timed) == CELLS - 1
    assert compared(pairing).exit_code == 3


def test_a_cell_on_which_base_fails_is_left_out(tmp_path: Path, plan: Plan) -> None:
    refused = {"refused": "relubench 0.1 has no start='witness'"}
    pairing = paired(tmp_path, plan, base={"warm": for_image(2, refused)})
    assert [why for _, why in pairing.left_out] == ["base fails: relubench 0.1 has no start='witness'"]
    assert compared(pairing).exit_code == 0


def test_where_all_cells_fail_nothing_was_compared(tmp_path: Path, plan: Plan) -> None:
    failing = {"failed": "ImportError: no solver"}
    pairing = paired(tmp_path, plan, base={"warm": failing}, warm=failing)
    assert pairing.rounds == 0
    assert compared(pairing).exit_code == 4


def test_cells_that_a_clock_stopped_on_both_sides_are_not_timed(tmp_path: Path, plan: Plan) -> None:
    stopped = for_image(2, answering(verdict="unknown", reason="time limit", status=["time_limit"]))
    pairing = paired(tmp_path, plan, base={"warm": stopped}, warm=stopped)
    assert [why for _, why in pairing.left_out] == ["both were stopped by the time limit"]
    assert compared(pairing).exit_code == 0


def test_a_cell_that_only_head_does_not_end_in_time_is_timed(tmp_path: Path, plan: Plan) -> None:
    stopped = for_image(2, answering(verdict="unknown", reason="time limit", status=["time_limit"]))
    pairing = paired(tmp_path, plan, warm=stopped)
    assert len(pairing.timed) == CELLS


def test_too_few_cells_decide_nothing(tmp_path: Path, tiny_network: Path) -> None:
    few = plan_of(tmp_path, tiny_network, images=LEAST_CELLS - 1, methods=["interval"])
    pairing = paired(tmp_path, few, measure=slower(1.3))
    assert compared(pairing).exit_code == 4
    assert "too few were timed; expected at least 5" in failures(pairing)[0]


def test_repeats_of_a_suite_are_one_cell(tmp_path: Path, tiny_network: Path) -> None:
    plan = plan_of(tmp_path, tiny_network, top="repeats = 3", images=CELLS, methods=["interval"])
    assert len(plan.cells) == 3 * CELLS
    assert len(paired(tmp_path, plan).timed) == CELLS


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"describe": DIES}, "head (.*) ended with exit code 7; its last words: no licence"),
        ({"warm": DIES}, "head (.*) ended with exit code 7"),
        ({"measure": "os.kill(os.getpid(), 9)"}, "head (.*) ended with signal 9"),
        ({"describe": {"failed": "ModuleNotFoundError: bench"}}, "no relubench that can be imported: ModuleNotFoundE"),
        ({"describe": {"python": 3}}, "which is none of its answers: Object missing required field|Expected `str`"),
        ({"warm": "print('Academic licence', flush=True)"}, "answered b'Academic licence"),
        ({"warm": "print('[' * 100_000, flush=True)"}, "which is none of its answers"),
        ({"warm": "print('{\"number\": 1}', flush=True)"}, "expected the answer to request 2"),
        ({"measure": TIMING | {"wall_s": 0.0}}, "Expected `float` > 0.0"),
        ({"measure": TIMING | {"wall_s": None}}, "Expected `float`, got `null`"),
        ({"measure": {"failed": "MemoryError: "}}, "answered .* when it was warmed up, and fails now: MemoryError"),
        ({"warm": WARMED | {"outcome": {"verdict": "perhaps"}}}, "with what makes no row: verdict is"),
    ],
)
def test_a_side_that_does_not_answer_is_one_line(
    answers: dict[str, Any], said: str, tmp_path: Path, plan: Plan
) -> None:
    with pytest.raises(PairingError, match=said) as raised:
        paired(tmp_path, plan, **answers)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(sys.platform == "win32", reason="groups of processes are POSIX's")
def test_what_a_side_that_dies_has_started_ends_with_it(tmp_path: Path, plan: Plan) -> None:
    start = "subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL)"
    code = f"import subprocess; open({str(tmp_path / 'pid')!r}, 'w').write(str({start}.pid)); sys.exit(1)"
    with pytest.raises(PairingError, match="exit code 1"):
        paired(tmp_path, plan, warm=code)
    child = int((tmp_path / "pid").read_text())
    time.sleep(0.2)
    # Its new parent may take its time to notice that it has ended.
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_side_that_hangs_is_given_up(tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "START_S", 0.5)
    monkeypatch.setattr(session, "SLOWEST", 1)
    with pytest.raises(PairingError, match=r"head .* gave no answer within 0\.52 s"):
        paired(tmp_path, plan, measure="time.sleep(60)")


def test_an_installation_that_has_no_such_setting_is_told(tmp_path: Path, plan: Plan) -> None:
    pairing = paired(tmp_path, plan, base={"warm": WARMED | {"left_out": ["start"]}})
    assert list(pairing.notes) == ["base does not know the setting start: left out where it has its usual value"]


def test_other_packages_are_told(tmp_path: Path, plan: Plan) -> None:
    described = DESCRIBED | {"versions": {"relubench": "1.1", "torch": "2.7"}}
    notes = compared(paired(tmp_path, plan, describe=described)).notes
    assert "The two have other packages: torch - and 2.7." in notes
    assert not any("same source" in note for note in notes)


@pytest.mark.parametrize(
    "given", [{"threshold": 0.9}, {"threshold": float("nan")}, {"rounds": 2}, {"max_rounds": 2}, {"max_rounds": 10**6}]
)
def test_rules_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        Rules(**given)
