"""Names of back-ends, and what is said when one is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from networks.errors import InputError, SolverError, SolverNotInstalledError, UnknownSolverError
from solvers import registry
from solvers.backend import Backend, Capabilities, Session, SolverOptions
from solvers.linear_model import LinearModel
from solvers.result import Status
from tests.solvers.conftest import REQUIRED, backend_or_skip

PLUGIN = '''
from solvers.backends.highs_ import Highs

class Outside(Highs):
    """A back-end from another package."""

    name = "outside"

not_a_backend = 3
'''
ENTRY_POINTS = """
[relubench.solvers]
outside = relubench_outside_plugin:Outside
broken = relubench_outside_plugin:not_a_backend
highs = relubench_outside_plugin:Outside
"""


class Absent(Backend):
    """A back-end whose package nobody has."""

    name = "absent"
    package = "relubench_no_such_package"
    install = "pip install absent"
    licence = "none"
    capabilities = Capabilities()

    def version(self) -> str:
        raise NotImplementedError

    def load(self, model: LinearModel, options: SolverOptions | None = None) -> Session:
        raise NotImplementedError


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(registry.BACKENDS, "absent", f"{__name__}:Absent")
    return "absent"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution, by its files, that registers back-ends."""
    (tmp_path / "relubench_outside_plugin.py").write_text(PLUGIN)
    metadata = tmp_path / "relubench_outside_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: relubench-outside-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)


def test_names_begin_with_our_own_back_ends() -> None:
    assert registry.names()[:4] == ["highs", "gurobi", "cbc", "cvxpy"]


@pytest.mark.parametrize("name", list(registry.BACKENDS))
def test_back_end_is_registered_under_its_own_name_and_describes_itself(name: str) -> None:
    found = registry.backend_class(name)
    assert found.name == name
    assert found.install.startswith("pip install")
    assert found.licence
    assert found.package


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownSolverError, match=r"solver 'simplex' is not known; expected one of highs, gurobi"):
        registry.get("simplex")


def test_missing_package_is_refused_with_the_command_that_installs_it(absent: str) -> None:
    assert not registry.backend_class(absent).installed()
    with pytest.raises(SolverNotInstalledError, match=r"solver absent is not installed; .* pip install absent"):
        registry.get(absent)


@pytest.mark.parametrize("name", ["highs", "gurobi", "cbc"])
def test_variant_is_refused_where_there_are_none(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} has no variants"):
        registry.get(f"{name}:FAST")


@pytest.mark.usefixtures("plugin")
def test_back_end_of_another_package_is_found_after_our_own() -> None:
    assert registry.names() == [*registry.BACKENDS, "broken", "outside"]
    assert registry.get("outside").name == "outside"


@pytest.mark.usefixtures("plugin")
def test_back_end_of_another_package_cannot_take_the_place_of_ours() -> None:
    assert registry.get("highs").name == "highs"


@pytest.mark.usefixtures("plugin")
def test_entry_point_that_is_no_back_end_is_refused() -> None:
    with pytest.raises(SolverError, match="'broken' is registered as 3; expected a subclass"):
        registry.get("broken")


def test_missing_solver_skips_a_test_with_the_reason(absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRED, "highs,cbc")
    with pytest.raises(pytest.skip.Exception, match="absent is not installed"):
        backend_or_skip(absent)


def test_missing_solver_fails_a_test_where_it_is_required(absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRED, "highs,absent")
    with pytest.raises(pytest.fail.Exception, match="absent is not installed"):
        backend_or_skip(absent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "threads is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**31}, "seed is"),
        ({"time_limit_s": 0}, "time limit is 0 s"),
        ({"time_limit_s": float("nan")}, "time limit is nan s"),
        ({"mip_gap": -1e-9}, "mip_gap is"),
        ({"feasibility_tolerance": 1.0}, "feasibility_tolerance is 1.0"),
        ({"integrality_tolerance": float("nan")}, "integrality_tolerance is nan"),
    ],
)
def test_option_out_of_range_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SolverOptions(**options)  # type: ignore[arg-type]


def test_time_limit_of_numpy_is_taken_as_a_float() -> None:
    short: Any = np.float32(5)
    assert type(SolverOptions(time_limit_s=short).time_limit_s) is float
    model = LinearModel([1.0], sparse.csr_array([[1.0]]), [0.0], [1.0], [0.0], [1.0])
    options = SolverOptions(time_limit_s=short)
    for name in ("highs", "cbc"):
        with registry.get(name).load(model, options) as session:
            assert session.solve().status == session.solve(short).status == Status.OPTIMAL


def test_dotted_package_without_its_parent_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Absent, "package", "relubench_no_such.solver")
    assert not Absent.installed()
