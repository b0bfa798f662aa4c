"""`vnn-mondeq export`: weights to an ONNX model with the monDEQ operator."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vnn_mondeq.cli import exit_code

if TYPE_CHECKING:
    import onnx

_FORMS = ("factored", "W")

LAYOUTS = ("monotone-op-net", "craft", "semimondeq")
"""Kept equal to `vnn_mondeq.interop.layouts.LAYOUTS` by a test; importing it would load onnx."""

_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".mat")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "weights", metavar="WEIGHTS", help=".npz of arrays (docs/usage.md), or a checkpoint"
    )
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
        help="of a convolutional net's input (.npz); 28 28 or 32 32 by its channels otherwise",
    )
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="write the model even where verify would refuse it, with a warning",
    )
    checkpoint = parser.add_argument_group("checkpoints of public training codes (need PyTorch)")
    checkpoint.add_argument("--layout", choices=LAYOUTS, help="the code that wrote WEIGHTS")
    checkpoint.add_argument(
        "--monotonicity", type=float, metavar="M", help="the m that it was trained with; required"
    )
    checkpoint.add_argument(
        "--shape", type=_shape, metavar="CxHxW", help="of one input, such as 1x28x28 or 784"
    )
    for name in ("mean", "std"):
        checkpoint.add_argument(
            f"--{name}", nargs="+", type=float, metavar="X", help="normalisation, each channel"
        )
    checkpoint.add_argument(
        "--stride", type=int, default=3, help="of the input convolution (craft; default: 3)"
    )


def _shape(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 784 or 1x28x28") from None


def run(arguments: argparse.Namespace) -> int:
    from vnn_mondeq.errors import ModelError
    from vnn_mondeq.onnx_io.export_check import prove_readable
    from vnn_mondeq.onnx_io.save import save

    model = _build(arguments)
    try:
        found = f"monotonicity proved, modulus at least {prove_readable(model).modulus:.6g}"
    except ModelError as error:
        if not arguments.unchecked:
            raise type(error)(f"{error}. Nothing was written (--unchecked writes it)") from error
        found = f"warning: {error}"
    save(model, arguments.model)
    if not arguments.quiet:
        print(f"wrote {arguments.model}: {found}", file=sys.stderr)
    return exit_code.OK


def _build(arguments: argparse.Namespace) -> "onnx.ModelProto":
    from vnn_mondeq.errors import InputError

    size = None if arguments.image_size is None else tuple(arguments.image_size)
    if arguments.layout is None:
        from vnn_mondeq.cli.arrays import load_arrays
        from vnn_mondeq.onnx_io.export_arrays import export_arrays

        only = ("monotonicity", "shape", "mean", "std")
        given = [f"--{name}" for name in only if getattr(arguments, name) is not None]
        if given:
            raise InputError(
                f"{', '.join(given)} belong to a checkpoint; name the code that wrote it "
                f"(--layout), one of {', '.join(LAYOUTS)}"
            )
        if Path(arguments.weights).suffix in _CHECKPOINTS:
            raise InputError(
                f"{arguments.weights}: is a checkpoint by its name; name the code that wrote it "
                f"(--layout), one of {', '.join(LAYOUTS)}"
            )
        arrays = load_arrays(arguments.weights)
        return export_arrays(arrays, form=arguments.form, image_size=size, check=False)
    from vnn_mondeq.interop.layouts import CheckpointSettings, convert_checkpoint

    if arguments.monotonicity is None:
        raise InputError(
            "a checkpoint does not hold m; give what it was trained with (--monotonicity)"
        )
    if size is not None:
        raise InputError("--image-size belongs to .npz files; give the shape of an input (--shape)")
    settings = CheckpointSettings(
        arguments.monotonicity,
        arguments.shape,
        None if arguments.mean is None else tuple(arguments.mean),
        None if arguments.std is None else tuple(arguments.std),
        arguments.stride,
        arguments.form,
    )
    return convert_checkpoint(arguments.weights, arguments.layout, settings, check=False)
