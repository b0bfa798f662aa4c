"""Margins found by the attack, for benchmarks and tests."""

import numpy as np

from vnn_mondeq.attack.objective import Objective
from vnn_mondeq.attack.region import make_region
from vnn_mondeq.attack.search import Schedule, Search
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Rows
from vnn_mondeq.query.input_set import AbstractInputSet, Box
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.solve import FixpointSolver


def attack_margins(
    system: ImplicitSystem | FixpointSolver,
    lower: np.ndarray,
    upper: np.ndarray,
    label: int,
    schedule: Schedule | None = None,
    deadline: Deadline | None = None,
) -> np.ndarray:
    """Smallest `y[label] - y[target]` found over the box `lower, upper (d,)`, for each target.

    Returns `(q,)`, infinite at `label`. Each number is an upper bound on the true smallest margin
    up to 1e-9 or so (it belongs to a float32 point of the box); negative: the box is not robust.
    Pass a `FixpointSolver` to factorise the system once for many boxes.
    """
    box = Box.from_floats(lower, upper)
    return attack_set_margins(system, box, label, schedule, deadline)


def attack_set_margins(
    system: ImplicitSystem | FixpointSolver,
    inputs: AbstractInputSet,
    label: int,
    schedule: Schedule | None = None,
    deadline: Deadline | None = None,
) -> np.ndarray:
    """`attack_margins` for any bounded input set. **Raises** `ValueError` for an unbounded one."""
    solver = system if isinstance(system, FixpointSolver) else FixpointSolver(system)
    region = make_region(inputs)
    if region is None:
        raise ValueError("the attack needs finite bounds on every input")
    outputs = solver.system.output_size
    targets = np.array([target for target in range(outputs) if target != label], dtype=np.intp)
    differences = np.zeros((targets.size, outputs))
    differences[:, label] = 1.0
    differences[np.arange(targets.size), targets] = -1.0
    rows = Rows(solver.system.output.coefficients.combine(differences), np.zeros(targets.size))
    cases = tuple((index,) for index in range(targets.size))
    search = Search(
        solver,
        Objective.of(rows, cases),
        region,
        Schedule() if schedule is None else schedule,
        Deadline.never() if deadline is None else deadline,
        stop_early=False,
    )
    margins = np.full(outputs, np.inf)
    margins[targets] = search.run().margins
    return margins
