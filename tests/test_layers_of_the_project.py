"""Imports run one way: networks <- solvers <- bench, and measuring knows nothing of reporting."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import bench
import networks
import solvers

ROOTS = {package.__name__: Path(package.__path__[0]) for package in (networks, solvers, bench)}
MODULES = sorted(path for root in ROOTS.values() for path in root.rglob("*.py"))
SOLVER_PACKAGES = {"highspy", "gurobipy", "pulp", "cvxpy", "pyscipopt", "cplex", "xpress", "coptpy", "mosek"}
# The package, and what its modules may import of this project.
ALLOWED = {"networks": {"networks"}, "solvers": {"networks", "solvers"}, "bench": {"networks", "solvers", "bench"}}
REPORTING = ("bench.report", "bench.compare")  # they read files, and measure nothing
COMMANDS = ("bench.commands.report", "bench.commands.compare", "bench.commands.outputs", "bench.commands.pair")
# The command line offers both; `run` prints the report of what it has measured, `check` reads runs as reports do.
KNOW_REPORTS = {"bench.cli", "bench.commands.check", "bench.commands.run", "bench.pairing.comparison", *COMMANDS}


def name_of(path: Path) -> str:
    """The module's dotted name."""
    root = next(root for root in ROOTS.values() if path.is_relative_to(root))
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """The dotted names that a module imports anywhere, inside functions and for types too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import(path: Path) -> Iterator[str]:
    """The dotted names that importing a module imports: those at its top, those for types left out."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("package", [networks, solvers, bench])
def test_a_package_lists_its_public_names_before_they_are_used(package: ModuleType) -> None:
    script = f"import {package.__name__} as p; print(*(set(p.__all__) - set(dir(p))))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.split() == []  # in a fresh interpreter, where none of them was used


def test_the_version_is_that_of_the_distribution() -> None:
    assert bench.__version__ == version("relubench")
    assert "__version__" in dir(bench)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_its_own_package_and_those_below(path: Path) -> None:
    package = name_of(path).partition(".")[0]
    used = {name.partition(".")[0] for name in imports_of(path)} & set(ROOTS)
    assert used <= ALLOWED[package]


def test_all_three_packages_were_looked_at() -> None:
    assert {name_of(path).partition(".")[0] for path in MODULES} == set(ROOTS)
    assert {"bench.runner", "bench.report", "solvers.encode", "networks.layers"} <= {name_of(path) for path in MODULES}


def test_measuring_imports_no_reporting() -> None:
    guilty = {
        name_of(path)
        for path in MODULES
        if any(is_within(name, package) for name in imports_of(path) for package in (*REPORTING, *COMMANDS))
    }
    reporting = {name for name in map(name_of, MODULES) if any(is_within(name, package) for package in REPORTING)}
    assert guilty <= reporting | KNOW_REPORTS


def test_reporting_imports_neither_torch_nor_solvers_nor_what_measures() -> None:
    forbidden = {"torch", "torchvision", "solvers", *SOLVER_PACKAGES}
    measuring = (
        *("bench.runner", "bench.plan", "bench.pool", "bench.worker", "bench.watch"),
        *("bench.verification", "bench.methods", "bench.devices", "bench.replay"),
    )
    for path in (path for path in MODULES if any(is_within(name_of(path), package) for package in REPORTING)):
        used = set(imports_of(path))
        assert {name.partition(".")[0] for name in used}.isdisjoint(forbidden), name_of(path)
        assert not any(is_within(name, module) for name in used for module in measuring), name_of(path)


def test_no_module_imports_a_solver_at_its_top() -> None:
    guilty = {
        name_of(path): name for path in MODULES for name in at_import(path) if name.partition(".")[0] in SOLVER_PACKAGES
    }
    assert guilty == {}


def test_only_back_ends_know_solver_packages() -> None:
    guilty = {
        name_of(path) for path in MODULES if any(name.partition(".")[0] in SOLVER_PACKAGES for name in imports_of(path))
    }
    assert all(is_within(name, "solvers.backends") for name in guilty)
    assert {"solvers.backends.highs_", "solvers.backends.gurobi_"} <= guilty


def test_no_module_bears_the_name_of_something_that_its_package_exports() -> None:
    for package in (networks, bench):
        modules = {path.stem for path in ROOTS[package.__name__].iterdir()}
        assert modules.isdisjoint(package.__all__), package.__name__
