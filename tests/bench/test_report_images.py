"""The pictures of the chapter's page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.report.files import Content, write_report
from bench.report.frame import load_run
from bench.report.images import RIGHT_COLOUR, WRONG_COLOUR, draw, image_section
from bench.report.render import Section
from bench.row import Row
from tests.bench.made_rows import attack_row, verify_row, write_run
from tests.bench.test_report import run_report

PNG = b"\x89PNG\r\n\x1a\n"


def images(count: int, fill: float = 0.5) -> NDArray[np.float32]:
    return np.full((count, 1, 28, 28), fill, dtype=np.float32)


def save_attack(folder: Path, name: str, kept: int = 18, **values: Any) -> Row:
    """A row whose arrays are there: 20 images of which every other one is misclassified."""
    (folder / "arrays").mkdir(parents=True, exist_ok=True)
    labels = np.arange(20) % 10
    arrays: dict[str, Any] = {"adversarial": images(kept), "predictions": labels + np.arange(20) % 2, "labels": labels}
    np.savez_compressed(folder / "arrays" / f"{name}.npz", **arrays)
    return attack_row(arrays=f"arrays/{name}.npz", **values)


def save_verify(folder: Path, name: str, **values: Any) -> Row:
    (folder / "arrays").mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "arrays" / f"{name}.npz", worst_input=images(1)[0], prediction=np.int64(3))
    return verify_row(arrays=f"arrays/{name}.npz", **values)


def pictures(run: Path, out: Path) -> list[str]:
    write_report(load_run(run), Content("x", (), (Section("Chapter"),)), out, ["markdown"])
    return sorted(path.name for path in out.rglob("*.png"))


def titles(count: int, predictions: list[int], labels: list[int]) -> list[tuple[str, str]]:
    """The text above each image and its colour."""
    figure = draw("a title", images(count), np.array(predictions), np.array(labels))
    shown = [axis.title for axis in figure.axes]
    return [(title.get_text(), str(title.get_color())) for title in shown if title.get_text()]


def test_right_and_wrong_differ_by_sign_and_colour() -> None:
    assert titles(2, [7, 3], [7, 2]) == [("✓ 7", RIGHT_COLOUR), ("✗ 3 (2)", WRONG_COLOUR)]


def test_a_grid_has_eighteen_places_and_one_image_stands_alone() -> None:
    assert [len(draw("t", images(n), np.zeros(n), np.zeros(n)).axes) for n in (18, 5, 1)] == [18, 18, 1]


@pytest.mark.parametrize(("count", "title"), [(18, "short"), (18, "PGD, " * 14), (1, "MILP, mnist_small, epsilon 0.1")])
def test_no_text_overlaps_another_or_leaves_the_picture(count: int, title: str) -> None:
    figure = draw(title, images(count), np.zeros(count), np.ones(count))
    figure.draw_without_rendering()
    texts = [axis.title for axis in figure.axes if axis.title.get_text()] + list(figure.texts)
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) == count + 1
    assert not any(box.overlaps(other) for index, box in enumerate(boxes) for other in boxes[:index])
    width, height = figure.get_size_inches() * figure.dpi
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes)


def test_every_picture_is_a_png_with_a_link(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    rows = [save_attack(run, "a"), save_attack(run, "b", target=2, epsilon=0.2), save_verify(run, "c", method="milp")]
    write_run(run, rows)
    pictures(run, out)
    text = (out / "chapter.md").read_text()
    names = ["milp_mnist_small.png", "pgd_linf_mnist_cnn.png", "pgd_linf_targeted_mnist_cnn.png"]
    for name in names:
        assert (out / "images" / name).read_bytes().startswith(PNG)
        assert f"](images/{name})" in text
    assert "![PGD, l-infinity, targeted, mnist_cnn, epsilon 0.2, target 2: 18 images, 9 misclassified, " in text


def test_the_epsilon_nearest_to_the_chapters_is_shown(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, [save_attack(run, str(epsilon), epsilon=epsilon) for epsilon in (0.01, 0.09, 0.3)])
    (section,) = image_section(load_run(run), chapter=True)
    assert section.figures[0].title == "PGD, l-infinity, mnist_cnn, epsilon 0.09"


def test_rows_that_kept_no_images_have_no_picture(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, [save_attack(run, "a", kept=0), verify_row(method="milp"), save_attack(run, "c", network="own")])
    assert pictures(run, tmp_path / "out") == []


def test_a_missing_array_file_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [attack_row(arrays="arrays/gone.npz")])
    (section,) = image_section(load_run(run), chapter=True)
    assert "cannot be shown" in section.lines[0]
    assert "arrays/gone.npz: not the arrays of a row" in section.lines[0]


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 torn"])
def test_a_broken_array_file_is_named(tmp_path: Path, content: bytes) -> None:
    run = write_run(tmp_path / "run", [attack_row(arrays="broken.npz")])
    (run / "broken.npz").write_bytes(content)
    assert pictures(run, tmp_path / "out") == []
    assert "broken.npz: not the arrays of a row" in (tmp_path / "out" / "chapter.md").read_text()


def test_the_command_writes_the_chapter_with_its_pictures(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = run_report(write_run(run, [save_attack(run, "a")]), "--chapter", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out" / "chapter.md").read_text()
    assert "(images/pgd_linf_mnist_cnn.png)" in text
    assert "75.00 %" in text
    assert (tmp_path / "out" / "images" / "pgd_linf_mnist_cnn.png").stat().st_size > 1000


def test_a_run_of_another_suite_has_no_chapter_unless_asked(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = run_report(write_run(run, [save_attack(run, "a")]), "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "chapter" not in done.stdout
    assert not (tmp_path / "out" / "chapter.md").exists()


def test_any_run_shows_its_attacks_and_the_inputs_that_falsify(tmp_path: Path) -> None:
    run = tmp_path / "run"
    rows = [
        *(save_attack(run, f"a{epsilon}", network="own", epsilon=epsilon) for epsilon in (0.1, 0.2)),
        *(save_verify(run, f"v{image}", image=image, verdict="falsified", epsilon=0.1) for image in (1, 2)),
        save_verify(run, "v1again", image=1, verdict="falsified", epsilon=0.3),
        save_verify(run, "open", image=5),
    ]
    (section,) = image_section(load_run(write_run(run, rows)), chapter=False)
    attack, falsified = section.figures
    assert attack.title == "pgd_linf, own, epsilon 0.2"
    assert "18 images, 9 misclassified, predicted 2 for 1, 4 for 3" in attack.text
    assert falsified.text.endswith(": 2 images, 2 misclassified, predicted 3 for 0, 3 for 0.")
    assert all(isinstance(figure.chart, bytes) and figure.chart.startswith(PNG) for figure in section.figures)


def test_a_run_whose_arrays_are_gone_is_reported_all_the_same(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [attack_row(network="own", arrays="arrays/gone.npz")])
    done = run_report(run, "--out", tmp_path / "out", "--write", "markdown")
    assert done.returncode == 0, done.stderr
    assert "pgd_linf, own, epsilon 0.1 cannot be shown" in (tmp_path / "out" / "report.md").read_text()
