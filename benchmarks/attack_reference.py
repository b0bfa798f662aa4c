"""How many images survive the attack: FC87, the first 100 MNIST test images, 0.05 pixel units.

    python benchmarks/attack_reference.py DATA_FOLDER [--epsilon 0.05] [--images 100]

`DATA_FOLDER` holds `fc87_mnist.npz` and `mnist_test_first1000.npz`. Prints one line for each
region: survivors, seconds for an image, and the sum of worst margins. Reference for 0.05: 75
survive in `[x-e, x+e] & [0, 1]` (the clipped region), 28 in `[x-e, x+e]` (the unclipped one).
"""

import argparse
import time
from pathlib import Path

import numpy as np

from vnn_mondeq.attack import Schedule, attack_margins
from vnn_mondeq.system.implicit import dense_system
from vnn_mondeq.system.solve import FixpointSolver

REFERENCE_SURVIVORS = {"clipped": 75, "unclipped": 28}


def load_pixel_system(path: Path) -> FixpointSolver:
    """The network as a function of pixels in [0, 1]: its normalisation is folded into `U, b`."""
    data = np.load(path)
    m, A, B = float(data["m"]), data["A"], data["B"]
    W = (1.0 - m) * np.eye(A.shape[0]) - A.T @ A + B - B.T
    mean, std = float(data["mean"][0]), float(data["std"][0])
    b = data["u"] - data["U"].sum(axis=1) * mean / std
    return FixpointSolver(dense_system(W, data["U"] / std, b, data["C"], data["c"]))


def worst_margins(
    solver: FixpointSolver, pixels: np.ndarray, labels: np.ndarray, epsilon: float, clipped: bool
) -> np.ndarray:
    """For each image the smallest margin over all targets; infinite where misclassified."""
    margins = np.full(len(pixels), np.inf)
    logits = solver.system.output(solver.solve(pixels).value, pixels)
    for index in np.flatnonzero(logits.argmax(axis=1) == labels):
        lower, upper = pixels[index] - epsilon, pixels[index] + epsilon
        if clipped:
            lower, upper = np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0)
        margins[index] = attack_margins(solver, lower, upper, int(labels[index]), Schedule()).min()
    return margins


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epsilon", type=float, default=0.05)
    parser.add_argument("--images", type=int, default=100)
    arguments = parser.parse_args()
    solver = load_pixel_system(arguments.data / "fc87_mnist.npz")
    test = np.load(arguments.data / "mnist_test_first1000.npz")
    pixels = test["images"][: arguments.images].reshape(-1, 784) / 255.0
    labels = test["labels"][: arguments.images]
    for region in ("clipped", "unclipped"):
        began = time.perf_counter()
        margins = worst_margins(solver, pixels, labels, arguments.epsilon, region == "clipped")
        seconds = (time.perf_counter() - began) / len(pixels)
        correct = np.isfinite(margins)
        survivors = np.flatnonzero(correct & (margins > 0.0))
        print(
            f"{region}: {survivors.size} of {len(pixels)} survive, {seconds:.3f} s an image, "
            f"sum of worst margins {margins[correct].sum():.4f}"
        )
        print(f"  survivors: {' '.join(map(str, survivors))}")
        if (arguments.epsilon, arguments.images) == (0.05, 100):
            print(f"  reference: {REFERENCE_SURVIVORS[region]} survivors")


if __name__ == "__main__":
    main()
