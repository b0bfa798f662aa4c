"""Several systems as one compute what each of them computes."""

import dataclasses
from fractions import Fraction

import numpy as np
from hypothesis import given
from strategies import FEEDBACKS, raw_system, seeds

from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.side_by_side import side_by_side
from vnn_mondeq.system.solve import FixpointSolver


def outputs_of(system: ImplicitSystem, x: np.ndarray) -> np.ndarray:
    return system.output(FixpointSolver(system).solve(x).value, x)


@given(seed=seeds)
def test_outputs_are_those_of_the_parts(seed):
    rng = np.random.default_rng(seed)
    kinds = rng.choice(sorted(FEEDBACKS), size=3)
    parts = [
        raw_system(rng, kind, p=int(rng.integers(0, 5)), d=int(rng.integers(1, 4)), q=2).build()
        for kind in kinds
    ]
    size = 5
    positions = [rng.integers(0, size, part.input_size) for part in parts]
    whole = side_by_side(parts, positions, size, {"y": (6,)})
    x = rng.normal(size=(4, size))
    expected = np.hstack([outputs_of(p, x[:, at]) for p, at in zip(parts, positions, strict=True)])
    found = outputs_of(whole, x)
    bound = FixpointSolver(whole).solve(x).error_bound.max() + 1.0
    np.testing.assert_allclose(found, expected, atol=1e-7 * bound, rtol=1e-7)
    assert whole.proof.modulus == min(part.proof.modulus for part in parts)
    assert whole.proof.norm == max(part.proof.norm for part in parts)
    eigenvalue = np.linalg.eigvalsh(np.eye(whole.neurons) - 0.5 * (whole.W + whole.W.T))
    assert np.all(eigenvalue >= whole.proof.modulus - 1e-9)
    assert [b.stop - b.start for b in whole.blocks] == [
        b.stop - b.start for part in parts for b in part.blocks
    ]


def test_the_sum_of_columns_is_within_its_radius(rng):
    """Three inputs at one place: the float sum of their columns differs from the exact one."""
    part = raw_system(rng, "plain", p=4, d=3, q=2).build()
    whole = side_by_side([part], [np.zeros(3, dtype=int)], 1, part.outputs)
    missed = 0
    for mine, theirs in ((whole.preactivation, part.preactivation), (whole.output, part.output)):
        for i in range(mine.rows):
            exact = sum(Fraction(v) for v in theirs.coefficients.on_x[i])
            distance = abs(exact - Fraction(mine.coefficients.on_x[i, 0]))
            assert distance <= Fraction(mine.radius.on_x[i, 0])
            missed += distance > 0
    assert missed > 0, "no sum was rounded, so the test shows nothing"


def test_distinct_places_need_no_radius_and_keep_what_there_is(rng):
    part = raw_system(rng, "plain", p=3, d=2, q=2).build()
    assert (
        side_by_side([part, part], [np.array([0, 1]), np.array([2, 1])], 3, {}).output.radius
        is None
    )
    c = part.output.coefficients
    spread = Coefficients(np.full_like(c.on_z, 1e-9), np.full_like(c.on_x, 2e-9), np.ones(2))
    inexact = dataclasses.replace(part, output=AffineMap(c, radius=spread))
    whole = side_by_side([part, inexact], [np.array([0, 1]), np.array([2, 1])], 3, {"y": (4,)})
    np.testing.assert_array_equal(whole.output.radius.on_x[:2], 0.0)
    np.testing.assert_array_equal(whole.output.radius.on_x[2:], [[0.0, 2e-9, 2e-9]] * 2)
    np.testing.assert_array_equal(whole.output.radius.offset, [0.0, 0.0, 1.0, 1.0])


def test_a_twin_at_the_same_inputs_is_computed_once(rng):
    part = raw_system(rng, "plain", p=3, d=2, q=2).build()
    whole = side_by_side([part, part, part], [np.array([0, 1])] * 2 + [np.array([1, 0])], 2, {})
    assert whole.neurons == 6
    np.testing.assert_array_equal(
        whole.output.coefficients.on_z[:2], whole.output.coefficients.on_z[2:4]
    )
    assert whole.output_size == 6


def test_auxiliary_inputs_come_behind_those_of_the_files(rng):
    part = raw_system(rng, "plain", p=3, d=3, q=2).build()
    one = dataclasses.replace(
        part, inputs={"x": (2,)}, auxiliary_lower=np.array([-1.0]), auxiliary_upper=np.array([2.0])
    )
    two = dataclasses.replace(one, auxiliary_upper=np.array([3.0]))
    whole = side_by_side([one, two], [np.array([0, 1]), np.array([1, 2])], 3, {"y": (4,)})
    assert (whole.input_size, whole.file_input_size) == (5, 3)
    np.testing.assert_array_equal(whole.auxiliary_upper, [2.0, 3.0])
    x = rng.normal(size=(3, 5))
    expected = np.hstack([outputs_of(one, x[:, [0, 1, 3]]), outputs_of(two, x[:, [1, 2, 4]])])
    np.testing.assert_allclose(outputs_of(whole, x), expected, atol=1e-9)
