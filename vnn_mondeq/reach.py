"""Reachable outputs: an outer ellipsoid that is proved, and outputs that are really attained.

region = input_region(robustness_around(x, label, math.inf, "0.01", classes=10))
answer = reach(model, region)
seen = attained_outputs(model.system, region, pair=(7, 3))
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

import numpy as np

from vnn_mondeq.budget import UNITS, ModelError, bound_model_error
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import InputError
from vnn_mondeq.problem import Rows
from vnn_mondeq.query.input_set import AbstractInputSet, Box, Intersection, LqBall
from vnn_mondeq.result import NoAnswer, Reason
from vnn_mondeq.rounding import SAFETY
from vnn_mondeq.sdp.ellipsoid import EllipsoidSettings, outer_ellipsoid
from vnn_mondeq.sdp.ellipsoid_certificate import OuterEllipsoid
from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.solve import FixpointSolver

if TYPE_CHECKING:
    from vnn_mondeq.onnx_io import LoadedModel
    from vnn_mondeq.vnnlib_io.robustness import Robustness


def input_region(around: "Robustness") -> AbstractInputSet:
    """The input set of a robustness statement: its box, its ball, or both."""
    box = Box.from_fractions(around.lower, around.upper)
    if around.ball is None:
        return box
    q, center, radius = around.ball.q, around.ball.center, around.ball.radius
    ball = LqBall(q, len(center), np.arange(len(center)), center, radius**q)
    return Intersection((box, ball))


def reach(
    model: "LoadedModel",
    inputs: AbstractInputSet,
    *,
    outputs: tuple[int, ...] | None = None,
    settings: EllipsoidSettings | None = None,
    timeout: float | None = None,
) -> OuterEllipsoid | NoAnswer:
    """A small ellipsoid that provably contains what the model computes on all `inputs`.

    Both the exact model of the file and a runtime that evaluates it in the file's element type
    are covered (`vnn_mondeq.budget`), as is the set read in float32.

    **Arguments:**

    - `outputs`: positions of the flattened outputs to speak of, in this order; by default all. The
      smallest ellipsoid of a few outputs lies inside the projection of the smallest one of all.
    - `timeout`: seconds, counted from this call.

    **Returns** `NoAnswer` with its reason when there is no such ellipsoid or none was found.

    **Raises** `InputError` for a set of another dimension and for inputs without bounds,
    `DeadlineExceeded`.
    """
    model.system.require_piecewise_linear("an ellipsoid of outputs")
    system = model.system if outputs is None else _with_outputs(model.system, outputs)
    if inputs.dimension != system.input_size:
        raise InputError(
            f"the input set has {inputs.dimension} coordinates, but the model has "
            f"{system.input_size} inputs"
        )
    widened = inputs.widened()
    lower, upper = widened.bounds()
    if not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
        return NoAnswer(Reason.UNBOUNDED_INPUT)
    deadline = Deadline.after(math.inf if timeout is None else timeout)
    found = outer_ellipsoid(system, widened, settings or EllipsoidSettings(), deadline)
    if isinstance(found, NoAnswer):
        return found
    error = bound_model_error(system, lower, upper, UNITS[model.element_type])
    moved = _output_error(system, error)
    if not np.all(np.isfinite(moved)):
        return NoAnswer(Reason.ROUNDING, "what a runtime may err on this input set is not bounded")
    return found.widened(moved)


def _with_outputs(system: ImplicitSystem, outputs: tuple[int, ...]) -> ImplicitSystem:
    """The system with only the chosen outputs."""
    rows, whole = np.array(outputs, dtype=np.intp), system.output
    chosen = AffineMap(
        whole.coefficients.take(rows),
        None if whole.radius is None else whole.radius.take(rows),
        None if whole.runtime is None else whole.runtime.take(rows),
    )
    return dataclasses.replace(system, output=chosen, outputs={"chosen": (len(outputs),)})


def _output_error(system: ImplicitSystem, error: ModelError) -> np.ndarray:
    """How far each output of a runtime may be from that of the stored arrays' fixpoint."""
    rows = system.output.coefficients.on_z
    return (error.output + error.row_shifts(rows, np.zeros_like(rows))) * SAFETY


@final
@dataclass(frozen=True, slots=True, eq=False)
class Attained:
    """Outputs of points of the input set, `(N, q)` each: drawn at random, and sought by descent."""

    drawn: np.ndarray
    sought: np.ndarray


@final
@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Random points, directions in the plane of the two outputs, starts and steps for each."""

    samples: int = 400
    directions: int = 48
    starts: int = 3
    steps: int = 40
    deadline: Deadline = field(default_factory=Deadline.never)


def attained_outputs(
    system: ImplicitSystem,
    inputs: AbstractInputSet,
    pair: tuple[int, int],
    settings: SearchSettings | None = None,
    seed: int = 0,
) -> Attained:
    """Outputs that the set attains (up to the last digits), the extreme ones of a pair among them.

    The descents minimise `cos φ · y_i + sin φ · y_j` for equally spaced `φ`: a picture from inside.
    Nothing here proves anything.

    **Raises** `InputError` for inputs without bounds, `UnsupportedModelError` for a model with a
    plain loop: what it attains is not the fixpoint.
    """
    from vnn_mondeq.attack.descent import descend
    from vnn_mondeq.attack.objective import Objective
    from vnn_mondeq.attack.region import make_region

    system.require_fixpoint("a search for attained outputs")
    settings = settings or SearchSettings()
    generator = np.random.default_rng(seed)
    region = make_region(inputs)
    if region is None:
        raise InputError("outputs cannot be sampled: an input has no bounds")
    solver = FixpointSolver(system)
    drawn = region.random(settings.samples, generator)
    angles = np.linspace(0.0, 2.0 * np.pi, settings.directions, endpoint=False)
    out = system.output.coefficients
    weights = np.zeros((settings.directions, system.output_size))
    weights[:, pair[0]], weights[:, pair[1]] = np.cos(angles), np.sin(angles)
    combined = Coefficients(weights @ out.on_z, weights @ out.on_x, weights @ out.offset)
    rows = Rows(combined, np.zeros(settings.directions))
    objective = Objective.of(rows, tuple((row,) for row in range(settings.directions)))
    cases = np.tile(np.arange(settings.directions), settings.starts)
    starts = region.random(cases.size, generator)
    sizes = np.repeat(np.geomspace(1.0, 0.02, settings.steps)[:, None], cases.size, axis=1)
    smooth = np.zeros(cases.size, dtype=bool)
    sought = descend(
        solver, objective, region, starts, cases, sizes, smooth, settings.deadline, False
    ).points
    return Attained(_outputs(solver, drawn), _outputs(solver, sought))


def _outputs(solver: FixpointSolver, points: np.ndarray) -> np.ndarray:
    return solver.system.output(solver.solve(points).value, points)
