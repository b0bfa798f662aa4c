"""Exact fixpoints against the oracle's, which solves them by its own enumeration."""

import dataclasses
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from oracle import exact_fixpoint, exact_value
from strategies import FEEDBACKS, raw_system, seeds

from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.exact import exact_outputs
from vnn_mondeq.system.implicit import dense_system


@given(seed=seeds, kind=st.sampled_from(sorted(FEEDBACKS)), p=st.integers(0, 5))
def test_exact_outputs_satisfy_the_equations(seed, kind, p):
    raw = raw_system(np.random.default_rng(seed), kind, p=p, d=2, q=2)
    x = np.random.default_rng(seed + 1).normal(size=2)
    found = exact_outputs(raw.build(), x)
    at = [Fraction(float(v)) for v in x]
    z = exact_fixpoint(raw.W, raw.U, raw.b, at)
    expected = [exact_value((raw.G[i], raw.H[i], raw.g[i]), z, at) for i in range(2)]
    # Nothing may be found where float64 does not tell the pattern; the next test counts.
    assert found in (None, expected)


def test_exact_outputs_are_found_for_ordinary_systems(rng):
    for _ in range(20):
        raw = raw_system(rng, "plain", p=5, d=2, q=2)
        assert exact_outputs(raw.build(), rng.normal(size=2)) is not None


def test_a_rounded_file_has_no_exact_outputs(rng):
    system = raw_system(rng, "plain", p=3, d=2, q=2).build()
    c = system.output.coefficients
    rounded = AffineMap(c, radius=Coefficients(0 * c.on_z, 0 * c.on_x, 0 * c.offset + 1e-9))
    assert exact_outputs(dataclasses.replace(system, output=rounded), np.zeros(2)) is None


def test_a_plain_loop_has_no_exact_outputs(rng):
    system = raw_system(rng, "plain", p=3, d=2, q=2).build()
    blocks = tuple(dataclasses.replace(block, plain_loop=True) for block in system.blocks)
    assert exact_outputs(dataclasses.replace(system, blocks=blocks), np.zeros(2)) is None


def test_a_neuron_that_float64_takes_for_idle_and_is_not_gives_no_exact_outputs():
    """Its pre-activation is positive but far below the rounding of the other neuron."""
    W = np.array([[0.5, 0.0], [0.0, 0.5]])
    system = dense_system(W, np.zeros((2, 1)), np.array([1.0, 1e-13]), np.eye(2), np.zeros(2))
    found = exact_outputs(system, np.zeros(1))
    assert found is None or found == [Fraction(2), 2 * Fraction(1e-13)]
