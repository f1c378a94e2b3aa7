"""What every back-end must keep as a process: what it imports and prints, and how it takes Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from solvers.backend import Backend

REPOSITORY = Path(__file__).parents[2]


def test_asking_what_is_installed_imports_no_solver() -> None:
    script = """
import sys
from solvers import registry
print([registry.backend_class(name).installed() for name in registry.names()])
print(sorted({"highspy", "gurobipy", "pulp", "cvxpy", "torch"} & set(sys.modules)))
"""
    answer = run_python(script).stdout.splitlines()
    assert "True" in answer[0]
    assert answer[1] == "[]"


def test_solving_prints_nothing(mip_backend: Backend, request: pytest.FixtureRequest) -> None:
    script = """
import sys
from solvers import registry
from tests.solvers.tiny_models import random_lp, random_mip
for model in (random_lp(0), random_mip(0)):
    with registry.get(sys.argv[1]).load(model) as session:
        session.solve()
        session.set_objective(-model.c)
        session.solve()
"""
    answer = run_python(script, request.node.callspec.params["mip_backend"])
    assert (answer.stdout, answer.stderr) == ("", "")


def run_python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)


INTERRUPTED = """
import sys
from solvers import registry
from tests.solvers.tiny_models import market_split
with registry.get(sys.argv[1]).load(market_split()) as session:
    print("ready", flush=True)
    try:
        print(session.solve(60).status)
    except KeyboardInterrupt:
        print("interrupted")
    print(session.solve(0.2).status)
"""


@pytest.mark.parametrize("name", ["highs", "gurobi"])
def test_ctrl_c_stops_a_solve_and_leaves_the_session_usable(name: str) -> None:
    from tests.solvers.conftest import backend_or_skip

    backend_or_skip(name)
    command = [sys.executable, "-c", INTERRUPTED, name]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        start = time.perf_counter()
        process.send_signal(signal.SIGINT)
        lines = process.stdout.read().split("\n")
        taken = time.perf_counter() - start
    assert [line for line in lines if line][-2:] == ["interrupted", "time_limit"]
    assert process.returncode == 0
    assert taken < 10
