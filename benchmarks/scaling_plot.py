"""Draws time against size and radius from the records of `certify_table.py`.

    python benchmarks/scaling_plot.py [--records benchmarks/records] [--out docs/images/scaling.png]

Left: seconds an image over the number of neurons, clipped, the radius of the papers. Right: FC87
over the radius, clipped. Points are medians, bars reach from the 10th to the 90th percentile, and
crosses are the slowest images. Needs matplotlib (the extra `plot`).
"""

import argparse
import json
from pathlib import Path

import numpy as np

NETWORKS = {
    "fc40_mnist": ("FC40", 40, 784, "0.05"),
    "fc87_mnist": ("FC87", 87, 784, "0.05"),
    "fc200_mnist": ("FC200", 200, 784, "0.05"),
    "convsmall_mnist": ("ConvSmall", 392, 784, "0.05"),
    "fc200_cifar10": ("FC200", 200, 3072, "0.00784314"),
    "convsmall_cifar10": ("ConvSmall", 512, 3072, "0.00784314"),
}
COLOURS = {784: "#1f4e9c", 3072: "#c8501e"}


def seconds(folder: Path, model: str, epsilon: str) -> np.ndarray:
    """Of every image that was verified."""
    (path,) = folder.glob(f"{model}-linf-{epsilon}-clipped-auto-*.jsonl")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return np.array([record["seconds"] for record in records if "seconds" in record])


def mark(axes, x: float, times: np.ndarray, colour: str) -> None:
    low, middle, high = np.percentile(times, (10, 50, 90))
    axes.plot([x, x], [low, high], color=colour, linewidth=2)
    axes.plot(x, middle, "o", color=colour)
    axes.plot(x, times.max(), "x", color=colour)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=Path, default=Path("benchmarks/records"))
    parser.add_argument("--out", type=Path, default=Path("docs/images/scaling.png"))
    arguments = parser.parse_args()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for model, (name, neurons, inputs, epsilon) in NETWORKS.items():
        times = seconds(arguments.records, model, epsilon)
        place = neurons if inputs == 784 else neurons + 14  # two networks have 200 neurons
        mark(left, place, times, COLOURS[inputs])
        left.annotate(name, (place, np.median(times)), xytext=(6, -3), textcoords="offset points")
    for inputs, colour in COLOURS.items():
        left.plot([], [], "o-", color=colour, label=f"{inputs:,} inputs")
    left.set(xlabel="neurons p", ylabel="seconds an image", yscale="log")
    left.set_xlim(0, 600)
    left.legend(frameon=False, loc="lower right")
    for epsilon in ("0.01", "0.05", "0.1"):
        mark(right, float(epsilon), seconds(arguments.records, "fc87_mnist", epsilon), COLOURS[784])
    right.set(xlabel="radius ε, FC87", xlim=(0, 0.11))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=110)


if __name__ == "__main__":
    main()
