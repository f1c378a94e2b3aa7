"""Adversarial images as PNG grids: the predicted class above each, right or wrong by sign and by colour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.arrays import arrays_of_row
from bench.report.frame import CONTRADICTED, Run
from bench.report.render import Figure, Section
from networks.data import IMAGE_SHAPE
from networks.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawn

GRID_ROWS, GRID_COLUMNS = 3, 6
# Okabe and Ito's bluish green and vermilion, which colour-blind readers can tell apart; the sign says it once more.
RIGHT_COLOUR, WRONG_COLOUR = "#009E73", "#D55E00"
RIGHT_SIGN, WRONG_SIGN = "\N{CHECK MARK}", "\N{BALLOT X}"
INCH, DPI = 1.1, 110  # of one image; of the file
MOST_ATTACKS = 6  # pictures of attacks

Shown = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of the chapter: which row it shows. `epsilon` is preferred, the nearest one is taken."""

    title: str
    network: str
    method: str
    epsilon: float
    targeted: bool = False


PICTURES = (
    Picture("FGSM", "mnist_dnn_2", "fgsm", 0.1),
    Picture("FGSM", "mnist_cnn", "fgsm", 0.1),
    Picture("PGD, l-infinity", "mnist_cnn", "pgd_linf", 0.1),
    Picture("PGD, l-infinity, targeted", "mnist_cnn", "pgd_linf", 0.2, targeted=True),
    Picture("PGD, l-infinity, target against all others", "mnist_cnn", "pgd_linf_versus_all", 0.2, targeted=True),
    Picture("PGD, l2", "mnist_cnn", "pgd_l2", 2),
    Picture("MILP", "mnist_small", "milp", 0.1),
    Picture("LP", "mnist_small", "lp", 0.1),
)


def image_section(run: Run, *, chapter: bool) -> list[Section]:
    """Grids of adversarial images; empty where the run kept none.

    Parameters
    ----------
    chapter : bool
        Whether to show what the chapter shows, instead of every network's attacks and witnesses.
    """
    figures: list[Figure] = []
    missing: list[str] = []
    for found in _of_chapter(run) if chapter else _of_run(run):
        try:
            shown = found.load(run)
        except InputError as error:
            missing.append(f"{found.title} cannot be shown: {error}.")
            continue
        if shown is not None:
            figures.append(_figure(found, shown))
    lines = (LEGEND, *missing) if figures else tuple(missing)
    return [Section("Perturbed images", lines=lines, figures=tuple(figures))] if lines else []


LEGEND = (
    f"Above each image the predicted class: {RIGHT_SIGN} where it is right; {WRONG_SIGN} where it is wrong, with the "
    "label in brackets."
)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A picture that can be made: the rows whose images it shows."""

    name: str
    title: str
    rows: pd.DataFrame

    def load(self, run: Run) -> Shown | None:
        """Images (m, 1, 28, 28), predictions (m,) and labels (m,) of all its rows; None where they kept none."""
        parts = [_load(run.folder_of(int(str(row.name))), row) for _, row in self.rows.iterrows()]
        shown = [np.concatenate(arrays) for arrays in zip(*filter(None, parts), strict=True)]
        return (shown[0], shown[1], shown[2]) if shown else None


def _of_chapter(run: Run) -> Iterator[_Found]:
    for picture in PICTURES:
        index = _choose(run.rows, picture)
        if index is not None:
            name = f"{picture.method}{'_targeted' if picture.targeted else ''}_{picture.network}"
            yield _Found(name, _title(picture, run.rows.iloc[index]), run.rows.loc[[index]])


def _of_run(run: Run) -> Iterator[_Found]:
    """Of every network its attacks at their largest epsilon, and the inputs that falsify its images."""
    kept = run.rows[run.rows["arrays"].notna() & run.rows["outcome"].ne(CONTRADICTED)]
    attacks = kept[kept["kind"].eq("attack") & kept["epsilon"].gt(0)].sort_values(
        "epsilon", ascending=False, kind="stable"
    )
    firsts = attacks.drop_duplicates(["network", "method"]).head(MOST_ATTACKS)
    for number, (index, row) in enumerate(firsts.iterrows(), start=1):
        title = f"{row['method']}, {row['network']}, epsilon {row['epsilon']:g}"
        yield _Found(f"attack-{number}", title, attacks.loc[[index]])
    falsified = kept[kept["outcome"].eq("falsified")].sort_values(["epsilon", "image"], kind="stable")
    for number, (network, rows) in enumerate(falsified.groupby("network", observed=True), start=1):
        once = rows.drop_duplicates(["image"]).head(GRID_ROWS * GRID_COLUMNS)
        yield _Found(f"falsified-{number}", f"Inputs that falsify {network}, each at its smallest epsilon", once)


def _figure(found: _Found, shown: Shown) -> Figure:
    buffer = BytesIO()
    draw(found.title, *shown).savefig(buffer, dpi=DPI, format="png")
    return Figure(found.name, found.title, _in_words(found.title, *shown), buffer.getvalue())


def _in_words(title: str, images: NDArray[Any], predictions: NDArray[Any], labels: NDArray[Any]) -> str:
    wrong = [f"{new} for {old}" for new, old in zip(predictions, labels, strict=True) if new != old]
    what = "1 image" if len(images) == 1 else f"{len(images)} images"
    taken = f", predicted {', '.join(wrong)}" if wrong else ""
    return f"{title}: {what}, {len(wrong)} misclassified{taken}."


def _choose(rows: pd.DataFrame, picture: Picture) -> int | None:
    """The place of the row with arrays whose epsilon is nearest to the preferred one, with the fewest restarts."""
    asked = rows[(rows["network"] == picture.network) & (rows["method"] == picture.method) & (rows["epsilon"] > 0)]
    asked = asked[asked["arrays"].notna() & (asked["target"].notna() == picture.targeted)]
    asked = asked[(asked["kind"] == "attack") | (asked["image"] == 0).fillna(False)]
    distance = (asked["epsilon"] - picture.epsilon).abs()
    ordered = asked.assign(distance=distance).sort_values(["distance", "restarts"], kind="stable")
    return None if ordered.empty else int(ordered.index[0])


def _title(picture: Picture, row: pd.Series[Any]) -> str:
    target = f", target {row['target']}" if picture.targeted else ""
    return f"{picture.title}, {picture.network}, epsilon {row['epsilon']:g}{target}"


def _load(folder: Path, row: pd.Series[Any]) -> Shown | None:
    """Images (m, 1, 28, 28), predictions (m,) and labels (m,) of a row; None where it kept no images."""
    name = str(row["arrays"])
    if row["kind"] == "verify":
        image, prediction = arrays_of_row(folder, name, ("worst_input", "prediction"))
        shown = image[None], prediction.reshape(-1), np.array([row["label"]])
    else:
        images, predictions, labels = arrays_of_row(folder, name, ("adversarial", "predictions", "labels"))
        count = min(len(images) if images.ndim else 0, GRID_ROWS * GRID_COLUMNS)
        shown = images[:count], predictions.reshape(-1)[:count], labels.reshape(-1)[:count]
    _check_shown(folder / name, *shown)
    return shown if len(shown[0]) else None


def _check_shown(path: Path, images: NDArray[Any], predictions: NDArray[Any], labels: NDArray[Any]) -> None:
    """Raise InputError unless they are what `draw` takes."""
    count = len(images)
    whole = all(classes.dtype.kind in "iu" and classes.shape == (count,) for classes in (predictions, labels))
    if not whole or (count and images.shape[1:] != IMAGE_SHAPE):
        found = ", ".join(f"{array.dtype} of shape {array.shape}" for array in (images, predictions, labels))
        raise InputError(f"{path}: not the arrays of a row: {found}; expected images, and a class and a label for each")


def draw(title: str, images: NDArray[Any], predictions: NDArray[Any], labels: NDArray[Any]) -> Drawn:
    """A grid of at most 3 x 6 images, or one image alone.

    Parameters
    ----------
    images : ndarray, shape (m, 1, height, width)
        Black at 0, white at 1; values beyond are clamped.
    predictions, labels : ndarray, shape (m,), int
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = (GRID_ROWS, GRID_COLUMNS) if len(images) > 1 else (1, 1)
    width = max(columns * INCH, 0.095 * len(title))  # the title's letters need their space
    figure = Figure(figsize=(width, rows * (INCH + 0.2) + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for index, axis in enumerate(axes):
        axis.set_axis_off()
        if index < len(images):
            _draw_one(axis, images[index, 0], int(predictions[index]), int(labels[index]))
    return figure


def _draw_one(axis: Axes, image: NDArray[Any], prediction: int, label: int) -> None:
    right = prediction == label
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    text = f"{RIGHT_SIGN} {prediction}" if right else f"{WRONG_SIGN} {prediction} ({label})"
    axis.set_title(text, color=RIGHT_COLOUR if right else WRONG_COLOUR, fontsize=11, fontweight="bold", pad=2)
