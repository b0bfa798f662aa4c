"""Every abstract operation contains the exact images of exact points (`tests/laws.py`)."""

import laws
import numpy as np
import pytest


def test_affine_image_contains_exact_images_at_every_magnitude():
    laws.law_affine_image_contains_exact_images()


def test_zonotope_support_and_bounds_are_upper_bounds():
    laws.law_support_of_zonotope_is_an_upper_bound()


def test_aligned_sum_contains_exact_sums():
    laws.law_aligned_sum_contains_exact_sums()


@pytest.mark.parametrize("name", ["relu", "absolute"])
def test_activation_strip_contains_its_function(name):
    laws.law_activation_strip_contains_its_function(name)


def test_activation_of_zonotope_contains_images_of_its_points():
    laws.law_activation_of_zonotope_contains_images_of_its_points()


@pytest.mark.parametrize("magnitude", [1.0, 1e9, 1e-9])
def test_consolidation_contains_the_set(magnitude):
    laws.law_consolidation_contains_the_set(magnitude)


def test_containment_is_never_proved_falsely():
    laws.law_containment_is_never_proved_falsely()


def test_consolidation_in_blocks_refuses_or_contains_sizes_that_do_not_divide():
    from vnn_mondeq.sets.consolidation import NO_WIDENING, PcaConsolidation

    rng = np.random.default_rng(3)
    zonotope = laws.drawn_zonotope(rng, 3, 4)
    method = PcaConsolidation(blocks=2)
    try:
        reduced = method.reduce(zonotope, method.basis(zonotope), NO_WIDENING)
    except ValueError:
        return
    for direction in laws.directions(3, rng):
        assert laws.exact_support(reduced, direction) >= laws.exact_support(zonotope, direction)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_containment_is_not_proved_for_sets_that_are_not_finite(bad):
    from vnn_mondeq.sets.containment import ContainmentTest
    from vnn_mondeq.sets.mixed_zonotope import MixedZonotope

    boxes = MixedZonotope(np.zeros(2), np.zeros((2, 0)), np.ones(2))
    proper = MixedZonotope(np.zeros(2), np.eye(2), np.ones(2))
    for field in ("center", "generators", "radius"):
        parts = {"center": np.zeros(2), "generators": np.eye(2) * 0.1, "radius": np.zeros(2)}
        parts[field] = parts[field].copy()
        parts[field].flat[0] = bad
        inner = MixedZonotope(**parts)
        with np.errstate(invalid="ignore"):
            for outer in (boxes, proper):
                assert ContainmentTest(outer).prove(inner) is None
