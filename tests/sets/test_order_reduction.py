"""Consolidation, containment and strips: properties beyond the laws of `tests/soundness`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import demand_members, drawn_zonotope, exactly, members
from strategies import seeds

from vnn_mondeq.sets.activation import absolute_strip, deepz_slope, relu_strip
from vnn_mondeq.sets.consolidation import (
    NO_WIDENING,
    Basis,
    BoxConsolidation,
    PcaConsolidation,
    Widening,
    reduce_to_basis,
)
from vnn_mondeq.sets.containment import ContainmentTest
from vnn_mondeq.sets.mixed_zonotope import MixedZonotope

METHODS = {
    "joint": PcaConsolidation(),
    "blocks": PcaConsolidation(blocks=2),
    "no box": PcaConsolidation(keep_box=False),
    "box": BoxConsolidation(),
}


@given(
    seeds,
    st.sampled_from(sorted(METHODS)),
    st.sampled_from((2, 4)),
    st.integers(0, 9),
    st.sampled_from((1.0, 1e6, 1e-6)),
)
def test_every_reduction_contains_the_set_and_has_few_generators(seed, name, n, k, magnitude):
    rng = np.random.default_rng(seed)
    zonotope = drawn_zonotope(rng, n, k, magnitude)
    if k > 2:
        zonotope.generators[:, 1] = 3.0 * zonotope.generators[:, 0]
    method = METHODS[name]
    widening = Widening(1.001, 0.01 * magnitude)
    reduced = method.reduce(zonotope, method.basis(zonotope), widening)
    assert reduced.generators.shape[1] in (0, n) and reduced.shared == 0
    demand_members(reduced, list(members(zonotope, rng, 6)), rng)


@given(seeds, st.integers(1, 4))
def test_any_basis_is_sound(seed, n):
    rng = np.random.default_rng(seed)
    zonotope = drawn_zonotope(rng, n, n + 2)
    directions = rng.normal(size=(n, n))
    # Even an inverse that is none: the remainder takes what it misses.
    basis = Basis(directions, rng.normal(size=(n, n)) * 0.1)
    reduced = reduce_to_basis(zonotope, basis, NO_WIDENING)
    demand_members(reduced, list(members(zonotope, rng, 6)), rng)


def test_reduction_to_a_good_basis_is_nearly_exact(rng):
    lengths = np.array([1.0, 2.0, 0.5])
    directions = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    zonotope = MixedZonotope(np.zeros(3), directions * lengths, np.zeros(3))
    method = PcaConsolidation()
    reduced = method.reduce(zonotope, method.basis(zonotope), NO_WIDENING)
    assert reduced.spread == pytest.approx(zonotope.spread, rel=1e-5)


def test_widening_must_enlarge():
    with pytest.raises(ValueError, match="multiplier"):
        Widening(0.999, 0.0)
    with pytest.raises(ValueError, match="addition"):
        Widening(1.0, -1e-9)


@given(seeds, st.integers(1, 5), st.integers(0, 8), st.floats(0.2, 1.4))
def test_proved_containment_holds_at_vertices(seed, n, k, factor):
    rng = np.random.default_rng(seed)
    outer = MixedZonotope(
        rng.normal(size=n),
        rng.normal(size=(n, n)),
        np.abs(rng.normal(size=n)) * (rng.random() < 0.7),
    )
    mix = rng.normal(size=(n, k))
    mix *= factor / np.maximum(np.abs(mix).sum(axis=1, keepdims=True), 1e-9)
    center = outer.center + 0.1 * outer.radius * rng.normal(size=n)
    inner = MixedZonotope(center, outer.generators @ mix, 0.5 * outer.radius)
    if ContainmentTest(outer).prove(inner) is None:
        return
    demand_members(outer, list(members(inner, rng, 8)), rng)


def test_containment_is_proved_where_it_should_be(rng):
    outer = MixedZonotope(np.ones(3), rng.normal(size=(3, 3)), np.full(3, 0.1))
    test = ContainmentTest(outer)
    smaller = MixedZonotope(outer.center, 0.9 * outer.generators, outer.radius)
    proof = test.prove(smaller)
    assert proof is not None and proof.worst == pytest.approx(0.9, rel=1e-4)
    assert test.prove(MixedZonotope(outer.center, 1.01 * outer.generators, outer.radius)) is None
    # The generators take what the box cannot: theorem 5.2's compensation.
    shifted = MixedZonotope(outer.center + 0.105, 0.5 * outer.generators, np.zeros(3))
    assert test.prove(shifted) is not None


def test_flat_outer_set_contains_only_what_its_box_does():
    flat = MixedZonotope(np.zeros(2), np.array([[1.0, 1.0], [1.0, 1.0]]), np.full(2, 0.5))
    test = ContainmentTest(flat)
    assert test.prove(MixedZonotope.box(np.full(2, -0.25), np.full(2, 0.25))) is not None
    assert test.prove(MixedZonotope.box(np.full(2, -0.75), np.full(2, 0.75))) is None


def test_containment_needs_a_square_or_no_generator_matrix():
    with pytest.raises(ValueError, match="3 generators"):
        ContainmentTest(MixedZonotope(np.zeros(3), np.zeros((3, 2)), np.ones(3)))


@given(seeds, st.floats(-1.0, 2.0))
def test_strips_hold_for_every_slope_exactly(seed, slope):
    rng = np.random.default_rng(seed)
    lower = rng.normal(size=4) * 10.0 ** rng.integers(-9, 9)
    upper = lower + np.abs(rng.normal(size=4)) * 10.0 ** rng.integers(-9, 9)
    for make, function in ((relu_strip, lambda v: max(v, 0)), (absolute_strip, abs)):
        strip = make(lower, upper, np.full(4, slope))
        for i in range(4):
            candidates = [lower[i], upper[i], 0.5 * (lower[i] + upper[i]), 0.0]
            inside = [v for v in candidates if lower[i] <= v <= upper[i]]
            for v in exactly(np.array(inside)):
                center, offset, reach = exactly(
                    np.array([strip.slope[i], strip.offset[i], strip.reach[i]])
                )
                assert abs(function(v) - center * v - offset) <= reach


def test_deepz_slope_is_the_chord():
    slopes = deepz_slope(np.array([-1.0, 1.0, -3.0, 0.0]), np.array([3.0, 2.0, -1.0, 0.0]))
    assert slopes.tolist() == [0.75, 1.0, 0.0, 0.0]


def test_aligned_sums_refuse_what_does_not_align():
    left = MixedZonotope(np.zeros(2), np.ones((2, 3)), np.zeros(2), shared=2)
    right = MixedZonotope(np.zeros(2), np.ones((2, 3)), np.zeros(2), shared=3)
    with pytest.raises(ValueError, match="do not match"):
        left.add_aligned(right)
    with pytest.raises(ValueError, match="shared generators only"):
        left.affine(np.eye(2), np.zeros(2), plus=left)
