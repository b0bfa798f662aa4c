"""The fixpoint solver against reference fixpoints, exact arithmetic and its own error bound."""

from fractions import Fraction

import numpy as np
import pytest
from drawn_systems import REFERENCES, draw_system, layered_system, load_reference

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem, dense_system
from vnn_mondeq.system.monotone import prove_strong_monotonicity
from vnn_mondeq.system.solve import FixpointSolver, bound_error

REFERENCE_ACCURACY = 1e-8
"""The reference fixpoints have residuals below 1e-11."""


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_solve_reproduces_reference_fixpoints_and_logits(shared_data, name):
    system, x, data = load_reference(shared_data, name)
    solution = FixpointSolver(system).solve(x)
    distance = np.linalg.norm(solution.value - data["z_first100"], axis=1)
    assert distance.max() <= REFERENCE_ACCURACY
    assert np.abs(system.output(solution.value, x) - data["logits_first100"]).max() <= 1e-8
    assert solution.error_bound.max() <= 1e-7


def exact_fixpoint_distance(system, x, z):
    """Squared 2-norm distance, in rationals, between float `z` and the exact fixpoint at `x`."""
    W, U, b = system.W, system.U, system.b
    active = np.flatnonzero(W @ z + U @ x + b > 0.0)
    rational = np.vectorize(Fraction, otypes=[object])
    constant = rational(U) @ rational(x) + rational(b)
    matrix = rational(np.eye(active.size)) - rational(W[np.ix_(active, active)])
    right = list(constant[active])
    rows = [[*matrix[i], right[i]] for i in range(active.size)]
    for i in range(active.size):
        pivot = next(k for k in range(i, active.size) if rows[k][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(active.size):
            if k != i and rows[k][i] != 0:
                factor = rows[k][i] / rows[i][i]
                rows[k] = [a - factor * c for a, c in zip(rows[k], rows[i], strict=True)]
    exact = [Fraction(0)] * z.size
    for i, position in enumerate(active):
        exact[position] = rows[i][-1] / rows[i][i]
    # The pattern is right exactly when the point solves the complementarity problem.
    preactivation = rational(W) @ np.array(exact, dtype=object) + constant
    assert all((preactivation[i] if preactivation[i] > 0 else 0) == exact[i] for i in range(z.size))
    return sum((Fraction(float(a)) - e) ** 2 for a, e in zip(z, exact, strict=True))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.0, 1e-6, 0.1])
def test_error_bound_holds_in_exact_arithmetic_for_any_point(seed, noise):
    generator = np.random.default_rng(seed)
    system = draw_system(generator, neurons=8, inputs=3, modulus=0.5)
    x = generator.standard_normal((1, 3))
    z = FixpointSolver(system).solve(x).value
    fixpoint = z[0].copy()
    z = z + noise * generator.standard_normal(z.shape)
    _, bound = bound_error(system, z, x)
    distance = sum(
        (Fraction(float(a)) - Fraction(float(c))) ** 2 for a, c in zip(z[0], fixpoint, strict=True)
    )
    if noise == 0.0:
        distance = exact_fixpoint_distance(system, x[0], fixpoint)
    assert distance <= Fraction(float(bound[0])) ** 2
    assert bound[0] > 0.0


def test_error_bound_covers_uncertain_coefficients():
    generator = np.random.default_rng(5)
    system = draw_system(generator, neurons=8, inputs=3)
    stored = system.preactivation.coefficients
    radius = Coefficients(
        np.full_like(stored.on_z, 1e-5), np.full_like(stored.on_x, 1e-5), np.full(8, 1e-5)
    )
    proof = prove_strong_monotonicity(stored.on_z, radius.on_z)
    uncertain = ImplicitSystem(
        AffineMap(stored, radius), system.output, system.blocks, proof, {"x": (3,)}, {"y": (3,)}
    )
    x = generator.standard_normal((20, 3))
    solution = FixpointSolver(uncertain).solve(x)
    for _ in range(5):
        signs = [np.sign(generator.standard_normal(a.shape)) for a in (stored.on_z, stored.on_x)]
        other = dense_system(
            stored.on_z + radius.on_z * signs[0],
            stored.on_x + radius.on_x * signs[1],
            stored.offset + 1e-5,
            np.eye(8),
            np.zeros(8),
        )
        moved = FixpointSolver(other).solve(x)
        distance = np.linalg.norm(solution.value - moved.value, axis=1)
        assert np.all(distance <= solution.error_bound + moved.error_bound)
        assert distance.max() > 1e-7


def test_badly_conditioned_systems_are_polished_to_accuracy():
    system = draw_system(np.random.default_rng(7), neurons=30, modulus=1e-3)
    x = np.random.default_rng(8).standard_normal((10, 5))
    solution = FixpointSolver(system, max_steps=16).solve(x)
    assert (solution.residual / (1.0 + np.linalg.norm(solution.value, axis=1))).max() <= 1e-11


def test_layered_systems_are_solved_block_by_block():
    system = layered_system(np.random.default_rng(1))
    x = np.random.default_rng(2).standard_normal((7, 4))
    solver = FixpointSolver(system)
    assert [split.feedback for split in solver.splittings] == [False, True, False, True]
    solution = solver.solve(x)
    image = np.maximum(system.preactivation(solution.value, x), 0.0)
    assert np.abs(image - solution.value).max() <= 1e-12


def test_blocks_out_of_order_are_solved_as_one():
    system = layered_system(np.random.default_rng(1))
    whole = system.W.copy()
    whole[0, -1] = 0.05
    mixed = dense_system(whole, system.U, system.b, np.eye(18), np.zeros(18))
    declared = ImplicitSystem(
        mixed.preactivation, mixed.output, system.blocks, mixed.proof, mixed.inputs, mixed.outputs
    )
    x = np.random.default_rng(2).standard_normal((7, 4))
    solver = FixpointSolver(declared)
    assert len(solver.splittings) == 1
    assert solver.solve(x).residual.max() <= 1e-12


def test_a_system_without_neurons_has_empty_fixpoints():
    empty = dense_system(
        np.zeros((0, 0)), np.zeros((0, 3)), np.zeros(0), np.zeros((2, 0)), np.ones(2)
    )
    solution = FixpointSolver(empty).solve(np.ones((4, 3)))
    assert solution.value.shape == (4, 0)
    assert np.all(solution.residual == 0.0)


def test_no_samples_give_no_fixpoints():
    system = draw_system(np.random.default_rng(0))
    assert FixpointSolver(system).solve(np.zeros((0, 5))).value.shape == (0, 12)


def test_a_batch_gives_what_its_rows_give():
    system = draw_system(np.random.default_rng(0))
    x = np.random.default_rng(1).standard_normal((9, 5))
    solver = FixpointSolver(system)
    together = solver.solve(x)
    for row in range(9):
        alone = solver.solve(x[row : row + 1])
        gap = np.linalg.norm(alone.value[0] - together.value[row])
        assert gap <= alone.error_bound[0] + together.error_bound[row]


def test_bad_inputs_are_refused():
    solver = FixpointSolver(draw_system(np.random.default_rng(0)))
    with pytest.raises(ValueError, match=r"\(N, 5\)"):
        solver.solve(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="finite"):
        solver.solve(np.full((1, 5), np.nan))


def test_a_passed_deadline_is_raised():
    solver = FixpointSolver(draw_system(np.random.default_rng(0)))
    with pytest.raises(DeadlineExceeded):
        solver.solve(np.zeros((2, 5)), deadline=Deadline.after(-1.0))
