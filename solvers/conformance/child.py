"""What runs in the processes of `solvers.conformance.processes`."""

from __future__ import annotations

import signal
import time

import numpy as np

from solvers import registry
from solvers.backend import Session
from solvers.conformance.models import market_split, random_lp, random_mip

LONG_S = 30.0


def solve(name: str) -> None:
    """Solve an LP and, where the solver can, a MILP, each for two objectives."""
    backend = registry.get(name)
    for model in (random_lp(0), random_mip(0)) if backend.capabilities.mip else (random_lp(0),):
        with backend.load(model) as session:
            session.solve()
            session.set_objective(-model.c)
            session.solve()


def interrupted(name: str) -> None:
    """Solve for half a minute, or until Ctrl-C; then once more. A solver of LPs solves one after another."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with Ctrl-C ignored
    backend = registry.get(name)
    mip = backend.capabilities.mip
    with backend.load(market_split() if mip else random_lp(0, rows=200, columns=300)) as session:
        print("ready", flush=True)
        try:
            print(f"ended as {session.solve(LONG_S).status}" if mip else _solve_on(session))
        except KeyboardInterrupt:
            print("KeyboardInterrupt")
        status = session.solve(0.2 if mip else None).status
        print("usable" if status == ("time_limit" if mip else "optimal") else status)


def _solve_on(session: Session) -> str:
    rng, end = np.random.default_rng(0), time.perf_counter() + LONG_S
    while time.perf_counter() < end:
        session.set_objective(rng.normal(size=session.model.column_count))
        session.solve()
    return "not interrupted"
