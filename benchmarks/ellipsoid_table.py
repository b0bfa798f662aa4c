"""Outer ellipsoids of a reference network's outputs against the published ones.

    OPENBLAS_NUM_THREADS=1 python benchmarks/ellipsoid_table.py DATA_FOLDER RESULTS.jsonl \
        [--setting linf_0.01] [--model strengthened|plain] [--pairs none|slopes|cross] \
        [--images 0:100] [--gap 0.001] [--budget SECONDS]
    python benchmarks/ellipsoid_table.py DATA_FOLDER RESULTS.jsonl --table

`DATA_FOLDER` holds `fc87_mnist.npz`, `mnist_test_first1000.npz`, `semimondeq_ellipsoids.npz`. The
regions are those of the published ellipsoids: balls around the image, in pixel units, *not
clipped* unless the setting says so. One line of JSON an image is appended to RESULTS; images that
are there already are left out, so an interrupted run goes on where it stopped. Every ellipsoid is
the checked one. An image counts as certified when its label is above every other class on the
whole (checked) ellipsoid. Seconds are for one image, box, search and check together, in this
process.
"""

import argparse
import json
import math
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.query.input_set import AbstractInputSet, Box, LqBall
from vnn_mondeq.result import NoAnswer
from vnn_mondeq.sdp.ellipsoid import EllipsoidSettings, Model, propose
from vnn_mondeq.sdp.ellipsoid_check import Rejection, check_ellipsoid
from vnn_mondeq.sdp.ellipsoid_path import Pairs, PathSettings
from vnn_mondeq.system.implicit import ImplicitSystem, dense_system

NETWORK = "fc87_mnist"


def load(folder: Path) -> tuple[ImplicitSystem, np.ndarray, np.ndarray, float, float]:
    """System, normalised images `(100, 784)`, labels, standard deviation and mean of pixels."""
    data = np.load(folder / f"{NETWORK}.npz")
    m, A, B = float(data["m"]), data["A"], data["B"]
    W = (1.0 - m) * np.eye(A.shape[0]) - A.T @ A + B - B.T
    system = dense_system(W, data["U"], data["u"], data["C"], data["c"])
    images = np.load(folder / "mnist_test_first1000.npz")
    mean, std = float(data["mean"].reshape(())), float(data["std"].reshape(()))
    pixels = images["images"][:100].reshape(100, -1) / 255.0
    return system, (pixels - mean) / std, images["labels"][:100].astype(int), std, mean


def region(x: np.ndarray, setting: str, std: float, mean: float) -> AbstractInputSet:
    """The ball of a setting such as `linf_0.01`, `linf_0.05_clipped` (to [0, 1]) or `l2_0.10`."""
    norm, eps, *clipped = setting.split("_")
    radius = float(eps) / std
    if norm == "linf":
        lower, upper = x - radius, x + radius
        if clipped:
            least, most = -mean / std, (1.0 - mean) / std
            lower, upper = np.clip(lower, least, most), np.clip(upper, least, most)
        return Box.from_floats(lower, upper)
    center = tuple(Fraction(float(value)) for value in x)
    return LqBall(2, x.size, np.arange(x.size), center, Fraction(radius) ** 2)


def published(folder: Path, setting: str, image: int) -> tuple[float | None, float | None]:
    """`log |det Q|` of the published ellipsoid and its smallest margin, where there is one."""
    stored = np.load(folder / "semimondeq_ellipsoids.npz")
    if f"Q_{setting}" not in stored:
        return None, None
    Q, b = stored[f"Q_{setting}"][image], stored[f"b_{setting}"][image]
    label = int(np.load(folder / "mnist_test_first1000.npz")["labels"][image])
    others = np.delete(np.eye(b.size), label, axis=0) - np.eye(b.size)[label]
    h = np.linalg.solve(Q.T, others.T).T
    worst = float(np.max(-h @ b + np.linalg.norm(h, axis=1)))
    return float(np.linalg.slogdet(Q)[1]), -worst


def measure(system: ImplicitSystem, inputs: AbstractInputSet, label: int, arguments) -> dict:
    """One image: numbers of the search and of the checked ellipsoid."""
    path = PathSettings(gap=arguments.gap, pairs=Pairs(arguments.pairs))
    settings = EllipsoidSettings(model=Model(arguments.model), path=path)
    began = time.perf_counter()
    proposal = propose(system, inputs, settings, Deadline.never())
    found = time.perf_counter()
    if isinstance(proposal, NoAnswer):
        return {"seconds": found - began, "failure": proposal.reason.name}
    checked = check_ellipsoid(system, inputs, proposal.proof)
    done = time.perf_counter()
    if isinstance(checked, Rejection):
        return {"seconds": done - began, "failure": checked.reason}
    count = checked.b.size
    others = np.delete(np.eye(count), label, axis=0) - np.eye(count)[label]
    return {
        "seconds": done - began,
        "check_seconds": done - found,
        "undecided": int(proposal.proof.kept.size),
        "steps": proposal.end.steps,
        "rounds": [float(value) for value in proposal.end.gains],
        "log_det": checked.log_det,
        "margin": -float(np.max(checked.support(others))),
    }


def run(arguments: argparse.Namespace) -> None:
    folder = arguments.folder
    system, x, labels, std, mean = load(folder)
    key = {name: getattr(arguments, name) for name in ("setting", "model", "pairs", "gap")}
    done = {line["image"] for line in read(arguments.results) if key.items() <= line.items()}
    first, last = map(int, arguments.images.split(":"))
    began = time.monotonic()
    for image in range(first, last):
        if image in done:
            continue
        if time.monotonic() - began > arguments.budget:
            break
        inputs = region(x[image], arguments.setting, std, mean)
        numbers = measure(system, inputs, labels[image], arguments)
        log_det, margin = published(folder, arguments.setting, image)
        line = {**key, "image": image, **numbers}
        line |= {"published_log_det": log_det, "published_margin": margin}
        with arguments.results.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def read(results: Path) -> list[dict]:
    if not results.exists():
        return []
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]


def table(results: Path) -> None:
    """One line for each combination of settings."""
    groups: dict[tuple, list[dict]] = {}
    for line in read(results):
        key = tuple(line[name] for name in ("setting", "model", "pairs", "gap"))
        groups.setdefault(key, []).append(line)
    print("setting | model | pairs | images | certified | published | not certified | undecided | ")
    print("log det Q (ours, published) | volume ratio | smaller on | seconds (median, largest)")
    for key, lines in sorted(groups.items()):
        good = [line for line in lines if "log_det" in line]
        certified = [line["image"] for line in good if line["margin"] > 0.0]
        missed = sorted({line["image"] for line in lines} - set(certified))
        ours = np.array([line["log_det"] for line in good])
        theirs = np.array([line["published_log_det"] for line in good], dtype=float)
        seconds = [line["seconds"] for line in lines]
        published_count = sum((line["published_margin"] or -1.0) > 0.0 for line in lines)
        print(
            *key[:3],
            len(lines),
            len(certified),
            published_count,
            missed if len(missed) <= 12 else f"{len(missed)} images",
            f"{np.median([line['undecided'] for line in good]):.0f}",
            f"{np.mean(ours):.4f} {np.mean(theirs):.4f}",
            f"e^{np.mean(theirs - ours):.3f}",
            f"{int(np.sum(ours >= theirs))}/{len(good)}",
            f"{np.median(seconds):.2f} {np.max(seconds):.2f}",
            sep=" | ",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--setting", default="linf_0.01")
    parser.add_argument("--model", choices=[m.value for m in Model], default="strengthened")
    parser.add_argument("--pairs", choices=[p.value for p in Pairs], default="none")
    parser.add_argument("--images", default="0:100", metavar="FIRST:END")
    parser.add_argument("--gap", type=float, default=1e-3)
    parser.add_argument("--budget", type=float, default=math.inf, metavar="SECONDS")
    parser.add_argument("--table", action="store_true", help="only print the table of RESULTS")
    arguments = parser.parse_args()
    if not arguments.table:
        run(arguments)
    table(arguments.results)


if __name__ == "__main__":
    main()
