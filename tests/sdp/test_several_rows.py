"""Cases of several rows: no row alone refutes them, a combination does."""

import laws
import numpy as np
import pytest
from oracle import LinearOracle
from strategies import constraint, query_of, raw_system
from tolerances import ORACLE_RELATIVE

from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.bounds.relaxation import StripRelaxation, project
from vnn_mondeq.bounds.triangle import TriangleProgram
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.result import CertificateCandidate
from vnn_mondeq.sdp.engine import StrengthenedShor
from vnn_mondeq.statement import build_problem

BOX = Box.from_floats(np.array([-0.5, -0.25]), np.array([0.5, 0.75]))


def drawn_case(seed: int, shortfall: float):
    """A case of three rows whose least violation is `shortfall`, and the best of its single rows.

    The third output is about minus the sum of the others: each row alone can be negative.
    """
    rng = np.random.default_rng([93, seed])
    raw = raw_system(rng, "plain", 4, 2, 3)
    raw.G[2], raw.H[2] = -raw.G[0] - raw.G[1] + 0.1 * raw.G[2], -raw.H[0] - raw.H[1]
    oracle = LinearOracle(raw.W, raw.U, raw.b, BOX.lower, BOX.upper)
    rows = [(raw.G[i], raw.H[i], raw.g[i]) for i in range(3)]
    least = oracle.least_violation(rows).value
    single = max(oracle.minimum(*row).value for row in rows) - least + shortfall
    offset = shortfall - least
    query = query_of([(BOX, [constraint({i: 1.0}, offset) for i in range(3)])], 2, 3)
    return build_problem(raw.build(), query, "float64"), single


@pytest.mark.parametrize("engine", (InductiveBox(exact_within=50.0), StrengthenedShor()))
def test_combinations_of_rows_refute_what_no_row_refutes(engine):
    proved = 0
    for seed in range(12):
        problem, single = drawn_case(seed, 0.05)
        outcome = engine.run(problem, Deadline.after(20.0), NullObserver())
        if isinstance(outcome.candidate, CertificateCandidate):
            assert laws.confirm(problem, outcome.candidate.certificate) is not None
            proved += single < 0.0
    assert proved >= 3


@pytest.mark.parametrize("engine", (InductiveBox(exact_within=50.0), StrengthenedShor()))
def test_violated_cases_are_never_refuted(engine):
    for seed in range(12):
        problem, _ = drawn_case(seed, -1e-3)
        outcome = engine.run(problem, Deadline.after(20.0), NullObserver())
        if isinstance(outcome.candidate, CertificateCandidate):
            assert laws.confirm(problem, outcome.candidate.certificate) is None


def test_program_over_weights_is_at_least_as_good_as_every_row():
    """The value of the game is at least that of its pure strategies, and its weights attain it."""
    better = 0
    for seed in range(8):
        problem, _ = drawn_case(seed, 0.0)
        (obligation,) = problem.obligations
        system = problem.system
        attempt = InductiveBox(exact_within=0.0).prove(system, obligation, Deadline.never())
        last = attempt.proof.rounds[-1]
        box = (last.upper_z, last.upper_s)
        program = TriangleProgram(system, obligation.proof_inputs.bounds(), box)
        relaxation = StripRelaxation.of(system, project(system, obligation.proof_inputs), *box)
        rows = obligation.rows.coefficients
        game = program.maximise_least(-rows.on_z, -rows.on_x, -rows.offset, Deadline.never())
        assert np.all(game.weights >= 0.0) and game.weights.sum() == pytest.approx(1.0)

        def value(weights, multipliers, relaxation=relaxation, rows=rows):
            on_z, on_x = -(weights @ rows.on_z), -(weights @ rows.on_x)
            bound = relaxation.row_bounds(on_z[None], on_x[None], multipliers[None])[0]
            return bound - weights @ rows.offset

        combined = value(game.weights, game.multipliers)
        singles = [
            value(
                np.eye(3)[row],
                program.maximise(-rows.on_z[row], -rows.on_x[row], Deadline.never()).multipliers,
            )
            for row in range(3)
        ]
        assert combined <= min(singles) + ORACLE_RELATIVE * (1.0 + abs(combined))
        better += combined < min(singles) - 1e-3
    assert better >= 3
