"""The encoding against brute force over activation patterns, and its shape."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from networks.bounds.interval import interval_bounds, interval_margins
from networks.errors import InputError, NumericsError
from networks.instance import Instance, ball
from networks.layers import Conv2d, Flatten, LayerList, Linear, ReLU
from networks.lowering import Affine, LoweredNetwork, lower
from solvers.backend import SolverOptions
from solvers.encode import encode
from solvers.encoding import Encoding, objective_at_most
from solvers.formulation import RELU, ROWS, STABLE, Formulation
from solvers.registry import get
from solvers.result import Status
from tests.oracles import brute_force_margins

EXACT = 1e-6
OPTIONS = SolverOptions(mip_gap=1e-9)
FORMULATION = pytest.mark.parametrize("formulation", ROWS)


def _linear(rng: np.random.Generator, inputs: int, outputs: int) -> Linear:
    # Some biases are large enough for neurons that are always or never active, some weights are zero.
    bias = rng.normal(0.0, 0.3, outputs) + rng.choice([0.0, 0.0, -8.0, 8.0], outputs)
    return Linear(rng.normal(size=(outputs, inputs)) * (rng.random((outputs, inputs)) < 0.9), bias)


def _conv(rng: np.random.Generator) -> Conv2d:
    return Conv2d(rng.normal(size=(2, 1, 2, 2)), rng.normal(0.0, 0.3, 2), stride=(2, 2), padding=(1, 0))


ARCHITECTURES: dict[str, Callable[[np.random.Generator], LayerList]] = {
    "two hidden layers": lambda rng: LayerList(
        (3,), (_linear(rng, 3, 4), ReLU(), _linear(rng, 4, 3), ReLU(), _linear(rng, 3, 3))
    ),
    "convolution": lambda rng: LayerList(
        (1, 3, 2), (_conv(rng), ReLU(), Flatten(), _linear(rng, 4, 2), ReLU(), _linear(rng, 2, 3))
    ),
    "convolution at the end": lambda rng: LayerList((1, 3, 2), (ReLU(), _conv(rng), Flatten())),
    "ReLU first": lambda rng: LayerList((3,), (ReLU(), _linear(rng, 3, 3), ReLU(), _linear(rng, 3, 2))),
    "ReLU last": lambda rng: LayerList((2,), (_linear(rng, 2, 3), ReLU(), _linear(rng, 3, 3), ReLU())),
    "ReLU twice": lambda rng: LayerList((2,), (_linear(rng, 2, 3), ReLU(), ReLU(), _linear(rng, 3, 2))),
    "two affine layers": lambda rng: LayerList(
        (3,), (_linear(rng, 3, 2), _linear(rng, 2, 4), ReLU(), _linear(rng, 4, 2))
    ),
    "no ReLU": lambda rng: LayerList((3,), (_linear(rng, 3, 2), _linear(rng, 2, 3))),
    "only ReLU": lambda rng: LayerList((3,), (ReLU(),)),
}


@st.composite
def questions(draw: st.DrawFn) -> tuple[LayerList, Instance]:
    """A small network and a box around an input; some boxes are points."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    network = ARCHITECTURES[draw(st.sampled_from(sorted(ARCHITECTURES)))](rng)
    image = rng.uniform(-1.0, 1.0, network.input_shape)
    label = int(network.forward(image[None])[0].argmax())
    return network, ball(network, image, label, draw(st.sampled_from((0.0, 0.1, 0.5, 2.0))), clip=None)


def encoded(
    network: LayerList, instance: Instance, relaxation: bool, rows: str, formulation: Formulation | None = None
) -> Encoding:
    bounds = [(low[0], high[0]) for low, high in interval_bounds(network, instance.lower[None], instance.upper[None])]
    box, lowered = (instance.lower, instance.upper), lower(network)
    margins = interval_margins(network, instance.lower[None], instance.upper[None], instance.margins)
    return encode(
        lowered,
        box,
        lowered.pre_activations(bounds, box),
        instance.margins,
        relaxation=relaxation,
        formulation=formulation or Formulation(rows),
        margin_bounds=(margins[0][0], margins[1][0]),
    )


def minima(encoding: Encoding, solver: str = "highs") -> list[float]:
    """The dual bound of every target, each solved to optimality in one session."""
    found = []
    with get(solver).load(encoding.model, OPTIONS) as session:
        for objective, offset in zip(encoding.objectives, encoding.offsets, strict=True):
            session.set_objective(objective, float(offset))
            result = session.solve()
            assert result.status is Status.OPTIMAL, result.message
            found.append(result.dual_bound)
    return found


@settings(max_examples=30, deadline=None)
@given(question=questions())
def test_milp_is_the_minimum_over_all_activation_patterns(question: tuple[LayerList, Instance]) -> None:
    network, instance = question
    exact = pytest.approx(brute_force_margins(network, instance), abs=EXACT, rel=EXACT)
    assert minima(encoded(network, instance, False, "compact")) == exact
    assert minima(encoded(network, instance, False, "textbook")) == exact


@settings(max_examples=40, deadline=None)
@given(question=questions(), seed=st.integers(0, 2**32 - 1))
def test_relaxations_agree_and_lie_below_the_milp_below_every_point(
    question: tuple[LayerList, Instance], seed: int
) -> None:
    network, instance = question
    compact = np.array(minima(encoded(network, instance, True, "compact")))
    textbook = np.array(minima(encoded(network, instance, True, "textbook")))
    exact = np.array(minima(encoded(network, instance, False, "compact")))
    points = np.random.default_rng(seed).uniform(instance.lower, instance.upper, (50, *network.input_shape))
    sampled = (network.forward(points).reshape(50, -1) @ instance.margins.T).min(axis=0)
    slack = EXACT * np.maximum(1.0, np.abs(exact))
    np.testing.assert_allclose(compact, textbook, rtol=EXACT, atol=EXACT)
    assert (compact <= exact + slack).all()
    assert (exact <= sampled + slack).all()


@FORMULATION
@pytest.mark.parametrize("relaxation", [False, True])
def test_the_model_of_a_point_has_the_margins_of_the_point(formulation: str, relaxation: bool) -> None:
    network = ARCHITECTURES["two hidden layers"](np.random.default_rng(3))
    image = np.array([0.2, 0.9, 0.4])
    instance = ball(network, image, 1, 0.0)
    margins = network.forward(image[None])[0] @ instance.margins.T
    assert minima(encoded(network, instance, relaxation, formulation)) == pytest.approx(margins, abs=EXACT)


@pytest.mark.parametrize("solver", ["highs", "gurobi", "cbc"])
@pytest.mark.parametrize("name", ["no ReLU", "ReLU first", "convolution"])
def test_every_solver_takes_every_architecture(solver: str, name: str) -> None:
    network = ARCHITECTURES[name](np.random.default_rng(5))
    instance = ball(network, np.full(network.input_shape, 0.25), 0, 0.5, clip=None)
    exact = pytest.approx(brute_force_margins(network, instance), abs=1e-5)
    assert minima(encoded(network, instance, False, "compact"), solver) == exact


def one_neuron(low: float, high: float, relaxation: bool, formulation: str) -> Encoding:
    """`f(x) = (relu(x), 0)` for x in [low, high], with these as the bounds of the neuron."""
    hidden = Affine(sparse.csr_array(np.eye(1)), np.zeros(1), 0)
    last = Affine(sparse.csr_array(np.array([[1.0], [0.0]])), np.zeros(2), 2)
    bounds = np.array([low]), np.array([high])
    margins = np.array([[1.0, -1.0], [-1.0, 1.0]])
    network = LoweredNetwork((hidden, last))
    return encode(network, bounds, [bounds], margins, relaxation=relaxation, formulation=Formulation(formulation))


@FORMULATION
@pytest.mark.parametrize("relaxation", [False, True])
@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [(-1.0, 0.0, "inactive"), (0.0, 1.0, "active"), (0.0, 0.0, "inactive"), (-2.0, -1.0, "inactive")],
)
def test_bounds_that_touch_zero_make_a_neuron_stable(
    low: float, high: float, kind: str, relaxation: bool, formulation: str
) -> None:
    encoding = one_neuron(low, high, relaxation, formulation)
    counts = {"active": encoding.active_count, "inactive": encoding.inactive_count}
    assert (encoding.unstable_count, counts) == (0, {"active": 0, "inactive": 0, kind: 1})
    assert minima(encoding) == pytest.approx([max(low, 0.0), -max(high, 0.0)], abs=EXACT)


def test_the_relaxation_of_one_neuron_is_the_triangle() -> None:
    # At the triangle's corners: relu >= 0 at x <= 0, and the chord from (-1, 0) to (2, 2) bounds relu(2) = 2.
    assert minima(one_neuron(-1.0, 2.0, True, "compact")) == pytest.approx([0.0, -2.0], abs=EXACT)


def stable_and_unstable() -> tuple[LayerList, Instance]:
    """Five neurons on inputs in [-1, 1]: one active, two inactive, two unstable; then one active."""
    first = Linear(np.array([[1.0], [1.0], [1.0], [1.0], [-1.0]]), np.array([3.0, -3.0, -2.0, 0.0, 0.5]))
    second = Linear(np.ones((1, 5)), np.array([1.0]))
    network = LayerList((1,), (first, ReLU(), second, ReLU(), Linear(np.array([[1.0], [-1.0]]), np.zeros(2))))
    return network, ball(network, np.zeros(1), 0, 1.0, clip=None)


def test_compact_gives_stable_neurons_no_binary_and_inactive_ones_nothing() -> None:
    encoding = encoded(*stable_and_unstable(), False, "compact")
    counts = encoding.unstable_count, encoding.active_count, encoding.inactive_count
    assert counts == (2, 2, 2)
    assert encoding.model.integer.sum() == 2
    # x; z of 4 neurons; p and v of 2. A row of weights a live neuron, two rows more an unstable one.
    assert (encoding.model.column_count, encoding.model.row_count) == (1 + 4 + 2 + 2, 4 + 2 * 2)


def test_textbook_gives_every_neuron_a_binary_and_four_rows() -> None:
    encoding = encoded(*stable_and_unstable(), False, "textbook")
    assert encoding.model.integer.sum() == 6
    assert (encoding.model.column_count, encoding.model.row_count) == (1 + 2 * 6, 4 * 6)


@FORMULATION
def test_the_relaxation_is_the_same_model_without_integrality(formulation: str) -> None:
    milp, relaxed = (encoded(*stable_and_unstable(), relaxation, formulation).model for relaxation in (False, True))
    assert milp.is_mip
    assert not relaxed.is_mip
    np.testing.assert_array_equal(milp.A.toarray(), relaxed.A.toarray())
    for name in ("c", "row_lower", "row_upper", "col_lower", "col_upper"):
        np.testing.assert_array_equal(getattr(milp, name), getattr(relaxed, name))


def unstable_network() -> tuple[LayerList, Instance]:
    """Small biases and a wide box: every one of its seven neurons is unstable."""
    rng = np.random.default_rng(0)
    layers = (
        Linear(rng.normal(size=(4, 3)), rng.normal(0.0, 0.1, 4)),
        ReLU(),
        Linear(rng.normal(size=(3, 4)), rng.normal(0.0, 0.1, 3)),
        ReLU(),
        Linear(rng.normal(size=(3, 3)), rng.normal(size=3)),
    )
    network = LayerList((3,), layers)
    return network, ball(network, np.zeros(3), 0, 1.0, clip=None)


SWITCHED = [
    Formulation(rows, stable, relu, query)
    for rows, stable, relu, query in itertools.product(ROWS, STABLE, RELU, ("each", "maximum"))
    if rows == "compact" or relu == "bigm"
]


@pytest.mark.parametrize("form", SWITCHED, ids=str)
@pytest.mark.parametrize("question", [unstable_network, stable_and_unstable])
def test_a_run_of_the_network_is_a_solution_with_the_margins_as_objectives(
    form: Formulation, question: Callable[[], tuple[LayerList, Instance]]
) -> None:
    network, instance = question()
    encoding = encoded(network, instance, False, "", form)
    for point in np.random.default_rng(1).uniform(-1.0, 1.0, (20, encoding.input_count)):
        x = encoding.solution_at(point)
        assert encoding.model.violation(x) < 1e-12
        np.testing.assert_array_equal(encoding.input_of(x), point)
        margins = instance.margins @ network.forward(point[None])[0]
        expected = margins if form.query == "each" else [margins.min()]
        np.testing.assert_allclose(encoding.objectives @ x + encoding.offsets, expected, atol=1e-12)


@settings(max_examples=12, deadline=None)
@given(question=questions(), form=st.sampled_from(SWITCHED))
def test_every_switch_keeps_the_minimum_over_all_activation_patterns(
    question: tuple[LayerList, Instance], form: Formulation
) -> None:
    network, instance = question
    exact = brute_force_margins(network, instance)
    expected = exact if form.query == "each" else [exact.min()]
    found = minima(encoded(network, instance, False, "", form), "highs" if form.relu == "bigm" else "gurobi")
    assert found == pytest.approx(expected, abs=10 * EXACT, rel=10 * EXACT)


@pytest.mark.parametrize("rows", ROWS)
def test_stable_neurons_keep_their_binary_where_they_are_kept_and_lose_it_where_not(rows: str) -> None:
    counts = {
        stable: int(encoded(*stable_and_unstable(), False, "", Formulation(rows, stable)).model.integer.sum())
        for stable in STABLE
    }
    assert counts == {"eliminate": 2, "keep": 6}


def test_sos1_needs_no_binary_and_indicators_no_big_m() -> None:
    plain, indicator, sos1 = (encoded(*unstable_network(), False, "", Formulation(relu=relu)).model for relu in RELU)
    assert (int(indicator.integer.sum()), int(sos1.integer.sum())) == (7, 0)
    assert (len(indicator.indicators), len(sos1.sos1)) == (2 * 7, 7)
    assert plain.row_count - indicator.row_count == plain.row_count - sos1.row_count == 2 * 7


def test_margins_that_are_nothing_blow_up_no_weights_of_the_maximum() -> None:
    """Inputs below zero behind a ReLU: every output is zero, and the bounds on the margins are noise."""
    network = LayerList((3,), (ReLU(),))
    instance = ball(network, np.array([-0.8, -0.7, -0.2]), 0, 0.0, clip=None)
    encoding = encoded(network, instance, False, "", Formulation(stable="keep", query="maximum"))
    assert np.abs(encoding.model.A.data).max() <= 2.0**31
    assert minima(encoding, "highs") == pytest.approx([0.0], abs=EXACT)


def test_the_maximum_needs_bounds_on_the_margins() -> None:
    network, instance = unstable_network()
    box = instance.lower, instance.upper
    bounds = [(low[0], high[0]) for low, high in interval_bounds(network, box[0][None], box[1][None])]
    lowered = lower(network)
    pre_activations = lowered.pre_activations(bounds, box)
    with pytest.raises(InputError, match="'maximum' needs finite bounds on the margins"):
        encode(lowered, box, pre_activations, instance.margins, formulation=Formulation(query="maximum"))


@pytest.mark.parametrize("form", [Formulation(relu="sos1"), Formulation(query="maximum")])
def test_what_has_no_relaxation_is_refused_as_one(form: Formulation) -> None:
    with pytest.raises(InputError, match="expected 'bigm' and 'each'"):
        encoded(*unstable_network(), True, "", form)


def test_a_row_leaves_no_solution_with_a_larger_objective() -> None:
    encoding = encoded(*unstable_network(), False, "compact")
    least = minima(encoding)[0]
    for limit, status in ((least - 0.01, Status.INFEASIBLE), (least + 0.01, Status.OPTIMAL)):
        with get("highs").load(objective_at_most(encoding.model, limit), OPTIONS) as session:
            assert session.solve().status is status


def test_a_convolution_is_encoded_as_its_sparse_matrix() -> None:
    network = ARCHITECTURES["convolution"](np.random.default_rng(8))
    encoding = encoded(network, ball(network, np.zeros((1, 3, 2)), 0, 100.0, clip=None), False, "compact")
    # Padded to 5 by 2, a 2 by 2 kernel in steps of 2 takes 4 + 2 pixels a channel: it lies half in the padding once.
    assert encoding.unstable_count == math.prod(network.shapes[0]) + 2
    first_layer = encoding.model.A[:, : encoding.input_count]
    assert first_layer.nnz == 2 * (2 + 4)


def test_an_unknown_formulation_is_refused() -> None:
    with pytest.raises(InputError, match="formulation is 'tight'; expected one of compact, textbook"):
        encoded(*stable_and_unstable(), False, "tight")


def test_a_bound_that_overflowed_is_refused_with_its_neuron() -> None:
    layers = (Linear(np.full((2, 2), 1e200), np.zeros(2)), ReLU()) * 2
    network = LayerList((2,), layers)
    with pytest.raises(NumericsError, match=r"neuron 0 of ReLU layer 1 has the pre-activation bounds \[-inf, inf\]"):
        encoded(network, ball(network, np.full(2, 0.5), 0, 0.1), False, "compact")
