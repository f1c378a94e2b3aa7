"""Witnesses of a run, run forward once more: in the ball and the clip, misclassified, and by floats as told.

Measuring has done this already; here it is done from the files alone, with the network as it is now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

from bench.arrays import arrays_of_row
from bench.judge.finding import Finding, Judgement, Side, who
from bench.replay import error_of, replay, replay_double, replay_single
from bench.row import Row
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


def replay_witnesses(falsified: Iterable[tuple[int, Row, Path]], data_dir: Path | None = None) -> Judgement:
    """Replay the witness of every falsified row.

    Parameters
    ----------
    falsified : iterable of (int, Row, Path)
        The row's place among all rows, the row, and its run's folder.
    data_dir : Path, optional
        Folder with the full MNIST set.

    Returns
    -------
    Judgement
        Its notes say how many witnesses could not be replayed, and why.
    """
    tested, findings, why_not = 0, [], Counter[str]()
    for index, row, folder in falsified:
        try:
            findings += _replayed(index, row, folder, data_dir)
            tested += 1
        except _NotReplayedError as reason:
            why_not[str(reason)] += 1
    notes = tuple(f"{count} witnesses not replayed: {reason}" for reason, count in why_not.items())
    return Judgement({CHECK: tested}, tuple(findings), notes)


def _replayed(index: int, row: Row, folder: Path, data_dir: Path | None) -> list[Finding]:
    network = _network(row)
    instance = _instance(row, network, data_dir)
    point = _witness(row, folder, instance)
    complaints = [*_outside(instance, point), *_not_as_said(row, network, instance, point)]
    return [_finding(index, row, *complaint) for complaint in complaints]


def _outside(instance: Instance, point: Array) -> list[tuple[str, str, float | None, float]]:
    """By how much the point misses the ball or the clip; it is moved inside both, exactly, before a row is written."""
    if instance.contains(point[None]):
        return []
    if instance.clip is not None and not (point.min() >= instance.clip[0] and point.max() <= instance.clip[1]):
        beyond = float(max(instance.clip[0] - point.min(), point.max() - instance.clip[1]))
        return [("its witness lies outside the clip", "beyond it by", beyond, 0.0)]
    return [("its witness lies outside the ball", "distance", float(np.abs(point - instance.image).max()), 0.0)]


def _not_as_said(
    row: Row, network: LayerList, instance: Instance, point: Array
) -> list[tuple[str, str, float | None, float]]:
    """Whether the least margin is below zero, and runs in floats misclassify as the row says, as far as any run may."""
    margin = float(replay(network, instance, point[None]).min())
    if not margin < 0:
        return [("its witness is classified as the label", "margin in exact arithmetic", margin, 0.0)]
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
        return ball(network, image, label if row.label is None else row.label, row.epsilon, clip=row.clip)
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
