"""The cvxpy statements: above the exact optimum, strengthened where bounds are given, and the
oracle of the structured solvers."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from oracle import LinearOracle, float_fixpoint
from strategies import FEEDBACKS, raw_system

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.query.input_set import Box, HalfSpace, Intersection, LqBall

pytest.importorskip("cvxpy", reason="the reference statements need the extra 'sdp'")

from vnn_mondeq.sdp.ascent import AscentSettings, ascend
from vnn_mondeq.sdp.lipschitz import lipschitz_bound
from vnn_mondeq.sdp.phases import scaled_form
from vnn_mondeq.sdp.reference import UpperBounds, ellipsoid, lipschitz, robustness
from vnn_mondeq.sdp.shor import ShorDual

SOLVER = 1e-5
"""Clarabel's accuracy on these small programs, relative to `1 + |optimum|`."""


def drawn(seed, kind="plain", p=4):
    raw = raw_system(np.random.default_rng([401, seed]), kind, p, 2, 2)
    lower, upper = np.full(2, -0.6), np.full(2, 0.4)
    return raw, Box.from_floats(lower, upper), LinearOracle(raw.W, raw.U, raw.b, lower, upper)


def largest(raw, oracle, row):
    return -oracle.minimum(-raw.G[row], -raw.H[row], -raw.g[row]).value


def exact_bounds(oracle):
    top_z, top_s = oracle.neuron_bounds()
    # Nearly zero means zero up to the oracle's tolerance: the neuron is decided.
    upper_z, upper_s = np.maximum(top_z, 0.0), np.maximum(top_s, 0.0)
    return UpperBounds(
        np.where(upper_z < 1e-7, 0.0, upper_z + 1e-6), np.where(upper_s < 1e-7, 0.0, upper_s + 1e-6)
    )


@pytest.mark.parametrize("kind", ("plain", "mixed", "rotating"))
def test_relaxations_lie_above_the_optimum_and_in_order(kind):
    gained = []
    for seed in range(3):
        raw, box, oracle = drawn(seed, kind)
        best = largest(raw, oracle, 0)
        row = raw.G[0], raw.H[0], raw.g[0]
        plain = robustness(raw.build(), box, *row)
        strong = robustness(raw.build(), box, *row, exact_bounds(oracle))
        assert plain.status == strong.status == "optimal"
        slack = SOLVER * (1.0 + abs(best))
        assert best - slack <= strong.value <= plain.value + slack
        gained.append(plain.value - strong.value)
    assert max(gained) > 1e-3


def decided_signs(raw, form, bounds):
    """`0 <= z_i/Z_i <= 1` of active and `0 <= s_i/S_i <= 1` of inactive neurons, as further rows
    `A ẑ - B ξ - e`: the reference keeps them, `scaled_form` drops them."""
    active, undecided = form.elimination.active, form.elimination.undecided
    on_z = np.zeros((raw.p, undecided.size))
    on_x, constant = np.zeros((raw.p, form.varying.size)), np.zeros(raw.p)
    on_z[undecided, np.arange(undecided.size)] = form.scale_z
    on_z[active] = -form.elimination.from_undecided * form.scale_z
    on_x[active], constant[active] = form.elimination.from_inputs, form.elimination.constant
    M, inactive = np.eye(raw.p) - raw.W, np.flatnonzero(bounds.upper_z == 0.0)
    slack_x = M @ on_x - raw.U[:, form.varying] * form.half[form.varying]
    slack_0 = M @ constant - raw.U @ form.center - raw.b
    unit_z, unit_s = bounds.upper_z[active, None], bounds.upper_s[inactive, None]
    rows = [
        np.vstack([part[active] / unit_z, other[inactive] / unit_s])
        for part, other in (
            (on_z, M @ on_z),
            (on_x, slack_x),
            (constant[:, None], slack_0[:, None]),
        )
    ]
    return rows[0], -rows[1], -rows[2][:, 0]


@pytest.mark.parametrize("kind", FEEDBACKS)
def test_structured_robustness_bound_is_the_optimum_of_the_reference_statement(kind):
    """Same bounds, same products: same optimum, from two formulations and two solvers."""
    compared = decided = 0
    for seed in range(6):
        raw, box, oracle = drawn(seed, kind)
        bounds = exact_bounds(oracle)
        form = scaled_form(raw.build(), box.lower, box.upper, bounds.upper_z, bounds.upper_s)
        on_z, on_x, constant = form.row(raw.G[0], raw.H[0])
        more = decided_signs(raw, form, bounds)
        data = (np.concatenate(pair) for pair in zip((form.A, form.B, form.e), more, strict=True))
        dual = ShorDual(*data, on_z, on_x)
        reference = robustness(raw.build(), box, raw.G[0], raw.H[0], raw.g[0], bounds)
        if form.e.size == 0 or reference.status != "optimal":
            continue
        found = ascend(dual, -np.inf, AscentSettings.accurate(1e-6), Deadline.after(30.0))
        ours = found.best.bound + constant + raw.g[0]
        assert abs(ours - reference.value) <= SOLVER * (1.0 + abs(reference.value))
        compared += 1
        decided += form.e.size < raw.p
    assert compared >= 3
    assert decided >= 1


def test_output_bias_is_part_of_the_model():
    raw, box, _ = drawn(0)
    row = raw.G[0], raw.H[0]
    low, high = (robustness(raw.build(), box, *row, offset).value for offset in (0.0, 5.0))
    assert high - low == pytest.approx(5.0, abs=1e-4)


def test_smaller_input_sets_have_smaller_bounds():
    raw, box, _ = drawn(1)
    center = tuple(Fraction(-1, 10) for _ in range(2))
    ball = LqBall(2, 2, np.arange(2), center, Fraction(1, 4))
    half = HalfSpace(2, {0: Fraction(1), 1: Fraction(1)}, Fraction(0), False)
    row = raw.G[0], raw.H[0], raw.g[0]
    values = {
        name: robustness(raw.build(), inputs, *row).value
        for name, inputs in {
            "box": box,
            "ball": ball,
            "both": Intersection((box, ball)),
            "cut": Intersection((box, half)),
        }.items()
    }
    assert values["both"] <= min(values["box"], values["ball"]) + SOLVER
    assert values["cut"] <= values["box"] + SOLVER
    for x in itertools.product(np.linspace(-0.6, 0.4, 7), repeat=2):
        value = raw.G[0] @ float_fixpoint(raw.W, raw.U @ x + raw.b) + raw.H[0] @ x + raw.g[0]
        for name, inputs in (("box", box), ("ball", ball)):
            if inputs.contains(np.array(x)):
                assert value <= values[name] + SOLVER * (1.0 + abs(value))


def test_other_sets_are_refused():
    raw, _, _ = drawn(0)
    diamond = LqBall(1, 2, np.arange(2), (Fraction(0), Fraction(0)), Fraction(1))
    with pytest.raises(ValueError, match="LqBall"):
        robustness(raw.build(), diamond, raw.G[0], raw.H[0], 0.0)
    with pytest.raises(ValueError, match="bounded"):
        everything = Box.from_floats(np.full(2, -np.inf), np.full(2, np.inf))
        robustness(raw.build(), everything, raw.G[0], raw.H[0], 0.0)


@pytest.mark.parametrize("norm", (2, np.inf))
def test_lipschitz_model_lies_above_gradients_and_the_structured_bound_below_it(norm):
    for seed in range(2):
        raw, box, _ = drawn(seed, p=3)
        raw = type(raw)(raw.W, raw.U, raw.b, raw.G, np.zeros_like(raw.H), raw.g)
        found = lipschitz(raw.build(), raw.G, box, norm)
        assert found.status == "optimal"
        slopes = []
        for x in np.random.default_rng(402).uniform(-0.6, 0.4, size=(50, 2)):
            on = np.diag((float_fixpoint(raw.W, raw.U @ x + raw.b) > 0.0).astype(float))
            J = raw.G @ np.linalg.solve(np.eye(raw.p) - on @ raw.W, on @ raw.U)
            slopes.append(np.linalg.norm(J, norm))
        assert found.value >= max(slopes) * (1.0 - SOLVER)
        assert lipschitz_bound(raw.build(), norm, box=box).value >= max(slopes)


def test_ellipsoids_contain_outputs_and_shrink_with_more_terms():
    gained = []
    for seed in range(3):
        raw, box, oracle = drawn(seed)
        plain = ellipsoid(raw.build(), box, pairs=False)
        paired = ellipsoid(raw.build(), box)
        strong = ellipsoid(raw.build(), box, bounds=exact_bounds(oracle))
        # The value is log det Q: larger is smaller in volume.
        assert plain.value <= paired.value + 1e-4 <= strong.value + 2e-4
        gained.append(paired.value - plain.value)
        for x in np.random.default_rng(403).uniform(-0.6, 0.4, size=(100, 2)):
            y = raw.G @ float_fixpoint(raw.W, raw.U @ x + raw.b) + raw.H @ x + raw.g
            for found in (plain, paired, strong):
                assert np.linalg.norm(found.arrays["Q"] @ y + found.arrays["b"]) <= 1.0 + 1e-4
    assert max(gained) > 1e-4
