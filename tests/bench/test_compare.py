"""`bench.compare`: which rows belong together, and what each lane makes of what changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.compare import Comparison, Finding, Lane, Level, compare_rows, compare_runs
from bench.compare.comparison import FINE, NOTHING, SLOWER, WRONG
from bench.compare.lanes import RunFiles
from bench.compare.pairs import Machine, clock_of, inequality
from bench.row import Row
from tests.bench.made_rows import attack_row, failed, verify_row, write_run

ONE = Machine(frozenset({"EPYC"}))
OTHER = Machine(frozenset({"Xeon"}))
VERSIONS = {"numpy": "2.4", "scipy": "1.17", "torch": "2.14"}
SIZES = {"rows": 69, "columns": 853, "nonzeros": 24_902, "binaries": 0, "unstable": 11, "active": 36, "inactive": 23}
WORK = {"simplex_iterations": 95, "nodes": 0}
DECIDED: dict[str, Any] = {"verdict": "verified", "safety": [2e-6] * 2}


def row(**values: Any) -> Row:
    """A row that names its cell by what was asked, so that two answers to it belong together."""
    made = verify_row(**{"versions": VERSIONS, "counters": SIZES | WORK | {"solves": 2}} | values)
    asked = (made.image, made.epsilon, made.method, made.solver, made.goal, made.bounds, made.threads, made.seed)
    return replace(made, cell=str(asked))


def compared(base: list[Row], head: list[Row], one: Machine = ONE, other: Machine = ONE, **options: Any) -> Comparison:
    return compare_rows(base, head, inequality(one, other), **options)


def lane(comparison: Comparison, name: str) -> Lane:
    return next(lane for lane in comparison.lanes if lane.name == name)


def failures(comparison: Comparison, name: str = "answers") -> list[Finding]:
    return list(lane(comparison, name).at(Level.FAILURE))


def reasons(comparison: Comparison, name: str = "answers") -> dict[str, str]:
    return {item.what: item.reason for item in lane(comparison, name).excluded}


def with_counters(made: Row, **counters: float) -> Row:
    return replace(made, counters=made.counters | counters)


def test_a_run_against_itself_is_fine_and_has_compared_everything() -> None:
    rows = [row(), row(method="interval"), row(method="milp", goal="verdict"), attack_row()]
    comparison = compared(rows, rows)
    assert comparison.exit_code == FINE
    assert not any(lane.findings or lane.excluded for lane in comparison.lanes[:2])
    assert [lane.cells for lane in comparison.lanes] == [4, 2, 4]


def test_cells_of_another_digest_are_joined_by_what_was_asked() -> None:
    comparison = compared([row()], [replace(row(), cell="a later recipe")])
    assert (comparison.exit_code, lane(comparison, "answers").cells) == (FINE, 1)


def test_cells_that_what_was_asked_does_not_tell_apart_are_not_joined() -> None:
    base = [replace(row(), cell=name) for name in "ab"]
    comparison = compared(base, [replace(row(), cell="c")])
    assert comparison.exit_code == NOTHING
    assert comparison.notes == ("the runs have no cell in common",)


@pytest.mark.parametrize(
    ("base", "head", "what"),
    [
        (row(**DECIDED), row(verdict="unknown"), "verdict"),
        (row(verdict="unknown"), row(**DECIDED), "verdict"),
        (row(), row(lower=[1.0, -1.1]), "lower bound"),
        (row(), row(lower=[1.0, -0.9]), "lower bound"),
        (row(), row(lower=[None, -1.0]), "lower bound"),
        (row(), row(upper=[4.0, 2.1]), "upper bound"),
        (row(), row(status=["optimal", "unknown"]), "status"),
        (row(tier="certified", **DECIDED), row(tier="solver", **DECIDED), "tier"),
        (attack_row(falsified=75, unknown=25), attack_row(falsified=74, unknown=26), "falsified"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_changed_answer_blocks(base: Row, head: Row, what: str) -> None:
    comparison = compared([base], [replace(head, cell=base.cell)])
    assert comparison.exit_code == WRONG
    assert what in {finding.what for finding in failures(comparison)}


@pytest.mark.parametrize("name", [*SIZES, "solves"])
def test_a_changed_size_or_number_of_calls_blocks_either_way(name: str) -> None:
    for change in (-1, 1):
        head = with_counters(row(), **{name: row().counters[name] + change})
        comparison = compared([row()], [head], OTHER)  # on any machine
        assert [finding.what for finding in failures(comparison)] == [name]


def test_bounds_within_the_solvers_tolerance_agree() -> None:
    head = row(lower=[1.0 + 4e-6, -1.0 - 4e-6])
    assert compared([row()], [head]).exit_code == FINE
    assert compared([row()], [row(lower=[1.0 + 4e-5, -1.0])]).exit_code == WRONG
    assert compared([row(safety=[4e-5] * 2)], [row(lower=[1.0 + 4e-5, -1.0])]).exit_code == FINE


def test_a_milp_is_off_by_its_gap_where_another_version_searched() -> None:
    base = row(method="milp", mip_gap=1e-4, lower=[1.0, 0.5], upper=[1.0, 0.5], **DECIDED)
    head = replace(base, lower=[1.0, 0.49995])
    assert compared([base], [head]).exit_code == WRONG
    assert compared([base], [replace(head, solver_version="2")]).exit_code == FINE


def test_looser_and_tighter_bounds_are_told_apart() -> None:
    (looser,) = failures(compared([row()], [row(lower=[0.5, -2.0])]))
    assert looser.message == "looser at target 1 and 1 more"
    (tighter,) = failures(compared([row()], [row(upper=[4.0, 1.0])]))
    assert tighter.message == "tighter at target 2"
    (lost,) = failures(compared([row()], [row(upper=[None, 2.0])]))
    assert (lost.head, lost.message) == ("-", "looser at target 1")


def test_verified_against_falsified_blocks_even_where_a_clock_stopped_a_run() -> None:
    base = row(time_limit_s=1.0, status=["optimal", "time_limit"], **DECIDED)
    head = row(time_limit_s=1.0, status=["time_limit"] * 2, verdict="falsified")
    comparison = compared([base], [head])
    assert comparison.exit_code == WRONG
    assert any(finding.what == "verdict" for finding in failures(comparison))


def test_what_a_clock_stopped_is_listed_and_not_compared() -> None:
    base, head = row(), row(status=["optimal", "time_limit"], lower=[1.0, -3.0])
    comparison = compared([base, row(image=1)], [head, row(image=1)])
    assert comparison.exit_code == FINE
    assert reasons(comparison) == {"answers": "stopped by the time limit"}
    assert reasons(comparison, "work") == {"work": "stopped by the time limit"}


def test_a_cell_that_no_longer_ends_in_its_time_warns() -> None:
    ended, stopped = row(**DECIDED), row(status=["optimal", "time_limit"])
    comparison = compared([ended, row(image=1)], [stopped, row(image=1)])
    (warning,) = lane(comparison, "answers").at(Level.WARNING)
    assert (comparison.exit_code, warning.message) == (FINE, "stopped by the time limit, which BASE was not")
    assert not compared([stopped], [ended]).lanes[0].findings


def test_what_rows_of_one_schema_alone_have_is_listed() -> None:
    older = replace(row(), counters=dict(WORK), certified=[])
    comparison = compared([older], [row(certified=[0.9, -1.5])])
    assert comparison.exit_code == FINE
    assert reasons(comparison) == dict.fromkeys([*SIZES, "solves", "certified bound"], "only HEAD has it")


def test_a_certificate_that_is_lost_blocks() -> None:
    comparison = compared([row(certified=[0.9, -1.5])], [row(certified=[None, -1.5])])
    (lost,) = failures(comparison)
    assert (comparison.exit_code, lost.what, lost.head) == (WRONG, "certified bound", "-")


def test_where_clocks_stopped_everything_nothing_was_compared() -> None:
    stopped = row(status=["time_limit"] * 2)
    assert compared([stopped], [stopped]).exit_code == NOTHING


@pytest.mark.parametrize(
    ("values", "clock"),
    [
        ({}, ""),
        ({"status": ["optimal", "time_limit"]}, "time limit"),
        ({"reason": "memory limit", "targets": [], "lower": [], "upper": [], "status": []}, "memory limit"),
        ({"reason": "time limit"}, "time limit"),
        ({"bounds": "milp", "time_limit_s": 4.0, "bounds_s": 2.1}, "time limit of the tightening"),
        ({"bounds": "milp", "time_limit_s": 4.0, "bounds_s": 1.0}, ""),
        ({"bounds": "milp", "bounds_s": 100.0}, ""),
        (
            {"method": "staged", "bounds": "lp", "time_limit_s": 4.0, "stage_s": {"lp": 1.0, "tighten": 1.6}},
            "time limit of the tightening",
        ),
    ],
)
def test_which_clock_stopped_a_row(values: dict[str, Any], clock: str) -> None:
    assert clock_of(row(**values)) == clock


def test_a_cell_that_fails_in_head_blocks() -> None:
    comparison = compared([row()], [failed(row(), "ValueError: no")])
    assert comparison.exit_code == WRONG
    assert failures(comparison)[0].message == "ValueError: no"


def test_a_cell_that_failed_in_base_blocks_nothing() -> None:
    comparison = compared([failed(row(), "ValueError: no"), row(image=1)], [row(), row(image=1)])
    assert comparison.exit_code == FINE
    assert reasons(comparison) == {"answers": "failed in BASE"}
    assert lane(comparison, "answers").at(Level.NOTICE)[0].message == "fails no more"


def test_a_lost_cell_blocks_and_a_new_one_is_told() -> None:
    lost = compared([row(), row(image=1)], [row()])
    assert (lost.exit_code, failures(lost)[0].message) == (WRONG, "no longer measured")
    assert lost.verdict == "what BASE measured is no longer measured (1 in answers)"
    broken = compared([row(), row(image=1)], [failed(row(), "Oops")])
    assert broken.verdict == "what BASE measured is no longer measured, and a cell failed (2 in answers)"
    changed = compared([row(), row(image=1)], [row(lower=[1.0, -0.9])])
    assert changed.verdict == "a wrong or changed answer (2 in answers)"
    new = compared([row()], [row(), row(image=1)])
    assert (new.exit_code, len(lane(new, "answers").at(Level.NOTICE))) == (FINE, 1)


def test_runs_without_a_cell_in_common_cannot_be_compared() -> None:
    comparison = compared([row()], [row(network_digest="d2", epsilon=0.2)])
    assert comparison.exit_code == NOTHING
    assert comparison.notes == ("the runs have no cell in common", "network mnist_small has other weights in HEAD")


def judged(tmp_path: Path, base: list[Row], head: list[Row]) -> Comparison:
    return compare_runs(*(RunFiles.read(write_run(tmp_path / name, rows)) for name, rows in (("b", base), ("h", head))))


def test_what_contradicts_itself_blocks_in_either_run(tmp_path: Path) -> None:
    wrong = row(image=1, lower=[1.0, 3.0])  # above an input that was found
    comparison = judged(tmp_path, [row(), wrong], [row(), wrong])
    assert comparison.exit_code == WRONG
    (told,) = failures(comparison)  # once, of both runs
    assert told.message == "wrong: a lower bound above the margin of an input (1 more like it)"


def test_what_head_found_may_refute_base(tmp_path: Path) -> None:
    base = row(method="linear", lower=[1.0, 0.5], upper=[4.0, 3.0], verdict="verified", safety=[0.0] * 2)
    head = row(epsilon=0.05, method="milp", lower=[-1.0, -1.0], upper=[4.0, -0.5], verdict="falsified", gap=[0.0] * 2)
    comparison = judged(tmp_path, [base, row()], [row(), head])
    assert comparison.exit_code == WRONG
    assert {"bracket", "verdict"} & {finding.what for finding in failures(comparison)}


def test_a_change_is_not_called_wrong_for_the_old_value_alone(tmp_path: Path) -> None:
    comparison = judged(tmp_path, [row()], [row(lower=[1.0, -2.0])])
    assert [finding.what for finding in failures(comparison)] == ["lower bound"]


def test_more_work_blocks_and_less_is_told() -> None:
    more = compared([row()], [with_counters(row(), simplex_iterations=96)])
    assert (more.exit_code, failures(more, "work")[0].message) == (SLOWER, "more work")
    less = compared([row()], [with_counters(row(), simplex_iterations=94)])
    assert less.exit_code == FINE
    assert "refresh the baseline" in lane(less, "work").at(Level.NOTICE)[0].message


def test_a_wrong_answer_outweighs_more_work() -> None:
    head = with_counters(row(lower=[1.0, -3.0]), simplex_iterations=96)
    assert compared([row()], [head]).exit_code == WRONG


def seeded(version: str, iterations: float, count: int = 3) -> list[Row]:
    rows = [row(method="milp", seed=seed, solver_version=version) for seed in range(count)]
    return [with_counters(made, simplex_iterations=iterations) for made in rows]


def test_another_solver_version_warns_of_a_changed_count_and_fails_past_the_threshold() -> None:
    warned = compared(seeded("1", 1000), seeded("2", 1040))
    assert warned.exit_code == FINE
    assert "3 of 3 counts changed" in lane(warned, "work").at(Level.WARNING)[0].message
    worse = compared(seeded("1", 1000), seeded("2", 1060))
    assert worse.exit_code == SLOWER
    assert compared(seeded("1", 1000), seeded("2", 1060), work_threshold=1.1).exit_code == FINE


def test_one_bad_seed_among_many_instances_only_warns() -> None:
    def both(version: str) -> list[Row]:
        rows = [
            row(method="milp", image=image, seed=seed, solver_version=version)
            for image in range(8)
            for seed in (0, 1, 2)
        ]
        return [with_counters(made, simplex_iterations=1000) for made in rows]

    head = both("2")
    head[0] = with_counters(head[0], simplex_iterations=2000)
    comparison = compared(both("1"), head)
    assert (comparison.exit_code, len(lane(comparison, "work").at(Level.WARNING))) == (FINE, 1)


def test_another_version_with_fewer_than_three_seeds_is_listed() -> None:
    comparison = compared(seeded("1", 1000, 2), seeded("2", 9000, 2))
    assert comparison.exit_code == FINE
    assert reasons(comparison, "work")["simplex_iterations"] == "highs 1 and 2, and fewer than 3 seeds"


@pytest.mark.parametrize(
    ("change", "machine", "why"),
    [
        ({"versions": VERSIONS | {"numpy": "2.5"}}, ONE, "numpy 2.4 and 2.5"),
        ({}, OTHER, "CPUs EPYC and Xeon"),
        ({}, Machine(frozenset()), "no manifest says on which CPU the run was made"),
    ],
)
def test_other_kernels_and_processors_repeat_no_counts(change: dict[str, Any], machine: Machine, why: str) -> None:
    head = [replace(made, **change) for made in seeded("1", 1040)]
    comparison = compared(seeded("1", 1000), head, ONE, machine)
    assert comparison.exit_code == FINE
    assert why in lane(comparison, "work").at(Level.WARNING)[0].message
    assert comparison.notes == (f"not held to exact counts: {why}",)


def test_several_threads_race_and_no_work_of_theirs_is_compared() -> None:
    base = [row(threads=2)]
    comparison = compared(base, [with_counters(base[0], simplex_iterations=500)])
    assert comparison.exit_code == FINE
    assert reasons(comparison, "work") == {"work": "2 threads, which race"}


def test_a_counter_that_one_run_lacks_is_listed() -> None:
    base = with_counters(row(), work=0.5)
    assert reasons(compared([base], [row()]), "work") == {"work": "only BASE has it"}


def test_another_version_may_take_another_path_to_a_verdict() -> None:
    base = row(method="milp", goal="verdict", **DECIDED)
    head = replace(with_counters(base, rows=80), solver_version="2", lower=[0.1, 0.2], status=["target_reached"] * 2)
    comparison = compared([base], [head])
    assert comparison.exit_code == FINE
    assert {"model sizes", "lower bounds", "statuses"} <= set(reasons(comparison))
    assert compared([base], [replace(head, verdict="unknown")]).exit_code == WRONG  # the verdict itself stays


def test_a_search_that_ran_out_of_nodes_repeats_only_on_the_same_machine() -> None:
    base = row(method="milp", status=["other_limit"] * 2, verdict="unknown")
    head = row(method="milp", status=["other_limit"] * 2, verdict="falsified", upper=[4.0, -0.5])
    assert compared([base], [head]).exit_code == WRONG
    comparison = compared([base], [head], ONE, OTHER)
    assert (comparison.exit_code, reasons(comparison)["verdict"]) == (NOTHING, "CPUs EPYC and Xeon")


def test_times_are_shown_and_never_gate() -> None:
    base = [row(image=image, total_s=1.0) for image in range(5)]
    head = [row(image=image, total_s=10.0) for image in range(5)]
    comparison = compared(base, head)
    assert comparison.exit_code == FINE
    (ratio,) = lane(comparison, "time").ratios
    assert (ratio.setup, ratio.count, ratio.more) == ("lp highs", 5, 5)
    assert ratio.low == pytest.approx(10.0) == ratio.estimate == ratio.high


def test_the_processor_of_a_run_is_its_name_and_its_vector_instructions() -> None:
    def machine(*starts: dict[str, Any]) -> Machine:
        return Machine.of({"starts": list(starts)})

    avx2, avx512 = ({"cpu": "EPYC", "simd": ["AVX2", *more]} for more in ([], ["AVX512F"]))
    assert machine(avx2).unlike(machine(avx2, avx2)) == ""
    assert "AVX512F" in machine(avx2).unlike(machine(avx512))
    assert machine(avx2, avx512).unlike(machine(avx2, avx512))  # which row is of which is not known
    assert machine().unlike(machine(avx2)) == "no manifest says on which CPU the run was made"
