"""`scipy.optimize.milp` as a back-end of relubench."""

import math
import re

import scipy
from scipy.optimize import Bounds, LinearConstraint, milp

from solvers import Backend, Capabilities, Session, SolveResult, SolverOptions, Status
from solvers.backends.dropped import infeasible_is_in_doubt
from solvers.backends.interrupt import run_interruptibly

# By HiGHS's number in SciPy's message: SciPy's own "infeasible" is also a model that HiGHS refuses.
STATUS = {"7": Status.OPTIMAL, "8": Status.INFEASIBLE, "10": Status.UNBOUNDED, "13": Status.TIME_LIMIT}


class MilpSession(Session):
    def _load(self):
        model = self.model
        self._parts = {"integrality": model.integer, "bounds": Bounds(model.col_lower, model.col_upper)}
        if model.row_count:
            self._parts["constraints"] = LinearConstraint(model.A, model.row_lower, model.row_upper)

    def _change_objective(self, c, offset):
        """`self.model` has it already."""

    def _solve(self, limits):
        model, options = self.model, {"time_limit": limits.time_limit_s, "mip_rel_gap": self.options.mip_gap}
        answer = run_interruptibly(lambda: milp(model.c, options=options, **self._parts))
        status = STATUS.get(re.search(r"HiGHS Status (\d+)|$", answer.message)[1], Status.UNKNOWN)
        if status is Status.INFEASIBLE and infeasible_is_in_doubt(model, 1e-9, self.options.feasibility_tolerance):
            status = Status.UNKNOWN  # HiGHS drops coefficients up to 1e-9
        objective = math.nan if answer.x is None else model.objective(answer.x)
        bound = {Status.INFEASIBLE: math.inf, Status.OPTIMAL: objective}.get(status, -math.inf)
        if model.is_mip and answer.mip_dual_bound is not None and status in (Status.OPTIMAL, Status.TIME_LIMIT):
            bound = answer.mip_dual_bound + model.offset
        return SolveResult(status, objective, bound, answer.x, nodes=answer.mip_node_count, raw_status=answer.message)


class Milp(Backend):
    name, package, install, licence = "scipy", "scipy", "pip install scipy", "BSD 3-Clause, no limits"
    least_tolerance = 1e-6  # `milp` takes none of ours, and this is HiGHS's own
    lacks = ("warm_objective", "row_duals", "simplex_iterations", "threads", "seed")
    capabilities = Capabilities(**dict.fromkeys(lacks, False))

    def version(self):
        return scipy.__version__

    def load(self, model, options=None):
        return MilpSession(model, options or SolverOptions(), self)
