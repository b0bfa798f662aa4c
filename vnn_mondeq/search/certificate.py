"""The certificate of a search: one tree of phase decisions for each case."""

from dataclasses import dataclass
from typing import final

from vnn_mondeq.bounds.certificate import BoxRound, ObligationProof, Refutation
from vnn_mondeq.result import AbstractCertificate
from vnn_mondeq.sdp.certificate import ShorRefutation


@final
@dataclass(frozen=True, slots=True)
class Vacant:
    """No fixpoint lies in this node: both branches of `neuron` are empty under the node's premise,
    by the multipliers of the node's last round."""

    neuron: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Either `z_neuron = 0` (`inactive`) or `s_neuron = 0` (`active`)."""

    neuron: int
    inactive: "Node"
    active: "Node"


Closing = Refutation | ShorRefutation | Vacant | Split
"""How a node ends."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A part of the fixpoints: rounds that tighten the parent's box, then the end.

    The premise of the first round is the box that the parent hands down (with the decided bound set
    to zero), of every later one the claim before.
    """

    rounds: tuple[BoxRound, ...]
    closing: Closing

    def leaves(self) -> int:
        """Number of leaves below. No recursion: trees may be deep."""
        count, waiting = 0, [self]
        while waiting:
            match waiting.pop().closing:
                case Split(_, inactive, active):
                    waiting += (inactive, active)
                case _:
                    count += 1
        return count


@final
@dataclass(frozen=True, slots=True, eq=False)
class TreeProof:
    """For one obligation: a root box with its proof, and a tree for each case."""

    box: ObligationProof
    trees: tuple[Node, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class TreeCertificate(AbstractCertificate):
    """One proof for each obligation of the problem, in order."""

    proofs: tuple[TreeProof, ...]

    def summary(self) -> str:
        cases = sum(len(proof.trees) for proof in self.proofs)
        leaves = sum(tree.leaves() for proof in self.proofs for tree in proof.trees)
        return f"{len(self.proofs)} inductive boxes, {cases} cases refuted in {leaves} leaves"
