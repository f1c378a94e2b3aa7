"""Figures: what is drawn, what a point says, what stands in words beside it, and that each can be drawn at all."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.report.drawing import CONFIG
from bench.report.figures import figures_sections
from bench.report.figures.anytime import anytime_figure
from bench.report.figures.brackets import bracket_figure
from bench.report.figures.points import gathered, thinned
from bench.report.figures.theme import COLOURS, METHOD_COLOURS, lined, rounded
from bench.report.frame import Run, load_run
from bench.report.networks import networks_of
from bench.report.render import Figure
from bench.row import Row
from tests.bench.made_rows import attack_row, failed, made_run, verify_row, write_run

TIMES = {"interval": 0.001, "linear": 0.01, "lp": 0.1, "milp": 1.0, "staged": 0.05}
LOWER = {"interval": -9.0, "linear": -2.0, "lp": -1.0, "milp": 0.5, "staged": 0.1}
LIMIT: dict[str, Any] = {"status": ["time_limit"] * 2, "reason": "time limit", "total_s": 30.0}


def measured(method: str, solver: str, image: int, epsilon: float, **values: Any) -> Row:
    """A row with bounds as its method has them; the exact margin is 0.5, the images take longer one by one."""
    row: dict[str, Any] = {"lower": [LOWER[method], 2.0], "upper": [0.5, 3.0], "total_s": TIMES[method] * (1 + image)}
    row |= {"verdict": "verified"} if LOWER[method] > 0 else {}
    return verify_row(
        **row | {"method": method, "solver": solver, "image": image, "epsilon": epsilon, "time_limit_s": 30.0} | values
    )


def rows(images: int = 3) -> list[Row]:
    """Every method on some images at two epsilons, LP and MILP by two solvers; Gurobi is twice as fast."""
    return [
        measured(method, solver, image, epsilon, total_s=TIMES[method] * (1 + image) / (1 + (solver == "gurobi")))
        for method in TIMES
        for solver in (("highs", "gurobi") if method in ("lp", "milp") else ("highs",))
        for image in range(images)
        for epsilon in (0.01, 0.1)
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The rows above; HiGHS meets its limit in one more MILP, and one search left a trace."""
    folder = tmp_path_factory.mktemp("figures")
    trace = np.array([[1, 0.1, np.nan, -8.0], [1, 0.5, 1.0, -3.0], [1, 1.0, 0.5, 0.5], [2, 0.2, 3.0, 2.0]])
    buffer = io.BytesIO()
    np.savez(buffer, trace=trace)
    more = [
        measured("milp", "highs", 9, 0.1, **LIMIT),
        measured("milp", "gurobi", 9, 0.1, arrays="arrays/a.npz", solve_s=9.0),
    ]
    made = made_run(folder, *rows(), *more)
    (folder / "arrays").mkdir()
    (folder / "arrays" / "a.npz").write_bytes(buffer.getvalue())
    return made


def figures(run: Run) -> dict[str, Figure]:
    return {figure.name: figure for section in figures_sections(run) for figure in section.figures}


def brackets(run: Run) -> Figure:
    figure = bracket_figure(run, *networks_of(run))
    assert figure is not None
    return figure


@pytest.fixture(scope="module")
def drawn(run: Run) -> dict[str, Figure]:
    return figures(run)


NAMES = [
    "fractions-mnist-small",
    "bracket-mnist-small",
    "tightness-mnist-small",
    "anytime-mnist-small",
    "cactus-mnist-small-all-setups",
    *(f"{kind}-mnist-small-the-{model}" for model in ("lp", "milp") for kind in ("cactus", "profile", "scatter")),
]


def values_of(figure: Figure) -> pd.DataFrame:
    """All values in a chart that a name goes with, as they are drawn."""
    parts = [part for part in figure.chart.to_dict(validate=False)["datasets"].values() if len(part[0])]
    return pd.concat(map(pd.DataFrame, parts)).drop_duplicates()


def test_every_figure_of_a_comparison_is_there(drawn: dict[str, Figure]) -> None:
    assert list(drawn) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_is_drawn_as_svg(drawn: dict[str, Figure], name: str) -> None:
    import vl_convert

    spec = drawn[name].chart.to_dict() | {"width": 390}
    svg = vl_convert.vegalite_to_svg(spec)
    assert svg.startswith("<svg")
    assert "NaN" not in svg


@pytest.mark.parametrize("name", NAMES)
def test_each_is_as_wide_as_what_holds_it_and_has_no_background(drawn: dict[str, Figure], name: str) -> None:
    spec = drawn[name].chart.to_dict(validate=False)
    assert spec["width"] == "container"
    assert "background" not in spec


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("fractions")])
def test_every_point_names_its_instance_and_its_cell(drawn: dict[str, Figure], name: str, run: Run) -> None:
    points = values_of(drawn[name])
    points = points[points.get("cell", pd.Series(dtype=str)).notna()]
    assert len(points)
    assert (
        points["instance"]
        .str.fullmatch(r"mnist_small, image \d, epsilon 0\.01|mnist_small, image \d, epsilon 0\.1")
        .all()
    )
    starts = {cell[:12] for cell in run.rows["cell"]}
    assert set(points["cell"]) <= starts


@pytest.mark.parametrize("name", NAMES)
def test_each_says_its_numbers_in_words(drawn: dict[str, Figure], name: str) -> None:
    text = drawn[name].text
    assert len(re.findall(r"\d", text)) >= 4
    assert text.endswith(".")
    assert "nan" not in text


def test_brackets_are_of_the_hardest_target_and_nested(drawn: dict[str, Figure]) -> None:
    values = values_of(drawn["bracket-mnist-small"])
    assert set(values["target"]) == {1}
    one = values[values["label"] == "0.01, image 0"].drop_duplicates("method").set_index("method")["value"]
    assert one[["interval", "linear", "lp", "milp", "input"]].tolist() == [-9.0, -2.0, -1.0, 0.5, 0.5]
    assert "staged" not in one
    assert "epsilon 0.01: interval -9.000, linear -2.000, lp -1.000, milp 0.5000, input 0.5000; 3 of 3 exact" in (
        drawn["bracket-mnist-small"].text
    )


def test_brackets_of_many_instances_are_cut_and_say_so(tmp_path: Path) -> None:
    many = [
        measured(method, "highs", image, epsilon)
        for method in ("interval", "lp")
        for image in range(30)
        for epsilon in (0.01, 0.1)
    ]
    figure = brackets(made_run(tmp_path, *many))
    labels = values_of(figure)["label"].drop_duplicates()
    assert len(labels) == 40
    assert labels.str.startswith("0.01").sum() == 20
    assert figure.notes[-1].startswith("40 of 60 instances")


def test_a_contradicted_bound_is_in_no_bracket(tmp_path: Path) -> None:
    liar = measured("milp", "liar", 0, 0.1, lower=[7.0, 7.0])
    honest = [measured(method, "highs", 0, 0.1) for method in ("linear", "lp")]
    figure = brackets(made_run(tmp_path, *honest, liar))
    assert set(values_of(figure)["method"]) == {"linear", "lp", "input"}


def test_one_bar_alone_is_no_bracket(tmp_path: Path) -> None:
    run = made_run(tmp_path / "one", *(measured("interval", "highs", image, 0.1) for image in range(3)))
    assert bracket_figure(run, networks_of(run)[0]) is None
    both = [measured(method, "highs", 0, 0.1) for method in ("interval", "lp")]
    figure = brackets(made_run(tmp_path / "both", *both, measured("interval", "highs", 1, 0.1)))
    assert values_of(figure)["label"].unique().tolist() == ["0.1, image 0"]


def test_a_bound_that_was_to_show_a_sign_is_in_no_bracket(tmp_path: Path) -> None:
    threshold = measured("milp", "highs", 0, 0.1, goal="verdict", lower=[2e-5, 2e-5])
    figure = brackets(made_run(tmp_path, *(measured(name, "highs", 0, 0.1) for name in ("linear", "lp")), threshold))
    assert set(values_of(figure)["method"]) == {"linear", "lp", "input"}


def test_two_legends_stand_below_each_other_and_long_names_in_fewer_columns() -> None:
    assert CONFIG["legend"]["layout"]["top"]["direction"] == "vertical"
    columns = [
        lined("setup", [name * 8, "b"])["color"].to_dict()["legend"]["columns"] for name in ("a", "abcd", "abcdefgh")
    ]
    assert columns == [3, 2, 1]


def test_fractions_count_what_each_method_decides(drawn: dict[str, Figure]) -> None:
    assert "interval 0+0/3 at 0.01, 0+0/3 at 0.1" in drawn["fractions-mnist-small"].text
    assert "staged 3+0/3 at 0.01, 3+0/3 at 0.1" in drawn["fractions-mnist-small"].text
    values = values_of(drawn["fractions-mnist-small"])
    bars = values[values["outcome"].notna()]
    assert bars.groupby(["competitor", "radius"])["share"].sum().tolist() == pytest.approx([1.0] * 10)


def test_a_cactus_plot_has_a_step_for_each_instance_solved(drawn: dict[str, Figure]) -> None:
    values = values_of(drawn["cactus-mnist-small-the-milp"])
    gurobi = values[values["competitor"] == "gurobi"]
    assert gurobi["rank"].tolist() == [*range(1, 8)]
    assert gurobi["total_s"].is_monotonic_increasing
    assert "highs 6" in drawn["cactus-mnist-small-the-milp"].text


def test_a_profile_ends_at_the_share_that_is_solved(drawn: dict[str, Figure]) -> None:
    values = values_of(drawn["profile-mnist-small-the-milp"]).groupby("competitor")
    assert values["share"].max().to_dict() == pytest.approx({"gurobi": 1.0, "highs": 6 / 7}, rel=1e-4)
    assert values["factor"].max().to_dict() == pytest.approx({"gurobi": 1.0, "highs": 2.0})
    assert "gurobi 100, 100, 100 %" in drawn["profile-mnist-small-the-milp"].text
    assert "highs 0, 86, 86 %" in drawn["profile-mnist-small-the-milp"].text


def test_a_scatter_has_limit_lines_where_something_stands_at_one(drawn: dict[str, Figure]) -> None:
    milp, lp = (drawn[f"scatter-mnist-small-the-{model}"] for model in ("milp", "lp"))
    assert any("stands at its time limit: 30.0 s" in note for note in milp.notes)
    assert not any("time limit" in note for note in lp.notes)
    solved = values_of(milp).dropna(subset="solved").set_index("other_s")["solved"]
    assert solved[30.0] == "only gurobi"
    assert "highs takes 2.00x the time of gurobi" in milp.text


def test_tightness_joins_the_medians_of_the_methods(drawn: dict[str, Figure]) -> None:
    text = drawn["tightness-mnist-small"].text
    assert text.startswith("Median bound gap and median time over 6 instances")
    assert text.index("interval") < text.index("linear") < text.index("lp gurobi") < text.index("milp gurobi")
    assert "staged" not in text  # its goal is a sign


def test_a_search_over_time_comes_from_the_trace(drawn: dict[str, Figure]) -> None:
    figure = drawn["anytime-mnist-small"]
    assert figure.text == "milp gurobi ends after 1.00 s with incumbent 0.5000 and bound 0.5000."
    values = values_of(figure)
    assert values[values["kind"] == "incumbent"]["seconds"].tolist() == [0.5, 1.0]
    assert "image 9" in figure.notes[0]


@pytest.mark.parametrize(
    "arrays", [{}, {"trace": np.zeros(3)}, {"trace": np.full((2, 4), np.nan)}, {"trace": np.zeros((0, 4))}]
)
def test_arrays_without_a_trace_make_no_figure_and_no_failure(tmp_path: Path, arrays: dict[str, Any]) -> None:
    made = made_run(tmp_path, measured("milp", "highs", 0, 0.1, arrays="a.npz"), measured("lp", "highs", 0, 0.1))
    np.savez(tmp_path / "a.npz", **arrays)
    (network,) = networks_of(made)
    assert anytime_figure(made, network, 100) is None
    (tmp_path / "a.npz").unlink()
    assert anytime_figure(made, network, 100) is None


def test_what_has_nothing_to_draw_is_left_out(tmp_path: Path) -> None:
    assert figures_sections(made_run(tmp_path / "attacks", attack_row())) == []
    broken = made_run(tmp_path / "failed", failed(verify_row(), "OSError: disk"))
    assert list(figures(broken)) == ["fractions-mnist-small"]


def test_points_beyond_the_limit_are_drawn_together_with_their_number() -> None:
    random = np.random.default_rng(0)
    times = pd.DataFrame({"a": random.lognormal(size=5_000), "b": random.lognormal(size=5_000), "kind": "x"})
    found = gathered(times, ("a", "b"), ["kind"], 300)
    assert len(found) <= 300
    assert found["count"].sum() == 5_000
    assert gathered(times, ("a", "b"), ["kind"], 9_999)["count"].eq(1).all()


def test_a_curve_is_thinned_evenly_and_keeps_its_ends() -> None:
    lines = thinned(pd.DataFrame({"rank": range(1_000)}), 11)
    assert (lines["rank"].iloc[0], lines["rank"].iloc[-1], len(lines)) == (0, 999, 11)


def test_numbers_in_a_chart_are_short() -> None:
    assert rounded([123456.789, -0.000123456789, 0.0]).tolist() == [123460.0, -0.00012346, 0.0]
    assert np.isnan(rounded([np.nan])[0])
    assert rounded([np.inf])[0] == np.inf


def test_no_two_colours_of_a_figure_are_alike() -> None:
    for colours in (COLOURS, METHOD_COLOURS.values()):
        assert len(set(colours)) == len(list(colours)) == 8


def test_names_of_networks_make_names_of_files(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [measured("lp", "highs", 0, 0.1, network="../My Net/é.safetensors")])
    for name in figures(load_run(folder)):
        assert re.fullmatch(r"[a-z0-9-]+", name)
