"""Small drawn problems with a confirmed certificate of every type."""

from functools import cache

import numpy as np
from oracle import LinearOracle
from strategies import constraint, query_of, raw_system

from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.craft.engine import Craft
from vnn_mondeq.craft.settings import CraftSettings
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.gate import NothingToRefute
from vnn_mondeq.problem import Problem
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.result import AbstractCertificate, CertificateCandidate
from vnn_mondeq.sdp.certificate import ShorRefutation
from vnn_mondeq.sdp.ellipsoid_engine import EllipsoidEngine
from vnn_mondeq.sdp.engine import StrengthenedShor
from vnn_mondeq.sdp.lipschitz_engine import LipschitzEngine
from vnn_mondeq.search.certificate import Split
from vnn_mondeq.search.engine import PhaseBranching
from vnn_mondeq.search.input_certificate import Cut
from vnn_mondeq.search.input_engine import InputBranching
from vnn_mondeq.statement import build_problem

BOX = Box.from_floats(np.array([-1.0, -0.75]), np.array([1.0, 1.25]))

_STEPPING = CraftSettings(max_steps=60, tighten_steps=20, consolidate_tightening=2).ablation(
    "no-joint-consolidation"
)
"""Needs tightening steps, with and without a basis, where the default proves by multipliers."""

ENGINES = {
    "InductiveBoxCertificate": (InductiveBox(), 0.5),
    "ShorCertificate": (StrengthenedShor(), 0.05),
    "TreeCertificate": (PhaseBranching(), 2e-3),
    "InputSplitCertificate": (InputBranching(), 2e-2),
    "CraftCertificate": (Craft(_STEPPING), 0.6),
    "LipschitzCertificate": (LipschitzEngine(), 1.0),
    "EllipsoidCertificate": (EllipsoidEngine(), 0.1),
}
"""Certificate type → an engine that makes it, and a relative margin that makes it work for it."""

TYPES = (*ENGINES, "NothingToRefute")


@cache
def proved(name: str) -> tuple[Problem, AbstractCertificate]:
    """A problem and a certificate of the named type, with all kinds of parts that the type has."""
    if name == "NothingToRefute":
        raw = raw_system(np.random.default_rng(93), "plain", 3, 2, 1)
        return build_problem(raw.build(), query_of([], 2, 1), "float64"), NothingToRefute()
    engine, slack = ENGINES[name]
    for seed in range(60):
        raw = raw_system(np.random.default_rng([92, seed]), "plain", 6, 2, 1)
        oracle = LinearOracle(raw.W, raw.U, raw.b, BOX.lower, BOX.upper)
        truth = oracle.minimum(raw.G[0], raw.H[0], raw.g[0]).value
        offset = -truth + slack * (1.0 + abs(truth))
        query = query_of([(BOX, [constraint({0: 1.0}, offset)])], 2, 1)
        problem = build_problem(raw.build(), query, "float64")
        outcome = engine.run(problem, Deadline.after(20.0), NullObserver())
        if isinstance(outcome.candidate, CertificateCandidate):
            certificate = outcome.candidate.certificate
            if _is_rich(certificate):
                return problem, certificate
    raise AssertionError(f"no drawn problem gave a {name} with all its parts")


def _is_rich(certificate: AbstractCertificate) -> bool:
    match type(certificate).__name__:
        case "ShorCertificate":
            return isinstance(certificate.proofs[0].refutations[0], ShorRefutation)
        case "TreeCertificate":
            return isinstance(certificate.proofs[0].trees[0].closing, Split)
        case "InputSplitCertificate":
            return isinstance(certificate.trees[0].end, Cut)
        case "CraftCertificate":
            return bool(certificate.traces[0].tightening)
        case "EllipsoidCertificate":
            return certificate.proofs[0].kept.size > 0
    return True
