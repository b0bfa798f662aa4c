"""CRAFT on the first images of MNIST or CIFAR-10: how many converge and are certified, how fast.

    OPENBLAS_NUM_THREADS=1 python benchmarks/craft_table.py DATA_FOLDER fc87_mnist \
        [--epsilon 0.05] [--images 100] [--region clipped|unclipped] [--settings ours|paper] \
        [--ablation NAME|all] [--all] [--verbose]

`DATA_FOLDER` holds the networks and images (layout: see docs/craft.md). Epsilon is in pixel units;
`clipped` means `[x-ε, x+ε] & [0, 1]`. A certified image's certificate has been replayed by
`vnn_mondeq.craft.check`. Times are processor seconds for one correctly classified image, so that
other work on the machine does not count: containment and tightening ("seconds") and the check of
the certificate ("check"). With `--all` misclassified images count as converged too.

Published (clipped, 100 images): FC40 36, FC87 30, FC200 26, ConvSmall 68 (MNIST, 0.05); FC200 22,
ConvSmall 29 (CIFAR-10, 2/255).
"""

import argparse
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from lipschitz_table import robustness_problem

from vnn_mondeq.craft.check import check_craft
from vnn_mondeq.craft.engine import Craft
from vnn_mondeq.craft.settings import ABLATIONS, CraftSettings, WideningRule
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.result import CertificateCandidate, NoAnswer, Reason
from vnn_mondeq.system.implicit import ImplicitSystem, dense_system

IMAGES = {"mnist": "mnist_test_first1000.npz", "cifar10": "cifar10_test_first100.npz"}

PAPER = {
    "fc40_mnist": CraftSettings.paper(0.1, 3, 50),
    "fc87_mnist": CraftSettings.paper(0.1, 3, 50),
    "fc200_mnist": CraftSettings.paper(0.05, 5, 50),
    "convsmall_mnist": CraftSettings.paper(0.05, 5, 50, WideningRule.NONE),
    "fc200_cifar10": CraftSettings.paper(0.06, 3, 30, WideningRule.EXPONENTIAL),
    "convsmall_cifar10": CraftSettings.paper(0.06, 3, 30, WideningRule.EXPONENTIAL),
}
"""Table 4. (FCx100 is not among the data.)"""


def circular(kernel: np.ndarray, height: int, width: int) -> np.ndarray:
    """The matrix of a "same" correlation with circular padding, `(out h w, in h w)`."""
    out, into, size, _ = kernel.shape
    half = size // 2
    matrix = np.zeros((out, height, width, into, height, width))
    for i in range(size):
        for j in range(size):
            for y in range(height):
                for x in range(width):
                    column = (y + i - half) % height, (x + j - half) % width
                    matrix[:, y, x, :, column[0], column[1]] += kernel[:, :, i, j]
    return matrix.reshape(out * height * width, into * height * width)


def input_map(kernel: np.ndarray, shape: tuple[int, int, int], side: int, stride: int):
    """The matrix of the strided convolution of an image padded circularly by one."""
    channels, height, width = shape
    matrix = np.zeros((channels, height, width, kernel.shape[1], side, side))
    for y in range(height):
        for x in range(width):
            for i in range(kernel.shape[2]):
                for j in range(kernel.shape[3]):
                    row, column = (stride * y + i - 1) % side, (stride * x + j - 1) % side
                    matrix[:, y, x, :, row, column] += kernel[:, :, i, j]
    return matrix.reshape(channels * height * width, -1)


def pooled_outputs(C: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """`C` after a 2x2 average pooling, as a matrix on the unpooled `z`."""
    channels, height, width = shape
    rows, columns = height // 2, width // 2
    weights = C.reshape(C.shape[0], channels, rows, columns) / 4.0
    # An odd last row or column belongs to no window.
    matrix = np.zeros((C.shape[0], *shape))
    matrix[..., : 2 * rows, : 2 * columns] = weights.repeat(2, axis=2).repeat(2, axis=3)
    return matrix.reshape(C.shape[0], -1)


def load_system(path: Path) -> ImplicitSystem:
    """A network as a function of pixels in [0, 1]: its normalisation is folded into `U, b`."""
    data = np.load(path)
    m = float(data["m"])
    if "A" in data:
        A, B = data["A"], data["B"]
        W = (1.0 - m) * np.eye(A.shape[0]) - A.T @ A + B - B.T
        U, b, C, keep = data["U"], data["u"], data["C"], slice(None)
    else:
        shape = tuple(int(n) for n in data["z_shape"])
        A = circular(data["A_kernel"] / np.linalg.norm(data["A_kernel"]), *shape[1:])
        B = circular(data["B_kernel"] / np.linalg.norm(data["B_kernel"]), *shape[1:])
        B *= float(data["h"])
        W = (1.0 - m) * np.eye(A.shape[0]) - float(data["g"]) * A.T @ A + B - B.T
        side = 28 if data["U_kernel"].shape[1] == 1 else 32
        U = input_map(data["U_kernel"], shape, side, int(data["stride"]))
        b, C = np.repeat(data["U_bias"], shape[1] * shape[2]), pooled_outputs(data["C"], shape)
        inner = np.zeros(shape, dtype=bool)
        inner[:, 1:-1, 1:-1] = True
        keep = inner.ravel()
        W, U, b, C = W[np.ix_(keep, keep)], U[keep], b[keep], C[:, keep]
    pixels = U.shape[1] // data["mean"].size
    mean, std = np.repeat(data["mean"], pixels), np.repeat(data["std"], pixels)
    U = U / std
    return dense_system(W, U, b - U @ mean, C, data["c"])


@dataclass
class Line:
    """The outcome of one image."""

    converged: bool
    certified: bool
    seconds: float
    check_seconds: float
    margin: float


def run_image(
    system: ImplicitSystem,
    settings: CraftSettings,
    x: np.ndarray,
    label: int,
    epsilon: float,
    clipped: bool,
    timeout: float,
) -> Line:
    """Run and check one image."""
    lower, upper = x - epsilon, x + epsilon
    if clipped:
        lower, upper = np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0)
    problem = robustness_problem(system, Box.from_floats(lower, upper), label)
    began = time.process_time()
    outcome = Craft(settings).run(problem, Deadline.after(timeout), NullObserver())
    seconds = time.process_time() - began
    candidate = outcome.candidate
    margin = outcome.statistics.get("craft_margin", -np.inf)
    if not isinstance(candidate, CertificateCandidate):
        converged = isinstance(candidate, NoAnswer) and candidate.reason is Reason.BOUND_TOO_LOOSE
        return Line(converged, False, seconds, 0.0, margin)
    began = time.process_time()
    checked = check_craft(problem, candidate.certificate, Deadline.never())
    check_seconds = time.process_time() - began
    if not isinstance(checked, float):
        print(f"  certificate rejected: {checked.reason}")
    return Line(True, isinstance(checked, float), seconds, check_seconds, margin)


def table_row(name: str, settings: CraftSettings, arguments: argparse.Namespace) -> str:
    """Run all images with these settings; one line of the table."""
    system = load_system(arguments.data / f"{arguments.model}.npz")
    images = np.load(arguments.data / IMAGES[arguments.model.split("_")[1]])
    pixels = images["images"][: arguments.images].reshape(arguments.images, -1) / 255.0
    labels = images["labels"][: arguments.images]
    from vnn_mondeq.system.solve import FixpointSolver

    logits = system.output(FixpointSolver(system).solve(pixels).value, pixels)
    predicted = logits.argmax(axis=1)
    lines, converged = [], 0
    for index in range(arguments.images):
        correct = predicted[index] == labels[index]
        if not correct and not arguments.all:
            continue
        line = run_image(
            system,
            settings,
            pixels[index],
            int(predicted[index]),
            arguments.epsilon,
            arguments.region == "clipped",
            arguments.timeout,
        )
        converged += line.converged
        if not correct:
            continue
        lines.append(line)
        if arguments.verbose:
            print(
                f"  {index}: {'certified' if line.certified else 'open'} "
                f"margin {line.margin:.4f} {line.seconds:.2f}+{line.check_seconds:.2f} s",
                flush=True,
            )
    seconds = np.array([line.seconds for line in lines])
    checks = np.array([line.check_seconds for line in lines if line.certified])
    return (
        f"{name:24s} correct {len(lines):3d}  converged {converged:3d}  "
        f"certified {sum(r.certified for r in lines):3d}  seconds median {np.median(seconds):.2f} "
        f"mean {seconds.mean():.2f} max {seconds.max():.2f}  check mean "
        f"{checks.mean() if checks.size else 0.0:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("model", choices=sorted(PAPER))
    parser.add_argument("--epsilon", type=lambda text: float(Fraction(text)), default=0.05)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--region", choices=("clipped", "unclipped"), default="clipped")
    parser.add_argument("--settings", choices=("ours", "paper"), default="ours")
    parser.add_argument("--ablation", choices=(*ABLATIONS, "all"))
    parser.add_argument("--timeout", type=float, default=300.0)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument(
        "--all", action="store_true", help="try containment for misclassified images too"
    )
    arguments = parser.parse_args()
    base = PAPER[arguments.model] if arguments.settings == "paper" else CraftSettings()
    names = {None: ("reference",), "all": tuple(ABLATIONS)}.get(
        arguments.ablation, (arguments.ablation,)
    )
    print(
        f"{arguments.model}, epsilon {arguments.epsilon:.6g} ({arguments.region}), settings "
        f"{arguments.settings}, first {arguments.images} images"
    )
    for name in names:
        print(table_row(name, base.ablation(name), arguments), flush=True)


if __name__ == "__main__":
    main()
