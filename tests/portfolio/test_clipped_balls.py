"""Clipped balls: the middle of the bounding box is far outside of the ball."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from strategies import constraint, query_of, raw_system

from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.gate import Gate
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box, Intersection, LqBall
from vnn_mondeq.result import CertificateCandidate, CheckedCertificate
from vnn_mondeq.statement import build_problem
from vnn_mondeq.system.solve import FixpointSolver


@pytest.mark.parametrize("q", [1, 2])
def test_a_proof_on_a_clipped_ball_passes_its_check(q):
    d = 60
    raw = raw_system(np.random.default_rng(11), "strongly", p=8, d=d, q=2)
    # Inputs of one sign: the far middle moves every neuron out of what the ball allows.
    system = dataclasses.replace(raw, U=4.0 * np.abs(raw.U)).build()
    center = np.zeros(d)
    ball = LqBall(q, d, np.arange(d), tuple(Fraction(0) for _ in range(d)), Fraction(1, 4) ** q)
    inputs = Intersection((Box.from_floats(np.zeros(d), np.full(d, 0.25)), ball))
    y = system.output(FixpointSolver(system).solve(center[None]).value, center[None])[0]
    # The outputs cannot fall this far on so small a set.
    asked = constraint({0: 1.0}, -float(y[0]) + 20.0)
    problem = build_problem(system, query_of([(inputs, [asked])], d, 2), "float32")
    outcome = InductiveBox().run(problem, Deadline.never(), NullObserver())
    assert isinstance(outcome.candidate, CertificateCandidate), outcome.candidate
    gate = Gate(problem, "float32", lambda: None)
    checked = gate.confirm_certificate(outcome.candidate.certificate, Deadline.never())
    assert isinstance(checked, CheckedCertificate), checked
