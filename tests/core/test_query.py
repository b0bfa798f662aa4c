"""Queries, results and systems as values: what must not be constructible is not."""

from fractions import Fraction

import numpy as np
import pytest
from strategies import constraint, raw_system, robustness_query

from vnn_mondeq.errors import ModelError, NotMonotoneError
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.query.query import LinearConstraint
from vnn_mondeq.result import (
    AbstractCertificate,
    CheckedCertificate,
    Reason,
    Result,
    Verdict,
    Witness,
)
from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.implicit import dense_system


class _Claim(AbstractCertificate):
    def summary(self) -> str:
        return "a claim"


def test_linear_constraint_value_is_exact_for_thirds():
    row = LinearConstraint({0: Fraction(1, 3)}, {2: Fraction(-1, 7)}, Fraction(1, 21), True)
    assert row.value({0: Fraction(1, 7)}, {2: Fraction(1, 3)}) == Fraction(1, 21)


def test_robustness_query_has_one_case_for_each_other_class():
    inputs = Box.from_floats(np.zeros(2), np.ones(2))
    query = robustness_query(inputs, 1, 2, 4)
    assert [sorted(case.constraints[0].y) for case in query.cases] == [[0, 1], [1, 2], [1, 3]]
    assert constraint({0: 1.0}, 0.5).value({}, {0: Fraction(-1, 2)}) == 0


@pytest.mark.parametrize("verdict", list(Verdict))
def test_result_without_its_evidence_cannot_be_built(verdict):
    with pytest.raises(ValueError):
        Result(verdict)


def test_result_does_not_accept_the_evidence_of_the_other_verdict():
    witness = Witness({}, {}, 1.0, "test")
    certificate = CheckedCertificate(_Claim(), 1.0, "test")
    with pytest.raises(ValueError):
        Result(Verdict.UNSAT, witness=witness)
    with pytest.raises(ValueError):
        Result(Verdict.SAT, certificate=certificate)
    with pytest.raises(ValueError):
        Result(Verdict.TIMED_OUT, reason=Reason.ROUNDING)


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan")])
def test_checked_certificate_needs_a_positive_margin(margin):
    with pytest.raises(ValueError):
        CheckedCertificate(_Claim(), margin, "test")


def test_dense_system_refuses_feedback_that_is_not_monotone():
    with pytest.raises(NotMonotoneError):
        dense_system(2.0 * np.eye(2), np.eye(2), np.zeros(2), np.eye(2), np.zeros(2))


@pytest.mark.parametrize("p", [0, 1, 5])
def test_dense_system_keeps_sizes_for_every_p(rng, p):
    raw = raw_system(rng, "plain", p, 3, 2)
    system = raw.build()
    assert (system.neurons, system.input_size, system.output_size) == (p, 3, 2)
    z, x = rng.normal(size=(4, p)), rng.normal(size=(4, 3))
    assert np.allclose(system.output(z, x), z @ raw.G.T + x @ raw.H.T + raw.g)


@pytest.mark.parametrize("where", range(5))
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_dense_system_refuses_arrays_that_are_not_finite(rng, where, bad):
    arrays = [np.zeros((2, 2)), np.zeros((2, 3)), np.zeros(2), np.zeros((2, 2)), np.zeros(2)]
    arrays[where] = arrays[where].copy()
    arrays[where].flat[0] = bad
    with pytest.raises(ModelError):
        dense_system(*arrays)


def test_dense_system_refuses_shapes_that_do_not_fit():
    W, U, b, G, g = np.zeros((2, 2)), np.zeros((2, 3)), np.zeros(2), np.zeros((2, 2)), np.zeros(2)
    for bad in (
        (np.zeros((2, 3)), U, b, G, g),
        (W, np.zeros((3, 3)), b, G, g),
        (W, U, np.zeros(3), G, g),
        (W, U, b, np.zeros((2, 3)), g),
        (W, U, b, G, np.zeros(3)),
    ):
        with pytest.raises(ValueError):
            dense_system(*bad)
    with pytest.raises(ValueError):
        dense_system(W, U, b, G, g, np.zeros((2, 2)))


def test_coefficients_refuse_rows_that_disagree():
    with pytest.raises(ValueError):
        Coefficients(np.zeros((2, 2)), np.zeros((3, 2)), np.zeros(2))


def test_coefficients_magnitude_is_an_upper_bound(rng):
    c = Coefficients(*(np.abs(rng.normal(size=s)) for s in ((3, 40), (3, 50), (3,))))
    z, x = np.abs(rng.normal(size=40)), np.abs(rng.normal(size=50))
    for i, value in enumerate(c.magnitude(z, x)):
        exact = Fraction(float(c.offset[i]))
        exact += sum(
            Fraction(float(a)) * Fraction(float(t)) for a, t in zip(c.on_z[i], z, strict=True)
        )
        exact += sum(
            Fraction(float(a)) * Fraction(float(t)) for a, t in zip(c.on_x[i], x, strict=True)
        )
        assert Fraction(float(value)) >= exact


def test_coefficients_take_and_combine_agree(rng):
    c = Coefficients(rng.normal(size=(3, 2)), rng.normal(size=(3, 1)), rng.normal(size=3))
    chosen = c.take(np.array([2, 0]))
    combined = c.combine(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]))
    for left, right in (
        (chosen.on_z, combined.on_z),
        (chosen.on_x, combined.on_x),
        (chosen.offset, combined.offset),
    ):
        assert np.array_equal(left, right)


def test_affine_map_evaluates_batches(rng):
    c = Coefficients(rng.normal(size=(2, 3)), rng.normal(size=(2, 4)), rng.normal(size=2))
    z, x = rng.normal(size=(5, 3)), rng.normal(size=(5, 4))
    values = AffineMap(c)(z, x)
    assert values.shape == (5, 2)
    assert np.allclose(values[3], c.on_z @ z[3] + c.on_x @ x[3] + c.offset)
