"""Drawn duals of the semidefinite robustness model, for its tests."""

import dataclasses

import numpy as np
from strategies import constraint, query_of

from vnn_mondeq.query.input_set import Box
from vnn_mondeq.sdp.set_constraints import SetConstraints
from vnn_mondeq.sdp.shor import Multipliers, ShorDual
from vnn_mondeq.statement import build_problem

CENTRAL_DIFFERENCE = 1e-6
"""Step of the finite differences, in logarithms; errors are then about 1e-9 relative."""

BOX = Box.from_floats(np.array([-0.5, -0.25]), np.array([0.5, 0.75]))


def drawn_dual(seed: int, k: int = 4, n: int = 5, m: int = 0, *, crossed: bool = False) -> ShorDual:
    """`crossed`: the constraints beyond the box have mixed terms."""
    rng = np.random.default_rng([81, seed])
    skew = rng.normal(size=(k, k))
    A = 2.0 * np.eye(k) + skew - skew.T
    data = (A, rng.normal(size=(k, n)), rng.normal(size=k), rng.normal(size=k), rng.normal(size=n))
    curve = rng.random((m, n)) * (np.arange(m) % 2 == 0)[:, None]
    positions = np.arange(m)
    beyond = SetConstraints(rng.random(m), rng.normal(size=(m, n)), curve, positions, np.ones(m), m)
    if crossed:
        mixed = 0.1 * rng.normal(size=(m, n, n))
        mixed += np.swapaxes(mixed, 1, 2)
        mixed[:, np.arange(n), np.arange(n)] = 0.0
        beyond = dataclasses.replace(beyond, cross=mixed)
    return ShorDual(*data, beyond)


def drawn_multipliers(seed: int, dual: ShorDual) -> Multipliers:
    rng = np.random.default_rng([82, seed])
    k, n = dual.B.shape
    return Multipliers(
        np.exp(0.3 * rng.normal(size=n)),
        np.exp(0.1 * rng.normal(size=3 * k)),
        np.exp(0.3 * rng.normal(size=dual.count)),
    )


def one_row(raw, offset: float):
    query = query_of([(BOX, [constraint({0: 1.0}, offset)])], raw.d, raw.q)
    return build_problem(raw.build(), query, "float64")
