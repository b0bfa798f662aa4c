"""`vnn-mondeq lipschitz`: proved Lipschitz constants of a model. Only the bounds go to stdout."""

import argparse
import math
from typing import TYPE_CHECKING

from vnn_mondeq.cli import exit_code
from vnn_mondeq.cli.verify import parse_seconds
from vnn_mondeq.deadline import Deadline

if TYPE_CHECKING:
    import numpy as np

    from vnn_mondeq.query.input_set import AbstractInputSet
    from vnn_mondeq.system.implicit import ImplicitSystem

NORMS = {"2": 2.0, "inf": math.inf}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument(
        "--norm", choices=NORMS, default="2", help="of inputs and outputs (default: 2)"
    )
    parser.add_argument(
        "--pairs", action="store_true", help="also for the difference of each two outputs"
    )
    parser.add_argument(
        "--query", metavar="QUERY.vnnlib", help="only over the input sets of this query"
    )
    parser.add_argument(
        "--timeout",
        type=parse_seconds,
        default=math.inf,
        metavar="SECONDS",
        help="stop improving the bounds after this time",
    )


def run(arguments: argparse.Namespace) -> int:
    from vnn_mondeq import api

    deadline = Deadline(arguments.started + arguments.timeout)
    system = api.load_model(arguments.model).system
    system.require_fixpoint(f"{arguments.model}: a Lipschitz bound")
    system.require_piecewise_linear(f"{arguments.model}: a Lipschitz bound")
    norm = NORMS[arguments.norm]
    for where, inputs in _places(arguments.query, system):
        for line in describe(system, norm, arguments.pairs, inputs, deadline):
            print(f"{line} {where}", flush=True)
    return exit_code.OK


def describe(
    system: "ImplicitSystem",
    norm: float,
    pairs: bool,
    inputs: "AbstractInputSet | None",
    deadline: Deadline,
) -> list[str]:
    """One line for the whole output, and one for each pair of outputs."""
    from vnn_mondeq.sdp.lipschitz import lipschitz_bound, lipschitz_row_bounds

    name = "inf" if norm == math.inf else "2"
    whole = lipschitz_bound(system, norm, box=inputs, deadline=deadline)
    lines = [f"L{name} Lipschitz constant: at most {_shown(whole.value)}"]
    if pairs:
        rows, labels = _differences(system.output_size)
        bounds = lipschitz_row_bounds(system, norm, rows, box=inputs, deadline=deadline)
        lines += [
            f"L{name} Lipschitz constant of {label}: at most {_shown(bound.value)}"
            for label, bound in zip(labels, bounds, strict=True)
        ]
    return lines


def _shown(value: float) -> str:
    """Six digits, rounded up: a rounded proof would be none."""
    text = f"{value:.6g}"
    if float(text) >= value:
        return text
    return f"{value + 10.0 ** (math.floor(math.log10(value)) - 5):.6g}"


def _differences(outputs: int) -> "tuple[np.ndarray, list[str]]":
    import numpy as np

    pairs = [(i, j) for i in range(outputs) for j in range(i + 1, outputs)]
    rows = np.zeros((len(pairs), outputs))
    for index, (i, j) in enumerate(pairs):
        rows[index, i], rows[index, j] = 1.0, -1.0
    return rows, [f"Y[{i}] - Y[{j}]" for i, j in pairs]


def _places(
    query_path: str | None, system: "ImplicitSystem"
) -> "list[tuple[str, AbstractInputSet | None]]":
    """Where the constants hold, in words and as a set. **Raises** `MismatchError`."""
    from vnn_mondeq import api
    from vnn_mondeq.errors import MismatchError

    if query_path is None:
        return [("(all inputs)", None)]
    sets = {id(case.inputs): case.inputs for case in api.load_query(query_path).cases}
    if not sets:
        raise MismatchError(f"{query_path}: its constraints on inputs contradict each other")
    for inputs in sets.values():
        if inputs.dimension != system.input_size:
            raise MismatchError(
                f"{query_path}: declares {inputs.dimension} inputs, but the model has "
                f"{system.input_size}"
            )
    count = len(sets)
    return [
        (f"(input set {number} of {count} in {query_path})", inputs)
        for number, inputs in enumerate(sets.values(), start=1)
    ]
