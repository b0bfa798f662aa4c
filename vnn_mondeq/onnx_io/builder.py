"""Blocks of neurons found while a graph is evaluated: ReLU and monDEQ nodes."""

from dataclasses import dataclass, field
from typing import final

import numpy as np
from scipy.sparse import csr_array, eye_array

from vnn_mondeq.errors import NotMonotoneError
from vnn_mondeq.onnx_io.affine_form import Form, select, source_form
from vnn_mondeq.onnx_io.feedback import Feedback, feedback
from vnn_mondeq.onnx_io.node import Node
from vnn_mondeq.onnx_io.solver_bound import solver_bound
from vnn_mondeq.system.monotone import MonotonicityProof, prove_strong_monotonicity


@final
@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A block before assembly.

    - `argument`: the form under the activation, kept rows only, feedback not included.
    - `feedback`: of an equilibrium layer, else `None`; `proof`: that it alone is monotone.
    - `plain_loop`: whether the file means a finite loop, not the fixpoint (`loop_compile.py`).
    """

    name: str
    argument: Form
    size: int
    kept: np.ndarray
    feedback: Feedback | None
    proof: MonotonicityProof
    solver_error: float
    plain_loop: bool = False


@final
@dataclass(slots=True)
class Builder:
    """The blocks so far, in the order of the graph."""

    drafts: list[Draft] = field(default_factory=list)

    def relu(self, node: Node) -> Form:
        """A block without feedback. A runtime's ReLU is exact."""
        argument = node.form(0)
        flat = argument.reshaped((argument.size,))
        kept = np.arange(argument.size)
        proof = MonotonicityProof(modulus=1.0, norm=1.0)
        self.drafts.append(Draft(node.proto.output[0], flat, argument.size, kept, None, proof, 0.0))
        return source_form(len(self.drafts) - 1, kept.size, kept, argument.shape, argument.unit)

    def mondeq(self, node: Node) -> Form:
        """An equilibrium layer.

        **Raises** `NotMonotoneError` naming the node without a proof of strong monotonicity.
        """
        argument = node.form(0)
        own = feedback(node)
        try:
            proof = prove_strong_monotonicity(own.W, own.radius)
        except NotMonotoneError as error:
            raise NotMonotoneError(f"{node.label}: {error}") from error
        bound = solver_bound(node, own)
        flat = select(argument.reshaped((argument.size,)), own.kept)
        self.drafts.append(
            Draft(
                node.proto.output[0],
                flat,
                argument.size,
                own.kept,
                own,
                proof,
                bound.absolute * (1.0 + 4.0 * argument.unit),
            )
        )
        # What later nodes read is z + δ, ‖δ‖₂ <= relative ‖z‖₂ <= relative Σ|z_j|, and one
        # rounding by the cast to the model's type.
        count = own.kept.size
        cast = eye_array(count, format="csr") * (argument.unit / node.unit * (1.0 + 2.0**-10))
        spread = np.full((count, count), bound.relative / node.unit * (1.0 + 2.0**-10))
        drift = csr_array(cast + csr_array(spread))
        rows = csr_array(
            (np.ones(count), (own.kept, np.arange(count))), shape=(argument.size, count)
        )
        source = len(self.drafts) - 1
        drift_of_rows = {source: rows @ drift}
        return source_form(source, count, own.kept, argument.shape, argument.unit, drift_of_rows)
