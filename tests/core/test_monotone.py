"""The proof of strong monotonicity: never of what is false, checked in exact rationals."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import rational, smallest_eigenvalue_exceeds
from strategies import FEEDBACKS, seeds
from tolerances import TIGHTNESS_NORM

from vnn_mondeq.definite import cholesky_defect, eigenvalue_lower_bound
from vnn_mondeq.errors import NotMonotoneError
from vnn_mondeq.system.monotone import (
    prove_strong_monotonicity,
    spectral_norm_upper_bound,
)


def symmetric_part_of_I_minus(W: np.ndarray) -> list[list[Fraction]]:
    exact, p = rational(W), len(W)
    return [
        [Fraction(int(i == j)) - (exact[i][j] + exact[j][i]) / 2 for j in range(p)]
        for i in range(p)
    ]


def gram_of(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    columns = list(zip(*matrix, strict=True))
    return [
        [sum((a * b for a, b in zip(u, v, strict=True)), Fraction(0)) for v in columns]
        for u in columns
    ]


def exceeds_norm(matrix: list[list[Fraction]], bound: Fraction) -> bool:
    """Whether `bound >= ‖matrix‖₂`, exactly (up to one part in 10^40 above)."""
    gram = gram_of(matrix)
    negative = [[-v for v in row] for row in gram]
    square = bound * bound
    return smallest_eigenvalue_exceeds(negative, -square - square / 10**40)


def known_spectrum(p: int, smallest: Fraction) -> np.ndarray:
    """Integer-like `W` whose `I - W` has symmetric part `smallest * eeᵀ/p + (I - eeᵀ/p) p`
    scaled to be dyadic: eigenvalue `smallest` at `e = (1, ..., 1)`."""
    value = float(smallest)
    part = p * np.eye(p) - np.ones((p, p)) + (value / p) * np.ones((p, p))
    return np.eye(p) - part


@pytest.mark.parametrize("kind", sorted(FEEDBACKS))
def test_proof_bounds_hold_exactly_for_every_kind(rng, kind):
    for p in (1, 2, 6, 9):
        W = FEEDBACKS[kind](rng, p)
        proof = prove_strong_monotonicity(W)
        part = symmetric_part_of_I_minus(W)
        assert smallest_eigenvalue_exceeds(
            part, Fraction(proof.modulus) * (1 - Fraction(1, 10**30))
        )
        M = [
            [Fraction(int(i == j)) - v for j, v in enumerate(row)]
            for i, row in enumerate(rational(W))
        ]
        assert exceeds_norm(M, Fraction(proof.norm))


@pytest.mark.parametrize("kind", sorted(FEEDBACKS))
def test_proof_is_tight_for_every_kind(rng, kind):
    W = FEEDBACKS[kind](rng, 7)
    proof = prove_strong_monotonicity(W)
    M = np.eye(7) - W
    smallest = np.linalg.eigvalsh(0.5 * (M + M.T))[0]
    assert proof.modulus >= smallest * (1 - TIGHTNESS_NORM)
    assert proof.norm <= np.linalg.norm(M, 2) * (1 + TIGHTNESS_NORM)


@pytest.mark.parametrize("p", [2, 4, 8, 16])
@pytest.mark.parametrize("exponent", [10, 20, 30, 40, 45, 48, 52])
def test_negative_or_zero_eigenvalue_is_never_proved(p, exponent):
    # p a power of two keeps every entry dyadic, so the eigenvalue is exactly what is asked.
    for smallest in (Fraction(0), -Fraction(1, 2**exponent)):
        W = known_spectrum(p, smallest)
        assert not smallest_eigenvalue_exceeds(symmetric_part_of_I_minus(W), Fraction(0))
        with pytest.raises(NotMonotoneError):
            prove_strong_monotonicity(W)


@pytest.mark.parametrize("p", [2, 4, 8, 16])
def test_small_positive_eigenvalue_is_proved_and_not_overstated(p):
    smallest = Fraction(1, 2**20)
    W = known_spectrum(p, smallest)
    proof = prove_strong_monotonicity(W)
    assert 0 < Fraction(proof.modulus) <= smallest


@given(seeds, st.integers(1, 6), st.integers(-60, -20))
def test_nearly_singular_random_matrix_is_proved_only_if_true(seed, p, exponent):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(p, max(p - 1, 1)))
    W = np.eye(p) - (A @ A.T) + rng.normal() * 2.0**exponent * np.eye(p)
    try:
        proof = prove_strong_monotonicity(W)
    except NotMonotoneError:
        return
    assert smallest_eigenvalue_exceeds(
        symmetric_part_of_I_minus(W), Fraction(proof.modulus) * (1 - Fraction(1, 10**30))
    )


def test_large_skew_part_does_not_hide_a_negative_eigenvalue(rng):
    B = rng.integers(-(2**40), 2**40, size=(6, 6)).astype(float)
    W = known_spectrum(8, Fraction(-1, 2**10))[:6, :6]
    W = np.eye(6) * (1 + 2.0**-10) + B - B.T  # symmetric part of I - W is -2^-10 I
    with pytest.raises(NotMonotoneError):
        prove_strong_monotonicity(W)


def test_radius_is_respected_at_its_worst_corner(rng):
    W = FEEDBACKS["plain"](rng, 5)
    proof = prove_strong_monotonicity(W, np.full((5, 5), 1e-3))
    for _ in range(20):
        other = W + 1e-3 * rng.choice([-1.0, 1.0], size=(5, 5))
        part = symmetric_part_of_I_minus(other)
        assert smallest_eigenvalue_exceeds(part, Fraction(proof.modulus))
        M = [
            [Fraction(int(i == j)) - v for j, v in enumerate(row)]
            for i, row in enumerate(rational(other))
        ]
        assert exceeds_norm(M, Fraction(proof.norm))


def test_radius_that_reaches_a_singular_matrix_is_refused():
    with pytest.raises(NotMonotoneError):
        prove_strong_monotonicity(np.zeros((1, 1)), np.ones((1, 1)))
    with pytest.raises(NotMonotoneError):
        prove_strong_monotonicity(np.zeros((2, 2)), np.full((2, 2), 0.5))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_entries_that_are_not_finite_are_refused(bad):
    W = np.zeros((2, 2))
    W[0, 1] = bad
    with pytest.raises(NotMonotoneError):
        prove_strong_monotonicity(W)
    radius = np.zeros((2, 2))
    radius[1, 0] = bad
    with pytest.raises(NotMonotoneError):
        prove_strong_monotonicity(np.zeros((2, 2)), radius)


def test_negative_radius_is_refused():
    # It would *lower* the error and could prove what is false.
    with pytest.raises(NotMonotoneError):
        prove_strong_monotonicity(np.eye(2) * 1.5, np.full((2, 2), -1.0))


@pytest.mark.parametrize("magnitude", [1e150, 1e200, 1e308])
def test_huge_entries_give_a_true_proof_or_a_clear_refusal(magnitude):
    skew = np.array([[0.0, magnitude], [-magnitude, 0.0]])
    for W in (skew, -skew, -magnitude * np.eye(2), np.full((2, 2), -magnitude)):
        try:
            proof = prove_strong_monotonicity(W)
        except NotMonotoneError:
            continue
        assert np.isfinite(proof.norm)
        M = [
            [Fraction(int(i == j)) - v for j, v in enumerate(row)]
            for i, row in enumerate(rational(W))
        ]
        assert exceeds_norm(M, Fraction(proof.norm))
        assert smallest_eigenvalue_exceeds(
            symmetric_part_of_I_minus(W), Fraction(proof.modulus) * (1 - Fraction(1, 10**30))
        )


def test_empty_feedback_has_a_proof():
    proof = prove_strong_monotonicity(np.zeros((0, 0)))
    assert proof.modulus > 0 and proof.norm > 0


@given(seeds, st.integers(0, 5), st.integers(0, 5), st.integers(-290, 290))
def test_spectral_norm_is_an_upper_bound_at_every_scale(seed, rows, columns, exponent):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, columns)) * 10.0**exponent
    bound = spectral_norm_upper_bound(matrix)
    assert np.isfinite(bound)
    if rows and columns:
        assert exceeds_norm(rational(matrix), Fraction(bound))


def test_spectral_norm_is_tight_for_rectangular_matrices(rng):
    for shape in ((3, 9), (9, 3), (1, 5), (5, 1), (4, 4)):
        matrix = rng.normal(size=shape)
        bound = spectral_norm_upper_bound(matrix)
        assert bound <= np.linalg.norm(matrix, 2) * (1 + TIGHTNESS_NORM)


def test_spectral_norm_of_zero_and_rank_one_matrices():
    assert 0.0 <= spectral_norm_upper_bound(np.zeros((3, 2))) < 1e-150
    ones = np.ones((4, 4))
    assert 4.0 <= spectral_norm_upper_bound(ones) <= 4.0 * (1 + TIGHTNESS_NORM)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_spectral_norm_of_values_that_are_not_numbers_is_infinite(bad):
    assert spectral_norm_upper_bound(np.array([[1.0, bad]])) == np.inf


@given(seeds, st.integers(1, 6), st.integers(-50, 50))
def test_cholesky_defect_bounds_the_smallest_eigenvalue(seed, p, exponent):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(p, p + 1)) * 10.0 ** rng.uniform(-8, 0, size=(p, 1))
    matrix = A @ A.T * 2.0**exponent
    matrix = 0.5 * (matrix + matrix.T)
    defect = cholesky_defect(matrix)
    if defect is not None:
        assert smallest_eigenvalue_exceeds(rational(matrix), -Fraction(defect) * Fraction(101, 100))


@given(seeds, st.integers(1, 6))
def test_eigenvalue_lower_bound_is_true_for_indefinite_matrices(seed, p):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(p, p)) * 10.0 ** rng.uniform(-4, 4)
    matrix = 0.5 * (A + A.T)
    bound = eigenvalue_lower_bound(matrix, 0.0)
    slack = Fraction(1, 10**25) * (1 + abs(Fraction(bound)))
    assert smallest_eigenvalue_exceeds(rational(matrix), Fraction(bound) - slack)
    assert eigenvalue_lower_bound(matrix, 0.5) <= bound - 0.5
