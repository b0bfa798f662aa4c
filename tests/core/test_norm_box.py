"""L∞ balls stated through a norm network: what a float32 runtime takes for the ball."""

from fractions import Fraction

import numpy as np

from vnn_mondeq.query.input_set import Box
from vnn_mondeq.query.norm import NormNetwork, resolve_norms
from vnn_mondeq.query.query import Case, LinearConstraint, Query, Variable

VARIABLES = tuple(
    Variable(name, "float32", (1,), kind, network, start)
    for name, kind, network, start in (
        ("X", "input", "f", 0),
        ("Y", "output", "f", 0),
        ("XN", "input", "n", 0),
        ("N", "output", "n", 1),
    )
)
"""The model's input and output, and those of a norm network at the same input."""


def test_proof_set_covers_every_float32_point_whose_runtime_norm_keeps_the_bound(rng):
    """`fl(|x - c|) <= r` holds for some `x` whose distance from `c` is more than `r`."""
    beyond = 0
    for _ in range(300):
        center = np.float32(rng.normal())
        radius = Fraction(int(rng.integers(1, 100)), 100)
        everything = Box.from_floats(np.full(1, -9.0), np.full(1, 9.0))
        case = Case(everything, (LinearConstraint({}, {1: Fraction(1)}, -radius, False),))
        network = NormNetwork(np.inf, (Fraction(float(center)),), np.array([0]))
        resolved = resolve_norms(Query("2.0", VARIABLES, (case,), ("f", "n")), {"n": network})
        inputs = resolved.cases[0].inputs
        lower, upper = inputs.widened().bounds()
        for side in (-1, 1):
            x = np.float32(center + side * np.float32(float(radius)))
            for _ in range(4):
                if np.abs(x - center) <= np.float32(float(radius)):
                    assert lower[0] <= float(x) <= upper[0]
                exact = abs(Fraction(float(x)) - Fraction(float(center)))
                assert inputs.contains(np.array([float(x)])) == (exact <= radius)
                beyond += bool(np.abs(x - center) <= np.float32(float(radius)) and exact > radius)
                x = np.nextafter(x, np.float32(side * np.inf))
    assert beyond > 50
