"""Verdicts and margins against the exact oracle: attack >= exact minimum >= proved bound."""

import dataclasses

import laws
import numpy as np
import pytest
from strategies import SET_KINDS, constraint, input_set, query_of, raw_system
from tolerances import ORACLE_RELATIVE

from vnn_mondeq.attack import ImplicitPgd, Schedule, attack_margins
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.craft.engine import Craft
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.result import Verdict
from vnn_mondeq.statement import build_problem

QUICK = Schedule(steps=30, restarts=4, rounds=1)


@pytest.mark.parametrize("first", range(0, 100, 25))
@pytest.mark.parametrize("prover", [InductiveBox(), Craft()], ids=lambda engine: engine.name)
def test_portfolio_verdicts_agree_with_the_oracle(prover, first):
    solve = laws.solve_with(ImplicitPgd(QUICK), prover)
    laws.law_verdicts_agree_with_the_oracle(solve, range(first, first + 25), sat=3, unsat=1)


@pytest.mark.parametrize("kind", ["plain", "strongly", "rotating", "mixed", "integer", "barely"])
def test_attack_margin_is_at_least_the_exact_minimum(rng, kind):
    raw = raw_system(rng, kind, 5, 2, 3)
    box = Box.from_floats(np.array([-0.25, -0.5]), np.array([0.25, 0.25]))
    margins = attack_margins(raw.build(), *box.bounds(), 1, QUICK)
    oracle = laws.oracle_of(raw, box)
    for target in (0, 2):
        row = (raw.G[1] - raw.G[target], raw.H[1] - raw.H[target], raw.g[1] - raw.g[target])
        least = oracle.minimum(*row).value
        assert margins[target] >= least - ORACLE_RELATIVE * (1 + abs(least))


@pytest.mark.parametrize("kind", SET_KINDS)
def test_certificates_hold_at_member_points_for_every_kind_of_input_set(rng, kind):
    """Certify the sampled minimum less a little more each time: never true, so never certified;
    and where a certificate passes, every member point satisfies it exactly."""
    proved = 0
    for _ in range(4):
        raw = raw_system(rng, "plain", 4, 2, 1)
        inputs = input_set(rng, 2, kind)
        lower, upper = inputs.bounds()
        candidates = np.vstack(
            [
                np.array(np.meshgrid(*zip(lower, upper, strict=True))).reshape(2, -1).T,
                rng.uniform(lower, upper, size=(40, 2)),
                inputs.project(rng.uniform(lower, upper, size=(40, 2))),
            ]
        )
        points = [laws.exactly(x) for x in candidates if inputs.contains(x)]
        if not points:
            continue
        least = float(min(laws.exact_outputs(raw, x)[0] for x in points))
        width = (np.abs(raw.G) @ np.abs(raw.U) @ (upper - lower)).item()
        for gap in (-1e-6, 1e-3, 0.1 * width, width, 4 * width, 30 * width + 1):
            row = constraint({0: 1.0}, gap - least)
            problem = build_problem(raw.build(), query_of([(inputs, [row])], 2, 1), "float32")
            outcome = InductiveBox().run(problem, Deadline.after(5.0), NullObserver())
            if laws.checked_margin(problem, outcome) is None:
                continue
            proved += 1
            assert all(laws.case_values(raw, problem, x)[0] > 0 for x in points)
    if kind not in ("huge",):
        assert proved > 0


# --- through the file ----------------------------------------------------------------------------


def float32_instance(seed: int):
    """An instance whose arrays a float32 file holds exactly, without a direct input term."""
    raw, inputs, problem = laws.drawn_instance(seed)
    arrays = {
        name: getattr(raw, name).astype(np.float32).astype(np.float64)
        for name in ("W", "U", "b", "G", "g")
    }
    return dataclasses.replace(raw, H=np.zeros_like(raw.H), **arrays), inputs, problem.query


@pytest.mark.parametrize("first", range(0, 32, 8))
def test_verdicts_through_an_onnx_file_agree_with_the_oracle(first, tmp_path):
    from vnn_mondeq.api import verify
    from vnn_mondeq.onnx_io.export_arrays import export_arrays
    from vnn_mondeq.onnx_io.load import load
    from vnn_mondeq.onnx_io.save import save

    decided = 0
    for seed in range(first, first + 8):
        raw, inputs, query = float32_instance(seed)
        if raw.p == 0:
            continue
        query = dataclasses.replace(query, version="1.0")
        arrays = {"W": raw.W, "U": raw.U, "u": raw.b, "C": raw.G, "c": raw.g}
        path = tmp_path / f"{seed}.onnx"
        save(export_arrays(arrays, form="W"), path)
        result = verify(load(path), query, timeout=20.0)
        decided += result.verdict in (Verdict.SAT, Verdict.UNSAT)
        problem = build_problem(raw.build(), query, "float32")
        laws.demand_verdict(raw, inputs, problem, result)
    assert decided >= 2
