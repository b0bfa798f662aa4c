"""The search as an engine: root boxes, then a tree for every case that they leave open."""

import time
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.result import (
    AbstractEngine,
    Candidate,
    CertificateCandidate,
    NoAnswer,
    Outcome,
    Reason,
    WitnessCandidate,
)
from vnn_mondeq.search.branch import BranchSettings, PhaseSearch, Unfinished, Violation
from vnn_mondeq.search.certificate import Node, TreeCertificate, TreeProof
from vnn_mondeq.search.node import CaseNodes, PhaseBox
from vnn_mondeq.system.implicit import ImplicitSystem


@final
@dataclass(frozen=True, slots=True)
class PhaseBranching(AbstractEngine):
    """Branch and bound on neuron phases with semidefinite bounds.

    Complete in exact arithmetic for cases of one row over a box, or a box and one half-space, given
    time and a root box. Cases
    of several rows are refuted only where one of their rows is, so they may stay open.
    """

    boxes: InductiveBox = field(default_factory=lambda: InductiveBox(exact_within=0.0))
    settings: BranchSettings = field(default_factory=BranchSettings)

    @property
    def name(self) -> str:
        return "search"

    def run(self, problem: Problem, deadline: Deadline, observer: AbstractObserver) -> Outcome:
        began = time.perf_counter()
        observer.phase("branch and bound")
        counter = _Counter()
        try:
            candidate = self._run(problem, deadline, observer, counter)
        except DeadlineExceeded:
            candidate = NoAnswer(Reason.TIMED_OUT, "during branch and bound")
        seconds = time.perf_counter() - began
        return Outcome(candidate, {"seconds": seconds, "nodes": float(counter.nodes)})

    def _run(
        self,
        problem: Problem,
        deadline: Deadline,
        observer: AbstractObserver,
        counter: "_Counter",
    ) -> Candidate:
        proofs = []
        for obligation in problem.obligations:
            deadline.check()
            found = self._close(problem.system, obligation, deadline, observer, counter)
            if not isinstance(found, TreeProof):
                return found
            proofs.append(found)
        return CertificateCandidate(TreeCertificate(tuple(proofs)))

    def _close(
        self,
        system: ImplicitSystem,
        obligation: Obligation,
        deadline: Deadline,
        observer: AbstractObserver,
        counter: "_Counter",
    ) -> TreeProof | Candidate:
        attempt = self.boxes.prove(system, obligation, deadline)
        if isinstance(attempt, NoAnswer):
            return attempt
        refutations = attempt.proof.refutations
        if len(refutations) < len(obligation.cases) or not attempt.proof.rounds:
            return NoAnswer(Reason.BOUND_TOO_LOOSE, "there is nothing to branch on")
        trees: list[Node] = [Node((), refutation) for refutation in refutations]
        last = attempt.proof.rounds[-1]
        root = PhaseBox(last.upper_z, last.upper_s, frozenset())
        for case in map(int, np.argsort(attempt.margins)):
            if attempt.margins[case] > 0.0:
                break
            weights, anchor = refutations[case].weights, attempt.proof.anchor
            nodes = CaseNodes.of(system, obligation, anchor, case, weights)
            search = PhaseSearch(nodes, self.settings, observer)
            ended = search.close(root, deadline)
            counter.nodes += search.visited
            if isinstance(ended, Violation):
                return WitnessCandidate(ended.x)
            if isinstance(ended, Unfinished):
                reason = Reason.TIMED_OUT if deadline.expired else Reason.BOUND_TOO_LOOSE
                detail = f"{ended.open_nodes} nodes are open, the worst misses by {ended.gap:.4g}"
                return NoAnswer(reason, detail)
            trees[case] = ended
        return TreeProof(attempt.proof, tuple(trees))


@final
@dataclass(slots=True)
class _Counter:
    nodes: int = 0
