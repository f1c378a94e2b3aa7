"""How a question is asked: method, solver and switches, each checked, and what goes together."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.choices import BY_MILP, BY_PROPAGATION, METHODS, SWITCHES, applicable, goal_of
from networks.errors import InputError
from solvers.backend import SolverOptions
from solvers.formulation import OWN_STABLE, Formulation, check_choice
from solvers.registry import get

# What a switch is where it is not asked for; `stable` then is what the formulation has.
USUAL = {name: values[0] for name, values in SWITCHES.items()}


@dataclass(frozen=True, slots=True)
class Settings:
    """One way to answer; `bench.verify` says what each switch means. None is the usual value.

    Attributes
    ----------
    exact : bool
        Whether LPs are certified by rational arithmetic.
    switches : dict
        The switches that mean something to the method, by name, each with its value.
    form : Formulation
        Those of them that shape the model.

    Raises
    ------
    InputError
        An unknown word, or a switch that the method, the goal or the solver does not have.
    """

    method: str
    solver: str
    options: SolverOptions
    bounds: str | None = None
    goal: str | None = None
    formulation: str | None = None
    stable: str | None = None
    relu: str | None = None
    query: str | None = None
    stop: str | None = None
    start: str | None = None
    exact: bool = False
    switches: dict[str, str] = field(init=False)
    form: Formulation = field(init=False)

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        for name, choices in SWITCHES.items():
            if getattr(self, name) is not None:
                check_choice(name, getattr(self, name), choices)
        for name, value in self._usual().items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        object.__setattr__(self, "goal", goal_of(self.method, str(self.goal)))
        names = applicable(self.method, str(self.goal))
        object.__setattr__(self, "switches", {name: getattr(self, name) for name in names})
        self._refuse_what_means_nothing()
        object.__setattr__(
            self, "form", Formulation(str(self.formulation), self.stable, str(self.relu), str(self.query))
        )
        if self.by_solver:
            self._check_solver()
        elif self.exact:
            raise InputError(f"exact is asked of method {self.method}, which solves no LP; expected lp, milp or staged")
        if self.options.node_limit is not None and self.method not in BY_MILP:
            raise InputError(
                f"node limit is asked of method {self.method}, which solves no MILP; expected milp or staged"
            )

    @property
    def by_solver(self) -> bool:
        """Whether a solver has a part in it."""
        return self.method not in BY_PROPAGATION

    @property
    def bounds_used(self) -> str:
        """The pre-activation bounds that an answer rests on."""
        return str(self.bounds) if self.by_solver else self.method

    @property
    def relaxation(self) -> bool:
        """Whether the model is the LP relaxation."""
        return self.method == "lp"

    def _usual(self) -> dict[str, str]:
        rows = self.formulation or USUAL["formulation"]
        return USUAL | {"stable": OWN_STABLE[rows]}

    def _refuse_what_means_nothing(self) -> None:
        for name, value in self._usual().items():
            given = getattr(self, name)
            if given != value and name not in self.switches and name != "goal":
                goal = f" with goal {self.goal}" if self.by_solver else ""
                raise InputError(f"{name} is {given!r}, but method {self.method}{goal} has no such switch")

    def _check_solver(self) -> None:
        """Raise InputError where the solver is unknown, missing, or lacks what the switches ask for."""
        backend = get(self.solver)
        needs = {
            "mip": ("MILPs", self.method in BY_MILP),
            "indicators": ("indicator constraints", self.relu == "indicator"),
            "sos1": ("SOS1 constraints", self.relu == "sos1"),
            "start": ("MIP starts", self.start == "witness"),
            "node_limit": ("limit on nodes", self.options.node_limit is not None),
        }
        for capability, (words, asked) in needs.items():
            if asked:
                backend.require(capability, words)
