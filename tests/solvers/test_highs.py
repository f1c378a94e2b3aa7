"""What is HiGHS's own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from networks.errors import SolverError
from solvers.backend import SolverOptions
from solvers.backends.highs_ import Highs, HighsSession, solver_options
from solvers.conformance import models
from solvers.conformance.models import INF
from solvers.result import Status

REPOSITORY = Path(__file__).parents[2]
LONG_LP = """
from solvers.backends.highs_ import Highs
from solvers.conformance.models import random_lp
with Highs().load(random_lp(0, rows=900, columns=1200)) as session:
    print("ready", flush=True)
    try:
        print(session.solve().status)
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_option_that_highs_refuses_is_an_error_and_not_the_old_value() -> None:
    session = HighsSession(models.LPS[0].model, SolverOptions(), Highs())
    for name, value in (("no_such_option", 1), ("threads", -1), ("mip_rel_gap", "large")):
        with pytest.raises(SolverError, match=f"refused the option {name}"):
            session._set_option(name, value)


def test_every_option_of_the_table_is_in_force_after_loading() -> None:
    options = SolverOptions(threads=3, seed=5, mip_gap=0.25, feasibility_tolerance=1e-5, integrality_tolerance=1e-12)
    session = HighsSession(models.LPS[0].model, options, Highs())
    in_force = {name: session._highs.getOptionValue(name)[1] for name in solver_options(options)}
    assert in_force == solver_options(options)
    assert in_force["mip_feasibility_tolerance"] == 1e-10  # HiGHS's own least


def test_one_thread_searches_alone() -> None:
    assert solver_options(SolverOptions())["parallel"] == "off"
    assert solver_options(SolverOptions(threads=2))["parallel"] == "choose"


def test_model_that_highs_refuses_is_an_error_with_the_reason() -> None:
    model = models.model([1], [[1e16]], [(1e16, INF)], [(-2, 2)])
    result = Highs().load(model).solve()
    assert result.status is Status.ERROR
    assert "largest coefficient is 1e+16" in result.message


def test_small_coefficient_is_not_dropped() -> None:
    model = models.model([1], [[1e-10]], [(1e-6, INF)], [(0, 1e6)])
    assert Highs().load(model).solve().objective == pytest.approx(1e4)


def test_ctrl_c_stops_a_long_lp() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LONG_LP], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.7)
        process.send_signal(signal.SIGINT)
        start = time.perf_counter()
        answer = process.stdout.read()
    assert answer == "interrupted\n"
    assert time.perf_counter() - start < 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_log_that_a_full_disk_does_not_take_ends_no_solve() -> None:
    case = models.LPS[0]
    with Highs().load(case.model, SolverOptions(log=Path("/dev/full"))) as session:
        assert session.solve().status is Status.OPTIMAL
