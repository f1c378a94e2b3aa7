"""Solvers: the linear model, the encoding of networks into it, and the back-ends behind one session contract.

Nothing heavy is imported until it is used; no solver is imported until the registry is asked for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from solvers.backend import Backend, Capabilities, Session, SolverOptions
    from solvers.encoding import Encoding
    from solvers.formulation import Formulation
    from solvers.linear_model import LinearModel
    from solvers.registry import get
    from solvers.result import SolveResult, Status

# `encode` is not among these: it is also the name of its module, which importing would put in its place.
_HOME = {
    "Backend": "solvers.backend",
    "Capabilities": "solvers.backend",
    "Session": "solvers.backend",
    "SolverOptions": "solvers.backend",
    "Encoding": "solvers.encoding",
    "Formulation": "solvers.formulation",
    "LinearModel": "solvers.linear_model",
    "get": "solvers.registry",
    "SolveResult": "solvers.result",
    "Status": "solvers.result",
}

__all__ = [
    "Backend",
    "Capabilities",
    "Encoding",
    "Formulation",
    "LinearModel",
    "Session",
    "SolveResult",
    "SolverOptions",
    "Status",
    "get",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'solvers' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
