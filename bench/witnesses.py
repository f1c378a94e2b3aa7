"""Inputs of a run, run forward once more: in the ball and the clip, with the margin that their row says.

Of a witness also that it is misclassified, and by runs in floats as told.

Measuring has done this already; here it is done from the files alone, with the network as it is now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

from bench.arrays import arrays_of_row
from bench.judge.facts import EXACT_SCHEMA, REPLAY_ROUNDING
from bench.judge.finding import Finding, Judgement, Replayed, Side, who
from bench.replay import error_of, replay, replay_double, replay_single
from bench.row import Row
from bench.verdict import Verdict
from networks import data
from networks.errors import InputError, NetworkError
from networks.instance import Instance, ball
from networks.layers import Array, LayerList
from networks.zoo import load_network

CHECK = "witness"
# Share of a logit, or of one, that float32 may be off by from one machine to another: a hundred of its roundings.
SINGLE_ROUNDING = 1e-5


class _NotReplayedError(Exception):
    """Why a witness cannot be replayed here."""


Complaint = tuple[str, str, float | None, float]  # what is wrong, what was found instead, its value, the tolerance


def replay_inputs(rows: Iterable[tuple[int, Row, Path]], data_dir: Path | None = None) -> Replayed:
    """Replay the input of least margin that each of the rows has found: of a falsified one its witness.

    Parameters
    ----------
    rows : iterable of (int, Row, Path)
        The row's place among all rows, the row, and its run's folder.
    data_dir : Path, optional
        Folder with the full MNIST set.

    Returns
    -------
    Replayed
        The notes of its judgement say how many inputs could not be replayed, and why.
    """
    tested, findings, why_not, confirmed = 0, [], Counter[str](), set[tuple[int, int]]()
    for index, row, folder in rows:
        try:
            complaints, targets = _replayed(row, folder, data_dir)
        except _NotReplayedError as reason:
            why_not[str(reason)] += 1
            continue
        tested += 1
        findings += [_finding(index, row, *complaint) for complaint in complaints]
        confirmed |= {(index, target) for target in targets}
    notes = tuple(f"{count} inputs not replayed: {reason}" for reason, count in why_not.items())
    return Replayed(frozenset(confirmed), Judgement({CHECK: tested}, tuple(findings), notes))


def _replayed(row: Row, folder: Path, data_dir: Path | None) -> tuple[list[Complaint], list[int]]:
    """What is wrong with a row's input, and for which targets its margins are the row's upper bounds."""
    if row.kind != "verify":
        raise _NotReplayedError("it is one of an attack on many images")
    network = _network(row)
    instance = _instance(row, network, data_dir)
    point = _witness(row, folder, instance)
    if outside := _outside(instance, point):
        return outside, []
    margins = replay(network, instance, point[None])[0]
    off = 0.0 if row.schema >= EXACT_SCHEMA else REPLAY_ROUNDING * max(1.0, float(np.abs(margins).max()))
    said = np.array([np.inf if value is None else value for value in row.upper])
    if row.verdict == Verdict.FALSIFIED and not margins.min() < 0:
        return [("its witness is classified as the label", "margin in exact arithmetic", float(margins.min()), 0.0)], []
    if not abs(margins.min() - said.min(initial=np.inf)) <= off:
        return [("its least upper bound is not the margin of its input", "margin", float(margins.min()), off)], []
    complaints = _floats(row, network, instance, point) if row.verdict == Verdict.FALSIFIED else []
    same = np.abs(margins - said) <= off
    return complaints, [target for target, holds in zip(row.targets, same, strict=True) if holds]


def _outside(instance: Instance, point: Array) -> list[Complaint]:
    """By how much the point misses the ball or the clip; it is moved inside both, exactly, before a row is written."""
    if instance.contains(point[None]):
        return []
    if instance.clip is not None and not (point.min() >= instance.clip[0] and point.max() <= instance.clip[1]):
        beyond = float(max(instance.clip[0] - point.min(), point.max() - instance.clip[1]))
        return [("its witness lies outside the clip", "beyond it by", beyond, 0.0)]
    return [("its witness lies outside the ball", "distance", float(np.abs(point - instance.image).max()), 0.0)]


def _floats(row: Row, network: LayerList, instance: Instance, point: Array) -> list[Complaint]:
    """Whether runs in floats misclassify the witness as the row says, as far as any run may."""
    single_slack = SINGLE_ROUNDING * max(1.0, float(np.abs(network.forward(point[None])).max()))
    runs = (
        ("float64", row.witness_double, replay_double(network, instance, point), 2 * error_of(network, point)),
        ("float32", row.witness_single, replay_single(network, instance, point), single_slack),
    )
    return [
        (
            f"it says that its witness {'holds' if said else 'does not hold'} in {name}",
            f"margin in {name}",
            found,
            slack,
        )
        for name, said, found, slack in runs
        if said is not None and (found >= slack if said else found < -slack)
    ]


def _network(row: Row) -> LayerList:
    network = _loaded(row.network)
    if network.digest != row.network_digest:
        raise _NotReplayedError(f"network {row.network} is another one now")
    return network


@cache
def _loaded(name: str) -> LayerList:
    try:
        return load_network(name)
    except NetworkError as error:
        raise _NotReplayedError(f"network {name} cannot be loaded") from error


def _instance(row: Row, network: LayerList, data_dir: Path | None) -> Instance:
    index = row.image or 0
    if row.dataset != "mnist_test":
        raise _NotReplayedError(f"data set {row.dataset} is not known here")
    if index >= data.SAMPLE_COUNT and not data.full_set_present(data_dir):
        raise _NotReplayedError("the full MNIST test set is not there (name its folder with --data DIR)")
    try:
        image, label = data.test_image(index, data_dir)
        label = label if row.label is None else row.label
        return ball(network, image, label, row.epsilon, clip=row.clip, targets=row.targets)
    except InputError as error:
        raise _NotReplayedError(f"its question cannot be asked again: {error}") from error


def _witness(row: Row, folder: Path, instance: Instance) -> Array:
    if row.arrays is None:
        raise _NotReplayedError("its row names no arrays")
    try:
        (found,) = arrays_of_row(folder, row.arrays, ["worst_input"])
    except InputError as error:
        raise _NotReplayedError("its arrays cannot be read") from error
    point = np.asarray(found, dtype=np.float64)
    if point.shape != instance.image.shape or not np.isfinite(point).all():
        raise _NotReplayedError("its arrays are no input of the network")
    return point


def _finding(index: int, row: Row, message: str, said: str, value: float | None, tolerance: float) -> Finding:
    side = Side(index, row.cell, who(row), row.epsilon, said, value, guilty=True)
    return Finding(CHECK, row.network, row.image, row.epsilon, None, (side,), tolerance, message)
