"""Blocks of neurons found while a graph is evaluated: ReLU and monDEQ nodes."""

import dataclasses
from dataclasses import dataclass, field
from typing import final

import numpy as np
from scipy.sparse import csr_array, eye_array

from vnn_mondeq.errors import NotMonotoneError
from vnn_mondeq.onnx_io.affine_form import (
    AUXILIARY,
    INPUT,
    UNITY,
    Form,
    constant,
    plus,
    select,
    source_form,
)
from vnn_mondeq.onnx_io.backward_enclosure import Layers, enclose_backward
from vnn_mondeq.onnx_io.enclosure import Interval, enclose
from vnn_mondeq.onnx_io.feedback import Feedback, feedback
from vnn_mondeq.onnx_io.node import Node
from vnn_mondeq.onnx_io.solver_bound import solver_bound
from vnn_mondeq.rounding import SAFETY, norm_up
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
    """The blocks so far, in the order of the graph, and what bounds their values.

    - `box`: bounds of the flattened input, infinite where nothing is known.
    - `unit`: unit roundoff of the type of the model's inputs.
    - `knots`: whether curves are relaxed with knots (`relaxation.py`).
    - `auxiliary`: boxes of the auxiliary inputs so far, one for each relaxed node: quantities
      that the graph defines by a function that is not piecewise linear, known by their bounds only.
    """

    box: Interval
    unit: float
    knots: bool = True
    drafts: list[Draft] = field(default_factory=list)
    auxiliary: list[Interval] = field(default_factory=list)
    _known: dict[int, Interval] = field(default_factory=dict)
    _arguments: dict[int, Interval] = field(default_factory=dict)

    def enclose(self, form: Form) -> Interval:
        """Bounds `(size,)` of a tensor over the box, exact and in a runtime."""
        low, high = enclose(form, self._bounds, self.unit)
        if not any(source >= 0 for source in form.value) or not np.all(np.isfinite(self.box)):
            return low, high
        arguments = [draft.argument if draft.feedback is None else None for draft in self.drafts]
        layers = Layers(arguments, self._argument_bounds, self._bounds, self.unit)
        with np.errstate(invalid="ignore", over="ignore"):
            other = enclose_backward(form, layers)
        if other is None:
            return low, high
        return np.fmax(low, other[0]), np.fmin(high, other[1])

    def _argument_bounds(self, block: int) -> Interval:
        if block not in self._arguments:
            self._arguments[block] = self.enclose(self.drafts[block].argument)
        return self._arguments[block]

    def _bounds(self, source: int) -> Interval:
        """The interval of a source's variables, found once."""
        if source not in self._known:
            if source == UNITY:
                self._known[source] = (np.ones(1), np.ones(1))
            elif source == INPUT:
                self._known[source] = self.box
            elif source < INPUT:
                self._known[source] = self.auxiliary[AUXILIARY - source]
            else:
                self._known[source] = self._block_bounds(source)
        return self._known[source]

    def _block_bounds(self, block: int) -> Interval:
        draft = self.drafts[block]
        lower, upper = (np.maximum(bound, 0.0) for bound in self._argument_bounds(block))
        if draft.feedback is None:
            return lower, upper
        # ‖z*‖₂ <= ‖max(q, 0)‖₂ / m (vnn_mondeq.budget, step 1), and the body's own error.
        size = float(norm_up(upper)) / draft.proof.modulus * SAFETY + draft.solver_error
        return np.zeros(draft.kept.size), np.full(draft.kept.size, size)

    def within(self, lower: np.ndarray, upper: np.ndarray, like: Form) -> Form:
        """A tensor of `like`'s shape about which only `lower <= t <= upper` is known.

        Entries with equal bounds are constants. The others are a centre plus an auxiliary input.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            centre = 0.5 * lower + 0.5 * upper
            centre = np.where(np.isfinite(centre), centre, 0.0)
            radius = np.maximum(upper - centre, centre - lower)
        radius = np.where(lower == upper, 0.0, np.nextafter(radius, np.inf))
        return plus(constant(centre.reshape(like.shape), like.unit), self.noise(radius, like))

    def noise(self, radius: np.ndarray, like: Form) -> Form:
        """A tensor of `like`'s shape with `|t| <= radius`: a new auxiliary input for each entry
        with a positive radius."""
        free = np.flatnonzero(radius > 0.0)
        if not free.size:
            return Form(like.shape, {}, unit=like.unit)
        self.auxiliary.append((-radius[free], radius[free]))
        source = AUXILIARY - (len(self.auxiliary) - 1)
        return source_form(source, free.size, free, like.shape, like.unit)

    def rectified(self, argument: Form, name: str) -> Form:
        """ReLU of a tensor: a block without feedback, or a constant. A runtime's ReLU is exact."""
        if argument.is_constant:
            value = {k: csr_array(m.maximum(0.0)) for k, m in argument.value.items()}
            return dataclasses.replace(argument, value=value)
        flat = argument.reshaped((argument.size,))
        kept = np.arange(argument.size)
        proof = MonotonicityProof(modulus=1.0, norm=1.0)
        self.drafts.append(Draft(name, flat, argument.size, kept, None, proof, 0.0))
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
