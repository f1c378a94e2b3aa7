"""The chapter's published values beside a run's rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bench.report.chapter import ERROR_RATES, MARGINS, TARGETS, Margins, chapter_sections
from bench.report.frame import load_run
from bench.report.render import Table
from bench.row import Row
from tests.bench.made_rows import attack_row, failed, verify_row, write_run

MILP_005 = MARGINS[0]
PGD = "PGD l-infinity, epsilon 0.1, 40 steps of 0.01, no clip"


def tables_of(folder: Path, rows: Iterable[Row]) -> dict[str, Table]:
    return {t.title: t for section in chapter_sections(load_run(write_run(folder, rows))) for t in section.tables}


def margin_row(margins: Margins = MILP_005, **values: Any) -> Row:
    """A row that has exactly the published margins."""
    published = list(margins.values)
    shared = {"network": margins.network, "method": margins.method, "epsilon": margins.epsilon}
    bounds = {"targets": list(margins.targets), "lower": published, "upper": published}
    return verify_row(**{**shared, **bounds, "status": ["optimal"] * len(published), **values})


def only(tables: dict[str, Table]) -> Table:
    assert len(tables) == 1
    return next(iter(tables.values()))


def test_a_run_without_the_chapters_questions_has_no_chapter(tmp_path: Path) -> None:
    assert chapter_sections(load_run(write_run(tmp_path, [verify_row(image=5), attack_row(epsilon=0.3)]))) == []


def test_all_published_error_rates_are_found_in_rows_that_ask_them(tmp_path: Path) -> None:
    rows = [
        attack_row(
            network=rate.network,
            method=rate.method,
            epsilon=rate.epsilon,
            clip=(0.0, 1.0) if rate.clip == "[0, 1]" else None,
            steps=rate.steps,
            step=rate.step,
            restarts=rate.restarts if rate.steps else None,
            error_rate=rate.error,
        )
        for rate in ERROR_RATES
    ]
    tables = tables_of(tmp_path, rows)
    found = [cell for table in tables.values() for cell in table.frame["ours"]]
    assert sorted(found) == sorted(f"{rate.error:.2%}".replace("%", " %") for rate in ERROR_RATES)
    assert all("remark" not in table.frame for table in tables.values())
    assert all("equal: no" not in note for table in tables.values() for note in table.notes)


@pytest.mark.parametrize(
    "other",
    [{"clip": (0.0, 1.0)}, {"steps": 20}, {"step": 0.02}, {"restarts": 2}, {"target": 2}, {"method": "pgd"}],
)
def test_an_attack_with_other_settings_is_not_the_published_one(tmp_path: Path, other: dict[str, Any]) -> None:
    rows = [attack_row(network="mnist_dnn_2"), attack_row(**other)]
    frame = tables_of(tmp_path, rows)[PGD].frame.set_index("network")
    assert frame.loc["mnist_cnn", "ours"] == "-"
    assert str(frame.loc["mnist_cnn", "remark"]).startswith("no row")
    assert frame.loc["mnist_dnn_2", "ours"] == "75.00 %"


def test_the_row_on_most_images_is_shown_with_their_number(tmp_path: Path) -> None:
    rows = [attack_row(images=100), attack_row(images=10_000, error_rate=0.8), attack_row(images=50)]
    line = tables_of(tmp_path, rows)[PGD].frame.set_index("network").loc["mnist_cnn"]
    assert (line["ours"], line["images"]) == ("80.00 %", 10_000)


def test_a_failed_attack_says_why(tmp_path: Path) -> None:
    rows = [attack_row(network="mnist_dnn_2"), failed(attack_row(error_rate=None), "RuntimeError: out of memory")]
    frame = tables_of(tmp_path, rows)[PGD].frame.set_index("network")
    assert frame.loc["mnist_cnn", "remark"] == "failed: RuntimeError: out of memory"


def test_order_and_size_of_error_rates_are_checked(tmp_path: Path) -> None:
    rates = {"mnist_dnn_2": 0.9, "mnist_dnn_4": 0.5, "mnist_cnn": 0.2}
    rows = [attack_row(network=network, error_rate=rate) for network, rate in rates.items()]
    assert tables_of(tmp_path, rows)[PGD].notes == (
        "Check: order of the networks' error rates equal: no.",
        "Check: within a factor of 2: 2 of 3.",
    )


def test_logit_bounds_stand_beside_the_published_ones(tmp_path: Path) -> None:
    counters = {"mnist_cnn": (-2500.0, 2600.0), "mnist_dnn_2": (-10.0, 10.0), "mnist_dnn_4": (-200.0, 250.0)}
    rows = [
        verify_row(network=network, method="interval", counters={"logit_lower": lower, "logit_upper": upper})
        for network, (lower, upper) in counters.items()
    ]
    table = only(tables_of(tmp_path, rows))
    assert table.frame["ours"].tolist() == ["[-2500, 2600]", "[-10.00, 10.00]", "[-200.0, 250.0]"]
    assert table.frame["chapter"].tolist()[0] == "about [-3000, 2900]"
    assert table.notes[0].endswith("widths equal: yes.")
    assert table.notes[1].endswith("2 of 3.")


@pytest.mark.parametrize("margins", MARGINS)
def test_published_margins_agree_with_themselves(tmp_path: Path, margins: Margins) -> None:
    table = only(tables_of(tmp_path, [margin_row(margins)]))
    assert table.frame["ours"].tolist() == [f"{value:.2f}" for value in margins.values]
    assert set(table.frame["sign"]) == {"same"}
    assert table.notes[0] == f"Check: signs agree for {len(margins.values)} of {len(margins.values)}."


def test_signs_are_counted_where_they_differ(tmp_path: Path) -> None:
    lower = [-value if index < 2 else value for index, value in enumerate(MILP_005.values)]
    table = only(tables_of(tmp_path, [margin_row(lower=lower, upper=lower)]))
    assert table.frame["sign"].tolist()[:3] == ["differs", "differs", "same"]
    assert table.notes[:2] == (
        "Check: signs agree for 7 of 9.",
        "Check: all nine positive: chapter yes, ours no.",
    )


def test_a_time_limit_shows_the_bracket(tmp_path: Path) -> None:
    row = margin_row(
        lower=[-1.0, 2.0, -5.0, *[1.0] * 6],
        upper=[3.0, 4.0, -2.0, *[1.0] * 6],
        status=["time_limit"] * 3 + ["optimal"] * 6,
    )
    table = only(tables_of(tmp_path, [row]))
    assert table.frame["ours"].tolist()[:4] == ["[-1.000, 3.000]", "[2.000, 4.000]", "[-5.000, -2.000]", "1.00"]
    assert table.frame["sign"].tolist()[:4] == ["open", "same", "differs", "same"]
    assert table.frame["remark"].tolist()[:4] == ["time limit"] * 3 + [""]
    assert table.notes[0] == "Check: signs agree for 7 of 9, 1 open."


def test_all_positive_stays_open_until_every_sign_is_known(tmp_path: Path) -> None:
    row = margin_row(lower=[-1.0, *[1.0] * 8], upper=[1.0] * 9, status=["time_limit"] * 9)
    assert "Check: all nine positive: chapter yes, ours open." in only(tables_of(tmp_path, [row])).notes


def test_the_best_answer_of_several_rows_is_shown_for_each_target(tmp_path: Path) -> None:
    rows = [
        margin_row(solver="highs", lower=[-9.0] * 9, status=["time_limit"] * 9),
        margin_row(solver="gurobi", targets=[0, 1], lower=[3.0, 4.0], upper=[3.0, 4.0], status=["optimal"] * 2),
        margin_row(solver="cbc", targets=[2], lower=[-1.0], upper=[1.0], status=["time_limit"]),
    ]
    ours = only(tables_of(tmp_path, rows)).frame["ours"].tolist()
    assert ours[:4] == ["3.00", "4.00", "[-1.000, 1.000]", "[-9.000, 0.02000]"]


def test_missing_targets_say_why(tmp_path: Path) -> None:
    licence: dict[str, Any] = {
        "lower": [None] * 9,
        "upper": [None] * 9,
        "status": ["licence"] * 9,
        "evidence": "too large",
    }
    rows = [margin_row(targets=[0], target=0, lower=[1.0], upper=[1.0], status=["optimal"], verdict="verified")]
    rows.append(margin_row(solver="gurobi", **licence))
    table = only(tables_of(tmp_path, rows))
    assert table.frame["ours"].tolist() == ["1.00", *["-"] * 8]
    assert table.frame["remark"].tolist() == ["", *["licence"] * 8]


@pytest.mark.parametrize("other", [{"clip": None}, {"image": 1}, {"network": "mnist_dnn_2"}, {"goal": "verdict"}])
def test_margins_of_other_questions_are_not_shown(tmp_path: Path, other: dict[str, Any]) -> None:
    assert tables_of(tmp_path, [margin_row(**other)]) == {}


def test_blocks_without_rows_are_named(tmp_path: Path) -> None:
    lines = chapter_sections(load_run(write_run(tmp_path, [margin_row()])))[0].lines
    assert "Clean test error" in lines[1]
    assert "MILP, mnist_small, epsilon 0.05" not in lines[1]


def test_the_image_is_a_seven() -> None:
    assert set(range(10)) - set(TARGETS) == {7}
