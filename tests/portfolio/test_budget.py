"""The model error is a bound: exact rationals and an emulated float32 runtime must respect it."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from oracle import exact_fixpoint
from strategies import raw_system

from vnn_mondeq.budget import bound_model_error
from vnn_mondeq.rounding import UNIT32
from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.monotone import prove_strong_monotonicity

KINDS = ("plain", "barely", "strongly", "rotating", "mixed")


def _norm(values: list[Fraction]) -> Fraction:
    """A rational number not above the 2-norm by more than a relative 1e-15."""
    return Fraction(float(np.sqrt(float(sum(v * v for v in values))))) * (1 - Fraction(1, 10**15))


@pytest.mark.parametrize("kind", KINDS)
def test_fixpoints_of_every_system_within_the_radius_stay_within_the_bounds(kind, rng):
    raw = raw_system(rng, kind, p=4, d=2, q=2)
    exact = raw.build()
    scale = 1e-3 * exact.proof.modulus / (1.0 + np.abs(raw.W).max())
    radius = Coefficients(*(scale * np.abs(a) for a in (raw.W, raw.U, raw.b)))
    out_radius = Coefficients(*(1e-3 * np.abs(a) for a in (raw.G, raw.H, raw.g)))
    system = dataclasses.replace(
        exact,
        preactivation=AffineMap(exact.preactivation.coefficients, radius),
        output=AffineMap(exact.output.coefficients, out_radius),
        proof=prove_strong_monotonicity(raw.W, radius.on_z),
    )
    lower, upper = np.full(2, -1.0), np.full(2, 1.5)
    bound = bound_model_error(system, lower, upper, None)
    largest = Fraction(0)
    for _ in range(8):
        x = [Fraction(v) for v in rng.choice(np.array([-1.0, 0.25, 1.5]), size=2)]
        moved = [
            a + r * rng.choice([-1.0, 1.0], size=a.shape)
            for a, r in zip(
                (raw.W, raw.U, raw.b), (radius.on_z, radius.on_x, radius.offset), strict=True
            )
        ]
        # fl(a + r) may exceed the radius by an ulp; shrink it so that the premise holds.
        moved = [
            a + (n - a) * (1 - 1e-9) for a, n in zip((raw.W, raw.U, raw.b), moved, strict=True)
        ]
        z, z_moved = (exact_fixpoint(*arrays, x) for arrays in ((raw.W, raw.U, raw.b), moved))
        shift = _norm([a - b for a, b in zip(z, z_moved, strict=True)])
        largest = max(largest, shift)
        assert _norm(z) <= bound.z_norm
        assert _norm(z_moved) <= bound.z_norm
        assert shift <= bound.z_shift
    assert largest > 0, "the drawn perturbations must move something, or the test cannot fail"


@pytest.mark.parametrize("kind", KINDS)
def test_a_runtime_that_errs_by_its_weights_stays_within_the_bounds(kind, rng):
    """Any `z^ >= 0` is the fixpoint for pre-activations moved by some `δ`; weights that allow
    this `δ` must give a bound on the distance to the exact fixpoint."""
    raw = raw_system(rng, kind, p=5, d=2, q=2)
    system = raw.build()
    x = rng.uniform(-1.0, 1.0, size=2)
    exact = exact_fixpoint(raw.W, raw.U, raw.b, [Fraction(v) for v in x])
    for size in (1e-6, 1e-3, 1e-1):
        z = np.maximum([float(v) for v in exact] + size * rng.normal(size=5), 0.0)
        v = raw.W @ z + raw.U @ x + raw.b
        delta = np.where(z > 0.0, np.abs(z - v), np.maximum(v, 0.0))
        weights = Coefficients(np.zeros((5, 5)), np.zeros((5, 2)), delta / UNIT32 * (1 + 1e-9))
        moved = dataclasses.replace(
            system, preactivation=AffineMap(system.preactivation.coefficients, None, weights)
        )
        bound = bound_model_error(moved, x, x, UNIT32)
        distance = _norm([Fraction(float(a)) - b for a, b in zip(z, exact, strict=True)])
        assert 0 < distance <= bound.z_shift
        assert np.linalg.norm(z) <= bound.z_norm


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_evaluated_in_float32_stay_within_the_bounds(kind, rng):
    raw = raw_system(rng, kind, p=6, d=3, q=4)
    raw = type(raw)(*(a.astype(np.float32).astype(np.float64) for a in dataclasses.astuple(raw)))
    system, c = raw.build(), raw.build().output.coefficients
    # gamma_n of a plain evaluation: 9 products and 10 additions at most.
    weights = Coefficients(*(11.0 * np.abs(a) for a in (c.on_z, c.on_x, c.offset)))
    system = dataclasses.replace(system, output=AffineMap(c, None, weights))
    bound = bound_model_error(system, np.full(3, -2.0), np.full(3, 2.0), UNIT32)
    worst = 0.0
    for _ in range(20):
        x = rng.uniform(-2.0, 2.0, size=3).astype(np.float32)
        exact = exact_fixpoint(raw.W, raw.U, raw.b, [Fraction(float(v)) for v in x])
        z = np.array([float(v) for v in exact]).astype(np.float32)
        G, H, g = (a.astype(np.float32) for a in (raw.G, raw.H, raw.g))
        single = (G @ z + (H @ x + g)).astype(np.float64)
        double = raw.G @ z.astype(float) + raw.H @ x.astype(float) + raw.g
        worst = max(worst, float(np.max(np.abs(single - double))))
        assert np.all(np.abs(single - double) <= bound.output)
    assert worst > 0.0, "float32 must round somewhere, or the test cannot fail"


def test_an_exact_file_in_real_arithmetic_has_no_error(rng):
    system = raw_system(rng, "plain", p=4, d=2, q=3).build()
    bound = bound_model_error(system, np.zeros(2), np.ones(2), None)
    assert bound.z_shift == 0.0
    assert np.all(bound.output == 0.0)


def test_an_unbounded_box_has_no_bound(rng):
    system = raw_system(rng, "plain", p=4, d=2, q=3).build()
    bound = bound_model_error(system, np.array([0.0, -np.inf]), np.ones(2), None)
    assert bound.z_norm == np.inf
    assert np.all(bound.output == np.inf)


def test_rounding_as_large_as_the_modulus_has_no_bound(rng):
    system = raw_system(rng, "plain", p=4, d=2, q=3).build()
    huge = Coefficients(np.full((4, 4), 1e9), np.zeros((4, 2)), np.zeros(4))
    moved = dataclasses.replace(
        system, preactivation=AffineMap(system.preactivation.coefficients, None, huge)
    )
    assert bound_model_error(moved, np.zeros(2), np.ones(2), UNIT32).z_shift == np.inf


def test_the_error_of_the_attached_body_is_scaled_and_passed_on(rng):
    raw = raw_system(rng, "mixed", p=6, d=2, q=2)
    system = raw.build()
    block = dataclasses.replace(system.blocks[0], start=2, stop=4, solver_error=0.5, scale=0.25)
    moved = dataclasses.replace(system, blocks=(block,))
    bound = bound_model_error(moved, np.zeros(2), np.ones(2), UNIT32)
    outside = raw.W.copy()
    outside[2:4, 2:4] = 0.0
    expected = 0.125 + 0.125 * np.linalg.norm(outside, 2) / system.proof.modulus
    assert bound.z_shift >= expected
    assert bound_model_error(moved, np.zeros(2), np.ones(2), None).z_shift == 0.0
