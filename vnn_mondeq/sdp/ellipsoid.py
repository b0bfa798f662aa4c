"""The smallest ellipsoid of outputs that the semidefinite model proves for an input set.

    ellipsoid = outer_ellipsoid(system, inputs, EllipsoidSettings(), Deadline.after(60.0))

The result is checked (`ellipsoid_check.py`); `propose` is the search alone.
"""

import dataclasses
from dataclasses import dataclass, field
from enum import Enum
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import ObligationProof
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Rows
from vnn_mondeq.query.input_set import AbstractInputSet
from vnn_mondeq.result import NoAnswer, Reason
from vnn_mondeq.sdp.ellipsoid_certificate import (
    EllipsoidProof,
    OuterEllipsoid,
    ball_radius,
    enclosing_ball,
)
from vnn_mondeq.sdp.ellipsoid_check import Rejection, check_ellipsoid
from vnn_mondeq.sdp.ellipsoid_form import OutputForm
from vnn_mondeq.sdp.ellipsoid_path import PathEnd, PathSettings, follow
from vnn_mondeq.sdp.ellipsoid_products import Family, Products
from vnn_mondeq.sdp.phases import ScaledForm, scaled_form
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem

FLAT = 1e-9
"""Outputs whose directions are dependent to this relative accuracy have no smallest ellipsoid."""


class Model(Enum):
    """Which functions the certificate combines."""

    STRENGTHENED = "strengthened"
    """With the upper bounds of the inductive box (algorithms.md, section 5)."""
    PLAIN = "plain"
    """As published: `z >= 0`, `s >= 0`, `z s = 0` for all neurons, no upper bounds. `t` is free in
    the paper; it is positive here, which every feasible `t` is (the diagonal of `M` is)."""


FAMILIES = {
    Model.STRENGTHENED: (Family.COMPLEMENTARITY, Family.Z_CAP, Family.S_CAP),
    Model.PLAIN: (Family.COMPLEMENTARITY, Family.Z_SIGN, Family.S_SIGN),
}


@final
@dataclass(frozen=True, slots=True)
class EllipsoidSettings:
    """`model`, how the `path` is followed, and the engine that makes the inductive `box`.

    - `thickness`: where the outputs lie in a plane, how far the ellipsoid reaches out of it, as a
      part of the outputs' range; 0: such outputs are refused. (Small networks on small input sets
      have few neurons that move, and then more outputs than directions.)
    """

    model: Model = Model.STRENGTHENED
    path: PathSettings = field(default_factory=PathSettings)
    box: InductiveBox = field(default_factory=InductiveBox)
    thickness: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.thickness < np.inf:
            raise ValueError("EllipsoidSettings.thickness must be a number of at least 0")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """An unchecked proof, and numbers about the search (`PathEnd`)."""

    proof: EllipsoidProof
    end: PathEnd


def without_rows(system: ImplicitSystem, inputs: AbstractInputSet) -> Obligation:
    """An obligation about an input set, taken as it is, with nothing to refute."""
    p, d = system.neurons, system.input_size
    none = Coefficients(np.zeros((0, p)), np.zeros((0, d)), np.zeros(0))
    return Obligation(inputs, inputs, Rows(none, np.zeros(0)), ())


def outer_ellipsoid(
    system: ImplicitSystem,
    inputs: AbstractInputSet,
    settings: EllipsoidSettings,
    deadline: Deadline,
) -> OuterEllipsoid | NoAnswer:
    """A small ellipsoid that provably contains the outputs of all `inputs`.

    "Outputs" are those of the exact fixpoint of the stored arrays (`OuterEllipsoid`). Not
    guaranteed: that no smaller one exists.

    **Raises** `DeadlineExceeded`.
    """
    proposal = propose(system, inputs, settings, deadline)
    if isinstance(proposal, NoAnswer):
        return proposal
    checked = check_ellipsoid(system, inputs, proposal.proof)
    if isinstance(checked, Rejection):
        return NoAnswer(Reason.CERTIFICATE_REJECTED, checked.reason)
    return checked


def propose(
    system: ImplicitSystem,
    inputs: AbstractInputSet,
    settings: EllipsoidSettings,
    deadline: Deadline,
) -> Proposal | NoAnswer:
    """Search for the ellipsoid and its multipliers. **Raises** `DeadlineExceeded`."""
    attempt = settings.box.prove(system, without_rows(system, inputs), deadline)
    if isinstance(attempt, NoAnswer):
        return attempt
    scaled = _scaled(system, inputs, attempt.proof, settings.model)
    form = _output_form(system, scaled, inputs)
    if _is_flat(form) and settings.thickness > 0.0:
        form = _thickened(form, settings.thickness)
    elif _is_flat(form):
        return NoAnswer(
            Reason.NO_ENGINE,
            "the outputs over this input set lie in a plane (an output is constant, or a linear "
            "function of the others), so their smallest ellipsoid has no volume; leave out such "
            "outputs, use a larger input set, or allow a thickness out of the plane",
        )
    products = Products.of(FAMILIES[settings.model], form.e.size)
    end = follow(form, products, settings.path, deadline)
    if end is None:
        deadline.check()
        return NoAnswer(Reason.BOUND_TOO_LOOSE, "no multipliers make the quadratic form definite")
    return Proposal(_proof(system, inputs, attempt.proof, scaled, end), end)


def _scaled(
    system: ImplicitSystem, inputs: AbstractInputSet, box: ObligationProof, model: Model
) -> ScaledForm:
    p = system.neurons
    none = np.zeros(0)
    box_z, box_s = (box.rounds[-1].upper_z, box.rounds[-1].upper_s) if box.rounds else (none, none)
    if model is Model.PLAIN and p:
        # One unit for all: equal multipliers of z_i s_i are feasible in the unscaled variables.
        box_z, box_s = (np.full(p, np.max(side, initial=1e-6)) for side in (box_z, box_s))
    lower, upper = (side.copy() for side in inputs.bounds())
    ball = enclosing_ball(inputs)
    if ball is not None:
        near, radius = ball_radius(ball)
        lower[ball.coordinates], upper[ball.coordinates] = near - radius, near + radius
    return scaled_form(system, lower, upper, box_z, box_s)


def _output_form(
    system: ImplicitSystem, scaled: ScaledForm, inputs: AbstractInputSet
) -> OutputForm:
    c = system.output.coefficients
    rows = [scaled.row(c.on_z[i], c.on_x[i]) for i in range(c.offset.size)]
    on_z, on_x = (np.array([row[part] for row in rows]) for part in (0, 1))
    offset = np.array([row[2] for row in rows]) + c.offset
    B, count = scaled.B, scaled.varying.size
    owner = np.arange(count)
    ball = enclosing_ball(inputs)
    if ball is not None:
        # Only the span of the rows of [B; D] matters, and a ball looks the same in every basis.
        inside = np.isin(scaled.varying, ball.coordinates)
        stacked = np.vstack([B, on_x])
        turned = np.linalg.qr(stacked[:, inside].T, mode="r").T
        stacked = np.hstack([stacked[:, ~inside], turned])
        B, on_x = stacked[: len(B)], stacked[len(B) :]
        boxed = int(np.sum(~inside))
        owner = np.concatenate([np.arange(boxed), np.full(turned.shape[1], boxed)])
    units = (scaled.scale_z, scaled.scale_s)
    return OutputForm(scaled.A, B, scaled.e, on_z, on_x, offset, owner.astype(np.intp), *units)


def _is_flat(form: OutputForm) -> bool:
    directions = np.hstack([form.D, form.C])
    lengths = np.linalg.norm(directions, axis=1)
    if directions.shape[0] > directions.shape[1] or not np.all(lengths > 0.0):
        return True
    values = np.linalg.svd(directions / lengths[:, None], compute_uv=False)
    return bool(values[-1] <= FLAT * values[0])


def _thickened(form: OutputForm, thickness: float) -> OutputForm:
    """The outputs plus `r u`, `u` in the unit cube: inputs that move nothing but one output each.

    Their multipliers are left out of the proof, which holds at `u = 0`.
    """
    q = form.c.size
    spread = float(np.max(np.abs(form.D).sum(axis=1) + np.abs(form.C).sum(axis=1), initial=0.0))
    if spread == 0.0:
        spread = max(1.0, float(np.max(np.abs(form.c))))
    return dataclasses.replace(
        form,
        B=np.hstack([form.B, np.zeros((form.e.size, q))]),
        D=np.hstack([form.D, thickness * spread * np.eye(q)]),
        owner=np.concatenate([form.owner, form.groups + np.arange(q)]),
    )


def _proof(
    system: ImplicitSystem,
    inputs: AbstractInputSet,
    box: ObligationProof,
    scaled: ScaledForm,
    end: PathEnd,
) -> EllipsoidProof:
    kept = scaled.elimination.undecided
    # The point has level γ; the proof wants the multipliers of level 1.
    point, products = end.point, end.dual.products
    Q, b = end.dual.ellipsoid(point)
    units = np.ones((2, system.neurons))
    units[0, kept], units[1, kept] = scaled.scale_z, scaled.scale_s
    on_inputs = np.zeros(system.input_size)
    ball = enclosing_ball(inputs)
    varying = scaled.varying
    if ball is not None:
        varying = varying[~np.isin(varying, ball.coordinates)]
    on_inputs[varying] = point.inputs[: varying.size] / point.level
    has_ball = ball is not None and ball.coordinates.size > 0
    return EllipsoidProof(
        box=box,
        Q=Q,
        b=b,
        kept=kept,
        unit_z=units[0],
        unit_s=units[1],
        on_inputs=on_inputs,
        on_ball=float(point.inputs[varying.size] / point.level) if has_ball else None,
        family=products.family,
        left=kept[products.i],
        right=kept[products.j],
        value=products.multipliers(point.free) / point.level,
    )
