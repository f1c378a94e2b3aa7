"""The table of checks."""

from __future__ import annotations

from functools import partial

from solvers.backend import CONSTRAINTS
from solvers.conformance import answers, duals, processes, searches, sessions
from solvers.conformance.candidate import Check
from solvers.conformance.models import TINY, random_lp, random_mip


def _known_answers(group: str) -> list[Check]:
    return [
        Check(group, tiny.name, partial(answers.known_answer, tiny=tiny), "mip" if tiny.model.is_mip else "")
        for tiny in TINY[group]
    ]


_SIZES = "extreme coefficients"
_LIMIT = "time limit"
_WARM = "changed objectives"
_BOUND = "dual bound and duals"
_CUTOFF = "status after a cutoff"

# In the order in which they are shown.
CHECKS: tuple[Check, ...] = (
    *(check for group in TINY if group != "integrality" for check in _known_answers(group)),
    *(
        Check(_SIZES, f"one of {size:g}", partial(answers.extreme_coefficient, size=size))
        for size in answers.EXTREME_COEFFICIENTS
    ),
    Check(_SIZES, "small ones of a wide column", answers.dropped_coefficient),
    Check(_LIMIT, "a nanosecond for an LP", sessions.tiny_limit_of_an_lp),
    Check(_LIMIT, "a nanosecond for a hard MILP", partial(sessions.limit_of_a_hard_mip, limit_s=1e-9), "mip"),
    Check(_LIMIT, "half a second for a hard MILP", partial(sessions.limit_of_a_hard_mip, limit_s=0.5), "mip"),
    Check(_LIMIT, "for each solve of a session", sessions.limit_for_each_solve),
    Check(_LIMIT, "the second as long as the first", sessions.second_limit_as_long, "mip"),
    Check(_WARM, "an LP", partial(sessions.changed_objectives, model=random_lp(1))),
    Check(_WARM, "a MILP", partial(sessions.changed_objectives, model=random_mip(1)), "mip"),
    Check(_WARM, "counts of one solve", sessions.counts_of_one_solve, "mip"),
    Check(_WARM, "one that does not fit", sessions.unfit_objective),
    Check(_WARM, "times of loading and solving", sessions.times_and_closing),
    Check(_BOUND, "what the result of an LP has", sessions.what_an_lp_tells),
    Check(_BOUND, "what the result of a MILP has", sessions.what_a_mip_tells, "mip"),
    Check(_BOUND, "signs of the row duals", duals.signs, "row_duals"),
    Check(_BOUND, "row duals prove the optimum", duals.weak_duality, "row_duals"),
    Check(_BOUND, "row duals are slopes", duals.slopes, "row_duals"),
    Check(_BOUND, "a ray proves infeasibility", duals.ray, "ray"),
    *_known_answers("integrality"),
    Check("integrality", "near ties", answers.near_ties, "mip"),
    Check("integrality", "no leakage through a big-M", answers.big_m_without_leakage, "mip"),
    Check("integrality", "a neuron that barely fires", answers.barely_firing_neuron, "mip"),
    Check(_CUTOFF, "around the optimum", searches.stops_around_the_optimum, "mip"),
    Check(_CUTOFF, "of an infeasible MILP", searches.stop_of_an_infeasible_mip, "mip"),
    Check(_CUTOFF, "with an offset", searches.stop_with_an_offset, "mip"),
    Check(_CUTOFF, "of an LP", searches.no_stop_of_an_lp),
    Check(_CUTOFF, "at a good solution", searches.stop_at_a_good_solution, "stop"),
    Check(_CUTOFF, "at a good bound", searches.stop_at_a_good_bound, "stop"),
    Check("node limit", "of a hard MILP", searches.node_limit, "node_limit"),
    Check("start", "is the incumbent", searches.start_is_the_incumbent, "start"),
    Check("start", "a bad one does no harm", searches.bad_start, "start"),
    *(
        Check("special constraints", words, partial(searches.constraints_as_big_m, form=form), form)
        for form, words in CONSTRAINTS.items()
    ),
    Check("manners", "what it lacks is refused", answers.lacks_are_refused),
    Check("manners", "options of every size", answers.any_options),
    Check("manners", "version", answers.version),
    Check("manners", "prints nothing", processes.silence),
    Check("interruption", "Ctrl-C in mid-solve", processes.ctrl_c),
)
