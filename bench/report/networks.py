"""The rows of a run by network, labelled and compared once for all parts of a report."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import pandas as pd

from bench.report.contest import Contest, setup_contest, solver_contests
from bench.report.frame import Run
from bench.report.instances import by_network
from bench.report.labels import with_setup

# Of attacks, or what no table and no figure of a network asks for: a million rows are copied a network at a time.
UNASKED = (
    *("schema", "images", "steps", "step", "restarts", "falsified", "unknown", "error_rate", "images_per_s", "started"),
    *("log", "overshoot_s", "peak_memory_mb"),
)


@dataclass(frozen=True, eq=False)
class Network:
    """What was measured on one network.

    Attributes
    ----------
    name : str
    labelled : DataFrame
        Its verifications, with their setups; the columns of UNASKED are left out.
    """

    name: str
    labelled: pd.DataFrame

    @cached_property
    def setups(self) -> Contest:
        """All setups against each other."""
        return setup_contest(self.labelled)

    @cached_property
    def solvers(self) -> dict[str, Contest]:
        """The solvers against each other, for each method that has several and called one."""
        return {method: contest for method, contest in self.solvers_asked.items() if len(contest.lines)}

    @cached_property
    def solvers_asked(self) -> dict[str, Contest]:
        """The same for each method that has several, whether or not it called one."""
        return solver_contests(self.labelled)


@lru_cache(maxsize=1)  # a report's parts ask for the same run one after the other
def networks_of(run: Run) -> tuple[Network, ...]:
    """The networks of a run with verifications, those that were asked most first."""
    rows = run.rows.drop(columns=[*UNASKED], errors="ignore")
    verify = rows[rows["kind"] == "verify"]
    parts = sorted(by_network(verify), key=lambda part: -len(part[1]))
    return tuple(Network(name, with_setup(rows)) for name, rows in parts)
