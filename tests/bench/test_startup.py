"""What is imported when: nothing heavy before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import RELUBENCH

SOLVERS = ("highspy", "gurobipy", "pulp", "cvxpy", "pyscipopt")
HEAVY = ("torch", "torchvision", "numpy", "scipy", "pandas", "matplotlib", *SOLVERS)
HELP_S = 1.0


def imported(code: str, *arguments: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after `code`."""
    tail = "finally:\n sys.stderr.write('\\n' + json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
    script = f"import json, sys\ntry:\n {code}\n{tail}"
    ended = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return set(json.loads(ended.stderr.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("verify", "--help"), ("--version",)])
def test_help_imports_neither_numpy_nor_torch_nor_a_solver(arguments: tuple[str, ...]) -> None:
    assert imported("from bench.cli import main; main()", *arguments).isdisjoint(HEAVY)


def test_help_answers_within_a_second() -> None:
    # Processor time: what others do on the machine at the same time is not ours.
    seconds = []
    for _ in range(3):
        before = os.times()
        subprocess.run([*RELUBENCH, "--help"], check=True, capture_output=True, timeout=60)
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert 0 < min(seconds) < HELP_S


def test_the_packages_themselves_import_nothing_heavy() -> None:
    assert imported("import bench, networks, solvers").isdisjoint(HEAVY)


def test_listing_networks_and_suites_imports_neither_torch_nor_a_solver() -> None:
    for command in ("networks", "suites"):
        assert imported("from bench.cli import main; main()", command).isdisjoint({"torch", *SOLVERS})


def test_knowing_whether_solvers_are_installed_imports_none() -> None:
    code = "from solvers import registry; [registry.backend_class(name).installed() for name in registry.names()]"
    assert imported(code).isdisjoint({"torch", *SOLVERS})


def test_a_report_imports_neither_torch_nor_a_solver(tmp_path: Path) -> None:
    from bench.row import Row
    from bench.store import Store

    row = Row(
        cell="c",
        kind="verify",
        network="n",
        network_digest="d",
        dataset="mnist_test",
        image=0,
        label=7,
        epsilon=0.1,
        method="lp",
        solver="highs",
        formulation="compact",
        verdict="verified",
        targets=[0],
        lower=[1.0],
        upper=[2.0],
        status=["optimal"],
        gap=[0.0],
        total_s=0.1,
    )
    Store(tmp_path).append(row)
    modules = imported("from bench.cli import main; main()", "report", str(tmp_path))
    assert modules.isdisjoint({"torch", "torchvision", *SOLVERS})


def test_measuring_bounds_without_a_solver_imports_none() -> None:
    code = "from bench.cli import main; main()"
    modules = imported(code, "verify", "mnist_small", "-e", "0.01", "-m", "interval", "--json")
    assert modules.isdisjoint({*SOLVERS, "pandas", "matplotlib", "sympy"})
