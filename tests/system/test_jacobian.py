"""Implicit derivatives against finite differences, each other, and the iterative adjoint."""

import numpy as np
import pytest
from drawn_systems import draw_system, layered_system

from vnn_mondeq.system.jacobian import (
    adjoint_multipliers,
    find_active,
    jacobian_vector,
    vector_jacobian,
)
from vnn_mondeq.system.solve import FixpointSolver
from vnn_mondeq.system.splitting import iterate_adjoint

SYSTEMS = {
    "one block": lambda: draw_system(np.random.default_rng(0), neurons=15, inputs=4),
    "layers": lambda: layered_system(np.random.default_rng(1)),
}


@pytest.fixture(params=sorted(SYSTEMS))
def point(request):
    """A system, its solver, inputs, fixpoints and their patterns."""
    system = SYSTEMS[request.param]()
    x = np.random.default_rng(3).standard_normal((6, 4))
    solver = FixpointSolver(system)
    z = solver.solve(x).value
    return system, solver, x, z, find_active(system, z, x)


def test_jacobian_vector_product_matches_finite_differences(point):
    system, solver, x, _, active = point
    dx = np.random.default_rng(4).standard_normal(x.shape)
    step = 1e-7
    difference = (solver.solve(x + step * dx).value - solver.solve(x - step * dx).value) / 2 / step
    # Piecewise linear: inside one piece the difference quotient is exact up to rounding.
    assert np.abs(jacobian_vector(system, active, dx) - difference).max() <= 1e-6


def test_both_products_are_adjoint(point):
    system, _, x, _, active = point
    generator = np.random.default_rng(5)
    dx = generator.standard_normal(x.shape)
    rows = generator.standard_normal((x.shape[0], 3, system.neurons))
    forward = np.einsum("nkp,np->nk", rows, jacobian_vector(system, active, dx))
    backward = np.einsum("nkd,nd->nk", vector_jacobian(system, active, rows), dx)
    assert np.abs(forward - backward).max() <= 1e-11


def test_shared_rows_and_direct_input_terms(point):
    system, _, _, _, active = point
    rows = np.random.default_rng(6).standard_normal((2, system.neurons))
    on_x = np.random.default_rng(7).standard_normal((2, 4))
    shared = vector_jacobian(system, active, rows, on_x)
    single = vector_jacobian(system, active, np.broadcast_to(rows, (6, *rows.shape))) + on_x
    assert np.array_equal(shared, single)


def test_iterated_adjoint_converges_to_the_direct_one(point):
    system, solver, _, _, active = point
    costs = np.random.default_rng(8).standard_normal(active.shape)
    states = np.zeros_like(costs)
    _, multipliers = iterate_adjoint(solver.splittings, system.W, states, active, costs, 400)
    direct = adjoint_multipliers(system, active, costs[:, None, :])[:, 0]
    assert np.abs(multipliers - direct).max() <= 1e-9
    assert np.all(multipliers[~active] == 0.0)


def test_chunks_do_not_change_the_result(point, monkeypatch):
    system, _, x, _, active = point
    whole = jacobian_vector(system, active, x)
    monkeypatch.setattr("vnn_mondeq.system.jacobian._CHUNK_ENTRIES", 1)
    assert np.allclose(jacobian_vector(system, active, x), whole, rtol=0.0, atol=1e-13)
