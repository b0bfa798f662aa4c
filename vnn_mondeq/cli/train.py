"""`vnn-mondeq train`: train one of the shipped models anew, or one like it."""

import argparse
import dataclasses
from pathlib import Path

from vnn_mondeq.cli import exit_code
from vnn_mondeq.cli.console import observing

MODELS = ("digits_fc16", "mnist_fc40", "mnist_fc87", "mnist_convsmall")
"""Kept equal to `vnn_mondeq.training.train.PRESETS` by a test; importing it would load numpy."""

_CHANGES = {
    "size": (int, "neurons (fully connected) or channels (convolutional)"),
    "m": (float, "strong monotonicity"),
    "epochs": (int, "passes over the training images"),
    "batch_size": (int, "images of a step"),
    "learning_rate": (float, "its peak"),
    "noise": (float, "half-width of noise added to pixels"),
    "seed": (int, "of all random draws"),
}
"""Setting → its type and what it is; the defaults are the chosen model's."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", choices=MODELS, help=", ".join(MODELS))
    parser.add_argument(
        "-o", "--output", metavar="MODEL.onnx", help="default: NAME.onnx in this folder"
    )
    for name, (kind, meaning) in _CHANGES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=meaning)


def run(arguments: argparse.Namespace) -> int:
    from vnn_mondeq.training.train import preset, train

    settings = preset(arguments.name, Path(arguments.output or f"{arguments.name}.onnx"))
    given = {name: getattr(arguments, name) for name in _CHANGES}
    changes = {name: value for name, value in given.items() if value is not None}
    if arguments.threads is not None:
        changes["threads"] = arguments.threads
    settings = dataclasses.replace(settings, **changes)
    with observing(arguments.verbose, arguments.quiet, arguments.started) as observer:
        report = train(settings, observer)
    print(f"model: {report.path}")
    print(f"accuracy: {report.accuracy:.4f} of {report.test_images} test images")
    print(f"sha256: {report.sha256}")
    print(f"seconds: {report.seconds:.0f}")
    return exit_code.OK
