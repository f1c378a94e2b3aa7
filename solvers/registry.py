"""Which back-ends there are: ours, and those that other packages register as `relubench.solvers`."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from networks.errors import SolverError, SolverNotInstalledError, UnknownSolverError
from solvers.backend import Backend

ENTRY_POINTS = "relubench.solvers"
BACKENDS = {
    "highs": "solvers.backends.highs_:Highs",
    "gurobi": "solvers.backends.gurobi_:Gurobi",
    "cbc": "solvers.backends.cbc_:Cbc",
    "cvxpy": "solvers.backends.cvxpy_:Cvxpy",
}


def names() -> list[str]:
    """The names of all back-ends, ours first."""
    outside = sorted(entry.name for entry in entry_points(group=ENTRY_POINTS))
    return [*BACKENDS, *(name for name in outside if name not in BACKENDS)]


def backend_class(name: str) -> type[Backend]:
    """The back-end class of this name, installed or not.

    Raises
    ------
    UnknownSolverError
        No back-end has this name.
    """
    if name in BACKENDS:
        module, attribute = BACKENDS[name].split(":")
        found = getattr(import_module(module), attribute)
    else:
        entry = next((entry for entry in entry_points(group=ENTRY_POINTS) if entry.name == name), None)
        if entry is None:
            raise UnknownSolverError(f"solver {name!r} is not known; expected one of {', '.join(names())}")
        try:
            found = entry.load()
        except Exception as error:  # an outside package may raise anything while it is imported
            raise SolverError(f"solver {name!r} cannot be loaded from {entry.value}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise SolverError(f"solver {name!r} is registered as {found!r}; expected a subclass of solvers.backend.Backend")
    return found


def get(name: str) -> Backend:
    """The back-end `name`, or a variant of it as `name:VARIANT`, e.g. `cvxpy:CLARABEL`.

    Raises
    ------
    UnknownSolverError
        No back-end has this name.
    SolverNotInstalledError
        Its package is not installed. The message has the command that installs it.
    """
    base, _, variant = name.partition(":")
    found = backend_class(base)
    if not found.installed():
        raise SolverNotInstalledError(f"solver {name} is not installed; install it with: {found.install}")
    return found(variant)
