"""Lipschitz constants of a reference network, and how many images they certify.

    OPENBLAS_NUM_THREADS=1 python benchmarks/lipschitz_table.py DATA_FOLDER fc87_mnist \
        [--images 100] [--sets l2:0.1 linf:0.01 clipped:0.05] [--global] [--pairs]

`DATA_FOLDER` holds the networks and images (layout: docs/lipschitz.md). Constants are for
normalised inputs, epsilon is in pixel units; `clipped` means `[x-ε, x+ε] & [0, 1]`. "certified"
counts certificates that `vnn_mondeq.sdp.lipschitz_margin` has confirmed. Times are processor
seconds for one thread.

Published for FC87 (Chen et al. 2021, code with an unsound constraint): L2 4.67 in 1,757 s, L∞
108.84 in 1,899 s; certified by the constant: 91 at L2 0.1, 24 at L∞ 0.01, 0 at L∞ 0.05.
"""

import argparse
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem, Rows
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import AbstractInputSet, Box, LqBall
from vnn_mondeq.query.query import Query
from vnn_mondeq.result import CertificateCandidate
from vnn_mondeq.sdp.lipschitz import lipschitz_bound, lipschitz_row_bounds
from vnn_mondeq.sdp.lipschitz_engine import LipschitzEngine
from vnn_mondeq.sdp.lipschitz_margin import check_lipschitz
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem, dense_system
from vnn_mondeq.system.solve import FixpointSolver

NORMS = {"2": 2.0, "inf": np.inf}


def load(folder: Path, name: str):
    """System over normalised inputs; pixels `(N, d)` in [0, 1], labels, mean and std `(d,)`."""
    data = np.load(folder / f"{name}.npz")
    m, A, B = float(data["m"]), data["A"], data["B"]
    W = (1.0 - m) * np.eye(A.shape[0]) - A.T @ A + B - B.T
    system = dense_system(W, data["U"], data["u"], data["C"], data["c"])
    kind = "mnist_test_first1000" if "mnist" in name else "cifar10_test_first100"
    images = np.load(folder / f"{kind}.npz")
    pixels = images["images"].reshape(len(images["images"]), -1) / 255.0
    each = pixels.shape[1] // data["mean"].size
    return (
        system,
        pixels,
        images["labels"],
        *(np.repeat(data[key], each) for key in ("mean", "std")),
    )


def global_constants(system: ImplicitSystem) -> None:
    for text, norm in NORMS.items():
        began = time.process_time()
        bound = lipschitz_bound(system, norm)
        print(f"global L{text}: {bound.value:.4f} in {time.process_time() - began:.2f} s")


def pair_constants(system: ImplicitSystem) -> dict[str, np.ndarray]:
    """Norm → symmetric matrix of constants of output differences."""
    q, found = system.output_size, {}
    pairs = [(i, j) for i in range(q) for j in range(i)]
    weights = np.array([np.eye(q)[i] - np.eye(q)[j] for i, j in pairs])
    for text, norm in NORMS.items():
        began = time.process_time()
        values = [row.value for row in lipschitz_row_bounds(system, norm, weights)]
        seconds = time.process_time() - began
        table = np.zeros((q, q))
        for (i, j), value in zip(pairs, values, strict=True):
            table[i, j] = table[j, i] = value
        found[text] = table
        print(
            f"pairs L{text}: {min(values):.3f} to {max(values):.3f}, "
            f"{seconds / len(pairs):.3f} s each"
        )
    return found


def input_set(kind: str, epsilon: float, pixels, mean, std) -> AbstractInputSet:
    x, reach = (pixels - mean) / std, epsilon / std
    match kind:
        case "l2":
            center = tuple(Fraction(float(v)) for v in x)
            return LqBall(2, x.size, np.arange(x.size), center, Fraction(float(reach.max())) ** 2)
        case "linf":
            return Box.from_floats(x - reach, x + reach)
        case "clipped":
            return Box.from_floats(
                np.maximum(x - reach, -mean / std), np.minimum(x + reach, (1.0 - mean) / std)
            )
    raise SystemExit(f"unknown kind of set {kind!r}: l2, linf or clipped")


def robustness_problem(system: ImplicitSystem, inputs: AbstractInputSet, label: int) -> Problem:
    """`y_label > y_j` for every other class `j`."""
    c = system.output.coefficients
    others = np.array([j for j in range(system.output_size) if j != label])
    rows = Coefficients(
        c.on_z[label] - c.on_z[others],
        c.on_x[label] - c.on_x[others],
        c.offset[label] - c.offset[others],
    )
    cases = tuple((k,) for k in range(others.size))
    obligation = Obligation(inputs, inputs, Rows(rows, np.zeros(others.size)), cases)
    return Problem(system, Query("2.0", (), ()), (obligation,))


def certify(system, pixels, labels, mean, std, kind: str, epsilon: float) -> None:
    """The engine with its local bounds, image by image, each certificate checked."""
    engine, certified, seconds, checking = LipschitzEngine(), [], [], []
    for index, label in enumerate(labels):
        inputs = input_set(kind, epsilon, pixels[index], mean, std)
        problem = robustness_problem(system, inputs, int(label))
        began = time.process_time()
        outcome = engine.run(problem, Deadline.never(), NullObserver())
        between = time.process_time()
        seconds.append(between - began)
        if isinstance(outcome.candidate, CertificateCandidate):
            certificate = outcome.candidate.certificate
            margin = check_lipschitz(problem, certificate, Deadline.never())
            checking.append(time.process_time() - between)
            if isinstance(margin, float):
                certified.append(index)
            else:
                print(f"image {index}: certificate refused: {margin.reason}")
    print(
        f"engine {kind} {epsilon:g}: certified {len(certified)} of {len(labels)}; "
        f"median {np.median(seconds):.3f} s, mean {np.mean(seconds):.3f} s an image, "
        f"check {np.median(checking or [0.0]):.3f} s"
    )
    missing = sorted(set(range(len(labels))) - set(certified))
    print(f"    not certified: {missing if len(missing) <= 20 else f'{len(missing)} images'}")


def by_constants(system, pixels, labels, mean, std, tables, kind: str, epsilon: float) -> None:
    """Margins against the global constants of pairs, which need no further work per image."""
    x = (pixels - mean) / std
    c = system.output.coefficients
    y = FixpointSolver(system).solve(x).value @ c.on_z.T + x @ c.on_x.T + c.offset
    table = tables["2" if kind == "l2" else "inf"]
    reach = epsilon / float(std.min())
    margins = y[np.arange(len(labels)), labels][:, None] - y - table[labels] * reach
    margins[np.arange(len(labels)), labels] = np.inf
    count = int(np.sum(margins.min(axis=1) > 0.0))
    print(f"global pairs, {kind} {epsilon:g}: certified {count} of {len(labels)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("network")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--sets", nargs="*", default=["l2:0.1", "linf:0.01"])
    parser.add_argument("--global", dest="everywhere", action="store_true")
    parser.add_argument("--pairs", action="store_true")
    arguments = parser.parse_args()
    system, pixels, labels, mean, std = load(arguments.folder, arguments.network)
    images = (pixels[: arguments.images], labels[: arguments.images], mean, std)
    if arguments.everywhere:
        global_constants(system)
    tables = pair_constants(system) if arguments.pairs else None
    for text in arguments.sets:
        kind, epsilon = text.split(":")
        if tables is not None:
            by_constants(system, *images, tables, kind, float(epsilon))
        certify(system, *images, kind, float(epsilon))


if __name__ == "__main__":
    main()
