"""Runs of any size, written fast: several networks, five epsilons, seven methods, three solvers, nine targets."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.made_rows import verify_row

EPSILONS = (0.01, 0.02, 0.03, 0.05, 0.1)
NETWORKS = ("mnist_small", "mnist_dnn_2", "mnist_cnn")
SOLVERS = ("highs", "gurobi", "cbc")
TARGETS = 9
# Each relaxation with how far its bounds are from the exact margins, in units of epsilon: the tighter, the nearer.
LOOSE = {"interval": 90.0, "dual": 60.0, "linear": 50.0, "alpha": 40.0, "lp interval": 45.0, "lp linear": 20.0}
LOOSE |= {"staged": 0.0, "milp": 0.0}
SETUPS: list[dict[str, Any]] = [
    *({"method": method} for method in ("interval", "dual", "linear", "alpha")),
    *(
        {"method": method, "solver": solver, "bounds": bounds, "formulation": formulation}
        for method in ("lp", "milp", "staged")
        for solver in SOLVERS
        for bounds in ("interval", "linear")
        for formulation in (("compact",) if method == "staged" else ("compact", "textbook"))
    ),
]
TIME_LIMIT_S = 30.0
FAILED, LIMITED = 0.005, 0.05  # shares of the rows by a solver
# What differs from row to row; the rest of a line is the same for all of a setup.
VARYING = (
    *("cell", "network", "network_digest", "image", "label", "epsilon", "verdict", "evidence", "reason", "targets"),
    *("lower", "upper", "status", "tier", "claimed", "certified", "bounds_s", "solve_s", "total_s", "arrays", "error"),
)
SAME: dict[str, Any] = {
    "safety": [2e-6] * TARGETS,
    "gap": [0.0] * TARGETS,
    "enforced": {"time": "worker killed after 40 s, looked at every 50 ms", "cores": "0 by affinity"},
    "machine": {"load": 1.7, "swapped_mb": 0.0, "steal_s": 0.0, "throttled_s": 0.0, "others_load": 1.2},
    "versions": {"python": "3.11.7", "relubench": "0.1.0", "torch": "2.14.1", "numpy": "2.4.6", "highspy": "1.16.0"},
    "memory_limit_mb": 22748.8,
    "peak_memory_mb": 461.4,
    "started": "2026-11-24T10:09:23.713+00:00",
    "time_limit_s": TIME_LIMIT_S,
}
COUNTERS = {"rows": 48, "columns": 832, "nonzeros": 20082, "binaries": 3, "unstable": 3, "active": 39, "nodes": 9}


def write_many(folder: Path, count: int) -> int:
    """Write a run of about `count` rows; returns how many instances it has."""
    folder.mkdir(parents=True)
    per_image = len(NETWORKS) * len(EPSILONS) * len(SETUPS)
    images = max(1, -(-count // per_image))
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(itertools.islice(_lines(images), count))
    suite = {"name": "many", "description": "rows made by a program"}
    (folder / "manifest.json").write_text(json.dumps({"suite": suite, "starts": []}), encoding="utf-8")
    return images * len(NETWORKS) * len(EPSILONS)


def _lines(images: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    templates = [_template(setup) for setup in SETUPS]
    for (number, network), epsilon in itertools.product(enumerate(NETWORKS), EPSILONS):
        start = np.random.default_rng(number).normal(9.0, 3.0, (images, TARGETS))
        exact = start - 60 * epsilon
        lowers = {name: exact - loose * epsilon for name, loose in LOOSE.items()}
        texts = {name: list(map(str, lower.tolist())) for name, lower in lowers.items()}
        signs = {name: np.all(lower > 2e-6, axis=1) for name, lower in lowers.items()}
        uppers = list(map(str, exact.tolist()))
        falsified = np.any(exact < 0, axis=1)
        for index, setup in enumerate(SETUPS):
            node = _node(setup)
            fate, spent = rng.random(images).tolist(), _seconds(rng, setup, images).tolist()
            for image in range(images):
                ended = _ended(fate[image], node, signs[node][image], falsified[image], setup, spent[image])
                cell = f"{number:x}{index:02x}{image:08x}{int(epsilon * 1000):04x}".ljust(64, "a")
                yield templates[index] % (
                    {"cell": cell, "network": network, "digest": f"{number:064x}", "image": image, "epsilon": epsilon}
                    | {"label": image % 10, "targets": _targets(image % 10), "upper": uppers[image]}
                    | {"lower": texts[node][image]}
                    | ended
                )


def _node(setup: dict[str, Any]) -> str:
    return f"lp {setup['bounds']}" if setup["method"] == "lp" else setup["method"]


def _seconds(rng: np.random.Generator, setup: dict[str, Any], images: int) -> NDArray[np.float64]:
    scale = {"lp": 0.05, "milp": 0.8, "staged": 0.1}.get(setup["method"], 0.001)
    faster = {"gurobi": 0.5, "highs": 1.0, "cbc": 2.0}.get(setup.get("solver", ""), 1.0)
    seconds: NDArray[np.float64] = np.minimum(rng.lognormal(np.log(scale * faster), 1.0, images), TIME_LIMIT_S)
    return seconds


def _targets(label: int) -> str:
    return str([target for target in range(10) if target != label])


def _ended(fate: float, node: str, proved: bool, refuted: bool, setup: dict[str, Any], spent: float) -> dict[str, Any]:
    """What a row says of its end: a failure, a time limit, or a verdict."""
    by_solver = "solver" in setup
    done = "optimal" if by_solver else "bounded"
    said: dict[str, Any] = {"status": json.dumps([done] * TARGETS), "error": "null", "tier": "null"}
    said |= {"bounds_s": spent / 50, "solve_s": spent, "total_s": spent * 1.1, "reason": "null"}
    if by_solver and fate < FAILED:
        nothing = {"targets": "[]", "lower": "[]", "upper": "[]", "verdict": "null", "evidence": "null"}
        return said | nothing | {"status": '["error"]', "error": '"SolverError: out of memory"', "total_s": "null"}
    if node in ("milp", "staged") and fate < FAILED + LIMITED and not proved:
        said |= {"status": json.dumps(["time_limit"] + [done] * (TARGETS - 1)), "reason": '"time limit"'}
        said |= {"total_s": TIME_LIMIT_S, "solve_s": TIME_LIMIT_S}
    if proved:
        return said | {"verdict": '"verified"', "evidence": '"bounds (9)"', "tier": '"certified"'}
    if refuted:
        return said | {"verdict": '"falsified"', "evidence": '"witness with margin -1.77109"', "tier": '"float32"'}
    return said | {"verdict": '"unknown"', "evidence": f'"not decided: target 2 has lower bound {-spent:.5f}"'}


def _template(setup: dict[str, Any]) -> str:
    """A line with a place for each value that varies."""
    by_solver = "solver" in setup
    made = asdict(verify_row(**setup, **SAME, targets=list(range(TARGETS)), counters=COUNTERS if by_solver else {}))
    if not by_solver:
        made |= {"safety": [0.0] * TARGETS, "gap": [None] * TARGETS, "mip_gap": None}
    else:
        made |= {"mip_gap": 1e-6, "bounds_used": setup["bounds"]}
    if setup["method"] == "staged":
        made |= {"stage": ["lp"] * TARGETS, "stage_s": {"interval": 0.001, "linear": 0.002, "lp": 0.05}}
    fields = {name: json.dumps(value).replace("%", "%%") for name, value in made.items()}
    fields |= {name: f"%({name})s" for name in VARYING}
    fields |= {"network": '"%(network)s"', "network_digest": '"%(digest)s"', "cell": '"%(cell)s"'}
    fields |= {"arrays": '"arrays/%(cell).32s.npz"', "certified": "%(lower)s"}
    fields |= {"claimed": "%(lower)s" if by_solver else json.dumps([None] * TARGETS)}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}\n"
