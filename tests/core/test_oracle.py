"""The oracle itself, against sampling: it must never be beaten, and its minima are attained."""

from fractions import Fraction

import numpy as np
import pytest
from oracle import (
    LinearOracle,
    exact_fixpoint,
    exact_value,
    float_fixpoint,
    smallest_eigenvalue_exceeds,
    solve_rational,
)
from strategies import FEEDBACKS, box_bounds, raw_system
from tolerances import FIXPOINT_FLOAT, ORACLE_RELATIVE


@pytest.mark.parametrize("kind", sorted(FEEDBACKS))
def test_exact_fixpoint_satisfies_equation_for_every_kind(rng, kind):
    for p in (0, 1, 4, 7):
        raw = raw_system(rng, kind, p, 3, dead=min(1, p), active=min(1, max(p - 1, 0)))
        x = [Fraction(float(v)) for v in rng.normal(size=3)]
        z = exact_fixpoint(raw.W, raw.U, raw.b, x)
        for i in range(p):
            v = exact_value((raw.W[i], raw.U[i], raw.b[i]), z, x)
            assert z[i] == max(v, 0)


@pytest.mark.parametrize("kind", sorted(FEEDBACKS))
def test_exact_fixpoint_agrees_with_float_iteration(rng, kind):
    raw = raw_system(rng, kind, 6, 2)
    x = rng.normal(size=2)
    z = np.array([float(t) for t in exact_fixpoint(raw.W, raw.U, raw.b, [Fraction(v) for v in x])])
    near = float_fixpoint(raw.W, raw.U @ x + raw.b)
    assert np.abs(z - near).max() <= FIXPOINT_FLOAT * (1 + np.abs(z).max())


@pytest.mark.parametrize("kind", sorted(FEEDBACKS))
def test_linear_oracle_minimum_is_attained_and_never_beaten(rng, kind):
    raw = raw_system(rng, kind, 5, 2, q=2)
    lower, upper = box_bounds(rng, 2, "typical")
    oracle = LinearOracle(raw.W, raw.U, raw.b, lower, upper)
    for k in range(2):
        row = (raw.G[k], raw.H[k], raw.g[k])
        best = oracle.minimum(*row)
        slack = ORACLE_RELATIVE * (1 + abs(best.value))
        x = [Fraction(v) for v in best.x]
        attained = float(exact_value(row, exact_fixpoint(raw.W, raw.U, raw.b, x), x))
        assert abs(attained - best.value) <= slack
        for point in rng.uniform(lower, upper, size=(40, 2)):
            x = [Fraction(v) for v in point]
            value = float(exact_value(row, exact_fixpoint(raw.W, raw.U, raw.b, x), x))
            assert value >= best.value - slack


def test_linear_oracle_neuron_bounds_hold_at_samples(rng):
    raw = raw_system(rng, "plain", 4, 2)
    lower, upper = box_bounds(rng, 2, "typical")
    top_z, top_s = LinearOracle(raw.W, raw.U, raw.b, lower, upper).neuron_bounds()
    for point in rng.uniform(lower, upper, size=(40, 2)):
        z = float_fixpoint(raw.W, raw.U @ point + raw.b)
        s = z - raw.W @ z - raw.U @ point - raw.b
        assert np.all(z <= top_z + ORACLE_RELATIVE * (1 + top_z))
        assert np.all(s <= top_s + ORACLE_RELATIVE * (1 + top_s))


def test_least_violation_equals_minimum_for_one_row(rng):
    raw = raw_system(rng, "plain", 4, 2, q=1)
    oracle = LinearOracle(raw.W, raw.U, raw.b, *box_bounds(rng, 2, "typical"))
    row = (raw.G[0], raw.H[0], raw.g[0])
    single, epigraph = oracle.minimum(*row), oracle.least_violation([row])
    assert abs(single.value - epigraph.value) <= ORACLE_RELATIVE * (1 + abs(single.value))


def test_smallest_eigenvalue_exceeds_decides_known_spectra():
    # [[2, -1], [-1, 2]] has eigenvalues 1 and 3.
    matrix = [[Fraction(2), Fraction(-1)], [Fraction(-1), Fraction(2)]]
    assert smallest_eigenvalue_exceeds(matrix, Fraction(1) - Fraction(1, 10**30))
    assert not smallest_eigenvalue_exceeds(matrix, Fraction(1))


def test_solve_rational_is_exact_and_sees_singularity():
    matrix = [[Fraction(0), Fraction(3)], [Fraction(1), Fraction(1)]]
    assert solve_rational(matrix, [Fraction(1), Fraction(0)]) == [Fraction(-1, 3), Fraction(1, 3)]
    assert (
        solve_rational(
            [[Fraction(1), Fraction(2)], [Fraction(2), Fraction(4)]], [Fraction(1), Fraction(2)]
        )
        is None
    )
