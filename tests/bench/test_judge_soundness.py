"""The judge finds nothing where all is well: real solvers, random networks, every method, bounds, goal and switch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from bench import attack, verify
from bench.choices import BY_PROPAGATION, SWITCHES, applicable, goal_of
from bench.judge import judge
from bench.row import Row
from networks.instance import Clip
from networks.layers import Array, LayerList, Linear, ReLU
from solvers.backend import MIP_GAP
from tests.networks.strategies import SEEDS, classifiers

FIELDS = {item.name for item in fields(Row)}
EPSILONS = (0.0, 0.02, 0.1, 0.4)
CLIPS = ((0.0, 1.0), None)
ATTACKS = ("fgsm", "pgd_linf", "pgd_l2", "pgd_l1")
# Each switch alone at its other values, beside all at their usual ones.
VARIANTS: list[dict[str, Any]] = [{}, *({name: value} for name in SWITCHES for value in SWITCHES[name][1:])]


def rows_of(network: LayerList, x: Array, label: int, solver: str, rng: np.random.Generator) -> Iterator[Row]:
    """Every propagation, and solvers with one switch changed at a time, at two epsilons of one clip."""
    for epsilon, clip in itertools.product(rng.choice(EPSILONS, 2, replace=False).tolist(), CLIPS):
        asked: list[tuple[str, dict[str, Any]]] = [(method, {}) for method in BY_PROPAGATION]
        asked += [
            (method, variant)
            for method in ("lp", "milp", "staged")
            for variant in VARIANTS
            if fits(method, solver, variant)
        ]
        for method, variant in asked:
            yield verify_row_of(network, x, label, epsilon, method, solver, clip, variant)


def verify_row_of(
    network: LayerList,
    x: Array,
    label: int,
    epsilon: float,
    method: str,
    solver: str,
    clip: Clip | None,
    variant: dict[str, Any],
) -> Row:
    outcome = verify(network, x, label, epsilon, method, solver, clip=clip, **variant)
    said = {name: value for name, value in outcome.to_dict().items() if name in FIELDS}
    made = {"cell": f"{method} {solver} {variant} {epsilon} {clip}", "kind": "verify", "network": "random", "image": 0}
    more = {"network_digest": network.digest, "dataset": "random", "clip": clip, "mip_gap": MIP_GAP}
    return Row(**{**said, **made, **more, **outcome.switches})


def fits(method: str, solver: str, variant: dict[str, Any]) -> bool:
    """Whether the method and the solver have the switch."""
    goal = goal_of(method, variant.get("goal", "margin"))
    constrained = variant.get("relu", "bigm") != "bigm" and solver != "gurobi"
    return not constrained and set(variant) <= {*applicable(method, goal)} - ({"goal"} if method == "staged" else set())


def attack_rows(network: LayerList, x: Array, label: int, folder: Path) -> Iterator[Row]:
    for (index, name), epsilon, clip in itertools.product(enumerate(ATTACKS), EPSILONS, CLIPS):
        found = attack(network, x[None], [label], name, epsilon, clip=clip, device="cpu", steps=10)
        arrays = f"{index}-{epsilon}-{clip is None}.npz"
        np.savez(
            folder / arrays, margin=found.margin, predictions=found.predictions, labels=[label], indices=np.array([0])
        )
        yield Row(
            cell=arrays,
            kind="attack",
            network="random",
            network_digest=network.digest,
            dataset="random",
            images=1,
            epsilon=epsilon,
            norm=found.norm,
            clip=clip,
            method=name,
            error_rate=found.error_rate,
            arrays=arrays,
        )


@pytest.mark.parametrize("solver", ["highs", "gurobi", "cbc"])
@settings(max_examples=2, deadline=None)
@given(network=classifiers(), seed=SEEDS)
def test_honest_rows_contradict_nothing(solver: str, network: LayerList, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.0, 1.0, network.input_shape)
    label = int(rng.integers(network.class_count))
    with TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*rows_of(network, x, label, solver, rng), *attack_rows(network, x, label, folder)]
        judgement = judge(rows, [folder] * len(rows))
    assert [str(finding) for finding in judgement.findings] == []
    assert judgement.notes == ()
    # Without a verified row, or one whose MILP says more than what is proven, some have nothing to test.
    idle = {name for name, count in judgement.tested.items() if not count}
    assert idle <= {"verdict", "classes", "gap", "attained"}, judgement.tested


ASKED = [
    *((method, "highs") for method in (*BY_PROPAGATION, "staged")),
    *(("lp", solver) for solver in ("highs", "gurobi", "cbc", "cvxpy:CLARABEL")),
    *(("milp", solver) for solver in ("highs", "gurobi", "cbc")),
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("scale", [1e-10, 1e4, "by neuron"])
def test_honest_rows_of_scaled_networks_contradict_nothing(scale: float | str, seed: int) -> None:
    """Logits of any size, and neurons whose sizes lie far apart, where solvers are less exact."""
    network = scaled_network(scale, np.random.default_rng(seed + 3))
    x = np.random.default_rng(seed).uniform(size=3)
    label = int(network.forward(x[None])[0].argmax())
    rows = [
        verify_row_of(network, x, label, epsilon, method, solver, (0.0, 1.0), {})
        for epsilon in (0.01, 0.2)
        for method, solver in ASKED
    ]
    judgement = judge(rows, [Path()] * len(rows))
    assert [str(finding) for finding in judgement.findings] == []
    assert judgement.tested["order"] > 0 < judgement.tested["agreement"]


def scaled_network(scale: float | str, rng: np.random.Generator) -> LayerList:
    weights = [rng.normal(size=shape) for shape in ((6, 3), (6, 6), (3, 6))]
    biases = [rng.normal(size=count) for count in (6, 6, 3)]
    if isinstance(scale, str):
        weights = [weight * 10.0 ** rng.integers(-4, 5, size=(len(weight), 1)) for weight in weights]
    else:
        weights[2], biases[2] = weights[2] * scale, biases[2] * scale
    hidden = [part for pair in zip(weights[:2], biases[:2], strict=True) for part in (Linear(*pair), ReLU())]
    return LayerList((3,), (*hidden, Linear(weights[2], biases[2])))
