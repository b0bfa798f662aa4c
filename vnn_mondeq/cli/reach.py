"""`vnn-mondeq reach`: an outer ellipsoid of the outputs, as numbers and as a picture."""

import argparse
import sys
import time
from typing import TYPE_CHECKING

from vnn_mondeq.cli import exit_code
from vnn_mondeq.cli.extras import require
from vnn_mondeq.cli.robustness import NORMS

if TYPE_CHECKING:
    from vnn_mondeq.onnx_io import LoadedModel
    from vnn_mondeq.query.input_set import AbstractInputSet
    from vnn_mondeq.sdp.ellipsoid import EllipsoidSettings
    from vnn_mondeq.sdp.ellipsoid_certificate import OuterEllipsoid

MODELS = ("strengthened", "plain")
PAIRS = ("none", "slopes", "cross")
"""Kept equal to the enums of `vnn_mondeq.sdp` by a test; importing them would load scipy."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.onnx")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--query", metavar="QUERY.vnnlib", help="take the input set of this query")
    source.add_argument("--input", metavar="X.npy", help="a ball around this input")
    parser.add_argument("--norm", choices=NORMS, default="inf", help="of the ball (default: inf)")
    parser.add_argument("--eps", metavar="RADIUS", help="of the ball; a decimal, taken exactly")
    parser.add_argument(
        "--clip", nargs=2, metavar=("LOW", "HIGH"), help="leave out inputs beyond this range"
    )
    parser.add_argument(
        "--classes",
        nargs=2,
        type=int,
        metavar=("I", "J"),
        help="the two outputs to project on (default: the two largest in the middle of the set)",
    )
    parser.add_argument("--plot", metavar="OUT.png", help="draw that projection (extra 'plot')")
    parser.add_argument("-o", "--output", metavar="ELLIPSOID.npz", help="write Q, b and center")
    parser.add_argument(
        "--relaxation", choices=MODELS, default=MODELS[0], help="default: strengthened"
    )
    parser.add_argument(
        "--pairs", choices=PAIRS, default=PAIRS[0], help="products of two neurons (default: none)"
    )
    parser.add_argument(
        "--thickness",
        type=float,
        default=0.0,
        metavar="PART",
        help="if the outputs lie in a plane: how far to reach out of it, as a part of their range "
        "(default: 0, refuse them)",
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="time limit")


def run(arguments: argparse.Namespace) -> int:
    from vnn_mondeq import api
    from vnn_mondeq.errors import DeadlineExceeded, InputError
    from vnn_mondeq.reach import reach
    from vnn_mondeq.result import NoAnswer

    if arguments.plot is not None:
        require("matplotlib", "--plot", "plot")
    model = api.load_model(arguments.model)
    model.system.require_piecewise_linear(arguments.model + ": an ellipsoid of outputs")
    if arguments.plot is not None:
        model.system.require_fixpoint(arguments.model + ": a plot of attained outputs")
    inputs = _input_set(arguments, model)
    pair = _pair(arguments.classes, model, inputs)
    began = time.monotonic()
    try:
        found = reach(model, inputs, settings=_settings(arguments), timeout=arguments.timeout)
    except DeadlineExceeded:
        raise InputError("no ellipsoid was found within the time limit; raise --timeout") from None
    if isinstance(found, NoAnswer):
        raise InputError(f"no ellipsoid: {found.detail or found.reason.value}")
    print("\n".join(describe(found, time.monotonic() - began)))
    if arguments.output is not None:
        _write(found, arguments.output)
    if arguments.plot is not None:
        _plot(arguments, model, inputs, found, pair)
        if not arguments.quiet:
            print(f"wrote {arguments.plot}", file=sys.stderr)
    return exit_code.OK


def _plot(
    arguments: argparse.Namespace,
    model: "LoadedModel",
    inputs: "AbstractInputSet",
    whole: "OuterEllipsoid",
    pair: tuple[int, int],
) -> None:
    """The picture: the projection of `whole`, and the smallest ellipse of the two outputs alone."""
    from vnn_mondeq.cli.reach_plot import Picture, draw
    from vnn_mondeq.reach import attained_outputs, reach
    from vnn_mondeq.result import NoAnswer

    alone = reach(model, inputs, outputs=pair, settings=_settings(arguments))
    attained = attained_outputs(model.system, inputs, pair)
    picture = Picture(
        pair,
        whole.shadow(*pair),
        None if isinstance(alone, NoAnswer) else alone.shadow(0, 1),
        attained.drawn[:, pair],
        attained.sought[:, pair],
    )
    draw(picture, arguments.plot)


def describe(ellipsoid: "OuterEllipsoid", seconds: float) -> list[str]:
    """What was proved, a line each; the last lines say which output is certainly the largest."""
    import numpy as np

    q = ellipsoid.b.size
    lines = [
        "proved: every output y satisfies |Q y + b| <= 1",
        f"log det Q: {ellipsoid.log_det:.6f} (larger is a smaller ellipsoid)",
        f"seconds: {seconds:.2f}",
    ]
    top = ellipsoid.support(np.eye(q))
    bottom = -ellipsoid.support(-np.eye(q))
    lines += [f"output {i}: from {bottom[i]:.6f} to {top[i]:.6f}" for i in range(q)]
    best = int(np.argmax(ellipsoid.center))
    if q > 1:
        others = np.delete(np.eye(q), best, axis=0) - np.eye(q)[best]
        margin = -float(np.max(ellipsoid.support(others)))
        verdict = "always the largest" if margin > 0.0 else "not proved to be always the largest"
        lines.append(f"output {best}: {verdict} (margin {margin:.6f})")
    return lines


def _settings(arguments: argparse.Namespace) -> "EllipsoidSettings":
    from vnn_mondeq.errors import InputError
    from vnn_mondeq.sdp.ellipsoid import EllipsoidSettings, Model
    from vnn_mondeq.sdp.ellipsoid_path import Pairs, PathSettings

    path = PathSettings(pairs=Pairs(arguments.pairs), gap=1e-3)
    if not 0.0 <= arguments.thickness < float("inf"):
        raise InputError(f"--thickness must be a number of at least 0, not {arguments.thickness}")
    return EllipsoidSettings(
        model=Model(arguments.relaxation), path=path, thickness=arguments.thickness
    )


def _input_set(arguments: argparse.Namespace, model: "LoadedModel") -> "AbstractInputSet":
    from vnn_mondeq.errors import InputError

    if arguments.query is not None:
        if arguments.eps is not None or arguments.clip is not None:
            raise InputError("--eps and --clip go with --input; a query states its own input set")
        return _set_of_query(arguments.query, model)
    if arguments.eps is None:
        raise InputError("--input needs --eps RADIUS")
    from vnn_mondeq.cli.arrays import load_array
    from vnn_mondeq.cli.robustness import as_input, shapes
    from vnn_mondeq.reach import input_region
    from vnn_mondeq.vnnlib_io.robustness import robustness_around

    shape, classes = shapes(model)
    x = as_input(load_array(arguments.input), model, shape, arguments.input)
    around = robustness_around(
        x, 0, NORMS[arguments.norm], arguments.eps, classes=max(classes, 2), clip=arguments.clip
    )
    return input_region(around)


def _set_of_query(path: str, model: "LoadedModel") -> "AbstractInputSet":
    from vnn_mondeq import api
    from vnn_mondeq.errors import InputError
    from vnn_mondeq.statement import build_problem

    query = api.load_query(path)
    if not query.is_about_one_model:
        raise InputError(
            f"{path}: is about several networks, hidden tensors or tied inputs; reach takes a set "
            "of inputs of one model (for a norm: --input and --norm)"
        )
    obligations = build_problem(model.system, query, model.element_type).obligations
    if len(obligations) != 1:
        raise InputError(
            f"{path}: has {len(obligations)} input sets with something to refute; reach needs one"
        )
    return obligations[0].inputs


def _pair(
    classes: list[int] | None, model: "LoadedModel", inputs: "AbstractInputSet"
) -> tuple[int, int]:
    """The two outputs of the picture. **Raises** `InputError`."""
    import numpy as np

    from vnn_mondeq.errors import InputError
    from vnn_mondeq.system.solve import FixpointSolver

    count = model.system.output_size
    if classes is not None:
        if not all(0 <= index < count for index in classes) or classes[0] == classes[1]:
            raise InputError(f"--classes needs two different outputs among 0 to {count - 1}")
        return classes[0], classes[1]
    lower, upper = inputs.bounds()
    if count < 2 or not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
        return 0, count - 1
    middle = inputs.project((0.5 * lower + 0.5 * upper)[None])
    output = model.system.output(FixpointSolver(model.system).solve(middle).value, middle)[0]
    order = np.argsort(-output)
    return int(order[0]), int(order[1])


def _write(ellipsoid: "OuterEllipsoid", path: str) -> None:
    import io

    import numpy as np

    from vnn_mondeq.whole_file import write_whole

    stream = io.BytesIO()
    np.savez(stream, Q=ellipsoid.Q, b=ellipsoid.b, center=ellipsoid.center, reach=ellipsoid.reach)
    write_whole(path, stream.getvalue())
