"""`vnn-mondeq export`: raw weights to an ONNX model with the monDEQ operator."""

import argparse
import sys

from vnn_mondeq.cli import exit_code

_FORMS = ("factored", "W")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("weights", metavar="WEIGHTS.npz", help="arrays; layouts in docs/usage.md")
    parser.add_argument("model", metavar="MODEL.onnx", help="file to write, may end in .gz")
    parser.add_argument(
        "--form",
        choices=_FORMS,
        default="factored",
        help="store P, Q, m or the feedback matrix W itself (default: factored)",
    )
    parser.add_argument(
        "--image-size",
        nargs=2,
        type=int,
        metavar=("HEIGHT", "WIDTH"),
        help="of a convolutional net's input; 28 28 or 32 32 by its channels otherwise",
    )


def run(arguments: argparse.Namespace) -> int:
    from vnn_mondeq.cli.arrays import load_arrays
    from vnn_mondeq.onnx_io.export_arrays import export_arrays
    from vnn_mondeq.onnx_io.save import save

    size = None if arguments.image_size is None else tuple(arguments.image_size)
    arrays = load_arrays(arguments.weights)
    save(export_arrays(arrays, form=arguments.form, image_size=size), arguments.model)
    if not arguments.quiet:
        print(f"wrote {arguments.model}", file=sys.stderr)
    return exit_code.OK
