"""Independent check of a `TreeCertificate`: the tree is walked again, every leaf re-proved.

Soundness of the walk: every fixpoint has `z_i = 0` or `s_i = 0`, so the two children of a split
cover their parent. A node's premise is a box valid for the fixpoints in the node; its rounds follow
from it by the bounds of `bounds/check.py`, its leaf by those or by `sdp/check.py`. A node is vacant
when some neuron can have neither `z_k = 0` nor `s_k = 0`: both of its branch bounds are negative.
"""

from typing import final

import numpy as np

from vnn_mondeq.bounds.check import (
    CheckedBox,
    Rejection,
    branch_bounds,
    check_box,
    round_fault,
    round_follows,
)
from vnn_mondeq.bounds.rejection import smallest_margin
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.sdp.check import CaseJudge
from vnn_mondeq.search.certificate import Node, Split, TreeCertificate, TreeProof, Vacant
from vnn_mondeq.system.implicit import ImplicitSystem


def check_tree(
    problem: Problem, certificate: TreeCertificate, deadline: Deadline
) -> float | Rejection:
    """The smallest proved margin over all leaves of all cases, or why there is none.

    Infinite where every leaf is vacant. **Raises** `DeadlineExceeded`.
    """
    return smallest_margin(problem, certificate.proofs, _check_obligation, deadline)


def _check_obligation(
    system: ImplicitSystem, obligation: Obligation, proof: TreeProof, deadline: Deadline
) -> float | Rejection:
    if len(proof.trees) != len(obligation.cases):
        return Rejection(f"{len(proof.trees)} trees for {len(obligation.cases)} cases")
    root = check_box(system, obligation, proof.box)
    if isinstance(root, Rejection):
        return root
    walk = _Walk(system, obligation, deadline)
    smallest = np.inf
    for case, tree in zip(obligation.cases, proof.trees, strict=True):
        margin = walk.tree(case, tree, root)
        if isinstance(margin, Rejection):
            return margin
        smallest = min(smallest, margin)
    return smallest


@final
class _Walk:
    """Walks trees without recursion, so that depth costs nothing."""

    def __init__(self, system: ImplicitSystem, obligation: Obligation, deadline: Deadline):
        self.system = system
        self.obligation = obligation
        self.deadline = deadline

    def tree(self, case: tuple[int, ...], tree: Node, root: CheckedBox) -> float | Rejection:
        smallest = np.inf
        waiting: list[tuple[Node, CheckedBox]] = [(tree, root)]
        while waiting:
            self.deadline.check()
            node, premise = waiting.pop()
            ended = self._node(case, node, premise, waiting)
            if isinstance(ended, Rejection):
                return ended
            smallest = min(smallest, ended)
        return smallest

    def _node(
        self,
        case: tuple[int, ...],
        node: Node,
        premise: CheckedBox,
        waiting: list[tuple[Node, CheckedBox]],
    ) -> float | Rejection:
        """The margin of a leaf; infinity for a split, whose children are put on the list."""
        before = box = premise
        for claim in node.rounds:
            fault = round_fault(self.system, claim)
            if fault is not None:
                return Rejection(fault)
            held = (box.upper_z, box.upper_s)
            if not round_follows(self.system, box.inputs, claim, held, inductive=False):
                return Rejection("a round of a node does not follow from its premise")
            before, box = box, CheckedBox(box.inputs, claim.upper_z, claim.upper_s)
        match node.closing:
            case Split(neuron, inactive, active):
                neuron = int(neuron)  # True as an index would mean all neurons
                if not 0 <= neuron < self.system.neurons:
                    return Rejection("a split names no neuron")
                waiting.append((inactive, _decided(box, neuron, zero_z=True)))
                waiting.append((active, _decided(box, neuron, zero_z=False)))
                return np.inf
            case Vacant(neuron):
                return self._vacant(node, neuron, before)
            case refutation:
                return CaseJudge(self.system, self.obligation, box).margin(case, refutation)

    def _vacant(self, node: Node, neuron: int, premise: CheckedBox) -> float | Rejection:
        neuron = int(neuron)
        if not node.rounds or not 0 <= neuron < self.system.neurons:
            return Rejection("a vacant node has no round or names no neuron")
        bound_z, bound_s = branch_bounds(
            self.system, premise.inputs, node.rounds[-1], (premise.upper_z, premise.upper_s)
        )
        if bound_z[neuron] < 0.0 and bound_s[neuron] < 0.0:
            return np.inf
        return Rejection("a node is not vacant")


def _decided(box: CheckedBox, neuron: int, *, zero_z: bool) -> CheckedBox:
    """The box with `z_neuron = 0` or `s_neuron = 0`."""
    upper_z, upper_s = box.upper_z.copy(), box.upper_s.copy()
    (upper_z if zero_z else upper_s)[neuron] = 0.0
    return CheckedBox(box.inputs, upper_z, upper_s)
