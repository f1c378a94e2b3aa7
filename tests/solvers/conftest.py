"""Every back-end of the registry, as fixtures: a test that asks for `backend` runs once for each."""

from __future__ import annotations

import os

import pytest

from networks.errors import SolverNotInstalledError
from solvers import registry
from solvers.backend import Backend

REQUIRED = "RELUBENCH_REQUIRE_SOLVERS"  # names, comma-separated, whose absence fails instead of skipping; CI sets it
# A back-end that is a family: those tested for it.
VARIANTS = {"cvxpy": ("cvxpy:SCIPY", "cvxpy:CLARABEL")}
LP_ONLY = ("cvxpy:CLARABEL",)

NAMES = [variant for name in registry.names() for variant in VARIANTS.get(name, (name,))]
MIP_NAMES = [name for name in NAMES if name not in LP_ONLY]


def backend_or_skip(name: str) -> Backend:
    """The back-end; a visible skip where it is not installed, a failure where it must be."""
    try:
        return registry.get(name)
    except SolverNotInstalledError as error:
        if name.partition(":")[0] in os.environ.get(REQUIRED, "").split(","):
            pytest.fail(f"{error} ({REQUIRED} asks for it)")
        pytest.skip(str(error))


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each back-end in turn."""
    return backend_or_skip(request.param)


@pytest.fixture(params=MIP_NAMES)
def mip_backend(request: pytest.FixtureRequest) -> Backend:
    """Each back-end that solves MILPs in turn."""
    found = backend_or_skip(request.param)
    if not found.capabilities.mip:
        pytest.skip(f"{request.param} solves no MILP")
    return found
