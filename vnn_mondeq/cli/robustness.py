"""`vnn-mondeq robustness`: write the query "no input near this one is classified differently"."""

import argparse
import math
import sys
from typing import TYPE_CHECKING

from vnn_mondeq.cli import exit_code

if TYPE_CHECKING:
    import numpy as np

    from vnn_mondeq.onnx_io import LoadedModel

NORMS = {"inf": math.inf, "1": 1, "2": 2}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument(
        "--input", required=True, metavar="X.npy", help="the input, in the model's units"
    )
    parser.add_argument(
        "--label", type=int, metavar="CLASS", help="correct class (default: the model's prediction)"
    )
    parser.add_argument("--norm", choices=NORMS, default="inf", help="default: inf")
    parser.add_argument("--eps", required=True, metavar="RADIUS", help="a decimal, taken exactly")
    parser.add_argument(
        "--clip", nargs=2, metavar=("LOW", "HIGH"), help="leave out inputs beyond this range"
    )
    parser.add_argument("--format", choices=("1.0", "2.0"), default="2.0", help="default: 2.0")
    parser.add_argument(
        "--type",
        choices=("float", "real"),
        default="float",
        help="of 2.0 queries: the model's own float type, or exact arithmetic (default: float)",
    )
    parser.add_argument("-o", "--output", metavar="QUERY.vnnlib", help="default: stdout")
    parser.add_argument(
        "--norm-network",
        metavar="NORM.onnx",
        help="for --norm 1: where to write the second model that the query needs",
    )


def run(arguments: argparse.Namespace) -> int:
    from vnn_mondeq import api, vnnlib_io
    from vnn_mondeq.cli.arrays import load_array
    from vnn_mondeq.errors import InputError
    from vnn_mondeq.whole_file import write_whole

    if (arguments.norm == "1") != (arguments.norm_network is not None):
        raise InputError("--norm 1 needs --norm-network NORM.onnx, and no other norm does")
    model = api.load_model(arguments.model)
    shape, classes = shapes(model)
    x = as_input(load_array(arguments.input), model, shape, arguments.input)
    label = _prediction(model, x) if arguments.label is None else arguments.label
    text = vnnlib_io.robustness_query(
        x,
        label,
        NORMS[arguments.norm],
        arguments.eps,
        classes=classes,
        clip=arguments.clip,
        version=arguments.format,
        input_shape=shape,
        output_shape=next(iter(model.outputs.values())),
        element_type="real" if arguments.type == "real" else model.element_type,
        norm_output_shape=(1, 1),
    )
    if arguments.norm == "1":
        from vnn_mondeq.onnx_io.norm_network import export_norm_network
        from vnn_mondeq.onnx_io.save import save

        norm = export_norm_network(1, x, shape, dtype=model.dtype)
        save(norm, arguments.norm_network)
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        write_whole(arguments.output, text.encode())
    if not arguments.quiet:
        print(f"label {label}, L{arguments.norm} radius {arguments.eps}", file=sys.stderr)
    return exit_code.OK


def shapes(model: "LoadedModel") -> tuple[tuple[int, ...], int]:
    """The input shape and the number of classes. **Raises** `InputError` for several tensors."""
    from vnn_mondeq.errors import InputError

    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"{model.path}: robustness queries are for models with one input and one output; this "
            f"one has {len(model.inputs)} and {len(model.outputs)}"
        )
    (shape,) = model.inputs.values()
    return shape, model.system.output_size


def as_input(
    array: "np.ndarray", model: "LoadedModel", shape: tuple[int, ...], path: str
) -> "np.ndarray":
    """The array in the model's shape and element type. **Raises** `InputError`."""
    from vnn_mondeq.errors import InputError

    if array.size != math.prod(shape):
        raise InputError(
            f"{path}: has shape {list(array.shape)} ({array.size} numbers), but the model's input "
            f"is {list(shape)} ({math.prod(shape)} numbers)"
        )
    return array.astype(model.dtype).reshape(shape)


def _prediction(model: "LoadedModel", x: "np.ndarray") -> int:
    import numpy as np

    from vnn_mondeq.system.solve import FixpointSolver

    point = x.reshape(-1).astype(np.float64)
    system = model.on_box(point, point).system
    flat = np.concatenate([point, np.zeros(system.auxiliary_size)])[None]
    z = FixpointSolver(system).solve(flat).value
    return int(np.argmax(system.output(z, flat)[0]))
