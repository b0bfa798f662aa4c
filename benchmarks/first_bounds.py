"""First bounds on a fixpoint, compared: contraction, Cayley interval, CRAFT's set, inductive box.

    OPENBLAS_NUM_THREADS=1 python benchmarks/first_bounds.py DATA_FOLDER tightness|reach \
        [--models fc40_mnist fc87_mnist fc200_mnist] [--images 10]

All are upper bounds `(Z, S)` on `z` and on the slack `s` over one input box (L∞ balls clipped to
[0, 1]; algorithms.md, section 4, gives the first two). `tightness`: how wide each is against the
inductive box, on how many of the `2 p` bounds it is the smaller one, and on how many after thirty
rounds of strip bounds from either. `reach`: up to which radius
an inductive box is found, where the other two say something for every radius.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from certify_table import IMAGES, exported_model

from vnn_mondeq.bounds.certificate import BoxRound
from vnn_mondeq.bounds.inductive import InductiveSettings, find_inductive_box
from vnn_mondeq.bounds.relaxation import StripRelaxation, project
from vnn_mondeq.craft.contain import Containment, plan_attempts
from vnn_mondeq.craft.inputs import enclose
from vnn_mondeq.craft.operators import constants_of
from vnn_mondeq.craft.settings import CraftSettings
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.solve import FixpointSolver

RADII = {"fc40_mnist": 0.05, "fc87_mnist": 0.05, "fc200_mnist": 0.05, "fc200_cifar10": 2 / 255}

Bounds = tuple[np.ndarray, np.ndarray]


class Region:
    """One input box around an image, with the fixpoint at its middle."""

    def __init__(self, system: ImplicitSystem, image: np.ndarray, radius: float):
        self.system = system
        lower, upper = np.maximum(image - radius, 0.0), np.minimum(image + radius, 1.0)
        self.box = Box.from_floats(lower, upper)
        self.center, self.half = 0.5 * (lower + upper), 0.5 * (upper - lower)
        self.z = np.maximum(FixpointSolver(system).solve(self.center[None]).value[0], 0.0)
        slack = self.z - (system.W @ self.z + system.U @ self.center + system.b)
        self.s = np.where(slack >= self.z, np.maximum(slack, 0.0), 0.0)
        self.z = np.where(self.s > 0.0, 0.0, self.z)

    @property
    def M(self) -> np.ndarray:
        return np.eye(self.system.neurons) - self.system.W


def contraction(region: Region) -> Bounds:
    """`ΔᵀMΔ <= ΔᵀUδ`: an ellipsoid of half the radius, with the root of the symmetric part."""
    M, spread = region.M, region.system.U * region.half
    values, vectors = np.linalg.eigh(0.5 * (M + M.T))
    root = vectors / np.sqrt(values)  # S^-1/2, up to an orthogonal factor
    moved = root.T @ spread
    # The largest length of S^-1/2 U δ over the box: entry by entry, or by the spectral norm.
    by_entries = np.linalg.norm(np.abs(moved).sum(axis=1))
    by_norm = np.linalg.norm(moved, 2) * np.sqrt(np.count_nonzero(region.half))
    radius = 0.5 * min(by_entries, by_norm)
    reach = 0.5 * np.abs(root @ moved).sum(axis=1) + radius * np.linalg.norm(root, axis=1)
    Z = np.maximum(region.z + reach, 0.0)
    change = np.abs(M) @ reach + np.abs(spread).sum(axis=1)
    return Z, np.where(region.z - reach > 0.0, 0.0, region.s + change)


def cayley(region: Region) -> Bounds | None:
    """`w = z - αs = T|w| + 2αV(Ux + b)`; `None` unless `|T|` has a spectral radius below one."""
    p = region.system.neurons
    alpha = 1.0 / (region.system.proof.modulus + 1.0)
    V = np.linalg.inv(np.eye(p) + alpha * region.M)
    T = np.abs(2.0 * V - np.eye(p))
    if np.abs(np.linalg.eigvals(T)).max() >= 1.0:
        return None
    drive = 2.0 * alpha * np.abs(V @ (region.system.U * region.half)).sum(axis=1)
    w, reach = region.z - alpha * region.s, np.linalg.solve(np.eye(p) - T, drive)
    for _ in range(50):  # |w| ranges over less than the radius where the interval has both signs
        low, high = w - reach, w + reach
        most = np.maximum(np.abs(low), np.abs(high)) - np.abs(w)
        least = np.where((low < 0) & (high > 0), 0.0, np.minimum(np.abs(low), np.abs(high)))
        reach = np.minimum(reach, T @ np.maximum(most, np.abs(w) - least) + drive)
    return np.maximum(w + reach, 0.0), np.maximum(-(w - reach), 0.0) / alpha


def craft(region: Region, seconds: float = 30.0) -> Bounds | None:
    """The pre-activation set `z - αs` of CRAFT's contained state, before any tightening."""
    settings, deadline = CraftSettings(), Deadline.after(seconds)
    symbols = enclose(region.box, region.system.U)
    constants = constants_of(region.system, symbols)
    for attempt in plan_attempts(region.system, settings):
        found = Containment(region.system, symbols, constants, attempt).run(region.z, deadline)
        if found is not None:
            low, high = found.preactivation.bounds()
            return np.maximum(high, 0.0), np.maximum(-low, 0.0) / found.iteration.alpha
    return None


def inductive(region: Region) -> Bounds | None:
    rounds = find_inductive_box(
        region.system,
        project(region.system, region.box),
        region.z,
        region.s,
        InductiveSettings(),
        Deadline.after(60.0),
    )
    return None if rounds is None else (rounds[-1].upper_z, rounds[-1].upper_s)


def tightened(region: Region, start: Bounds, rounds: int = 30) -> Bounds:
    """Strip bounds of every neuron under a box that is valid already, again and again."""
    box_z, box_s = start
    projection = project(region.system, region.box)
    for _ in range(rounds):
        found = StripRelaxation.of(region.system, projection, box_z, box_s).neuron_bounds()
        claim = BoxRound(found.upper_z, found.upper_s, found.for_z, found.for_s)
        box_z = np.minimum(box_z, np.maximum(claim.upper_z, 0.0))
        box_s = np.minimum(box_s, np.maximum(claim.upper_s, 0.0))
    return box_z, box_s


def excess(region: Region, bounds: Bounds) -> np.ndarray:
    """By how much the bounds exceed the fixpoint of the middle, `(2 p,)`."""
    return np.concatenate([bounds[0] - region.z, bounds[1] - region.s])


def tightness(model: str, regions: list[Region]) -> list[str]:
    makers = {"contraction": contraction, "Cayley interval": cayley, "CRAFT's set": craft}
    reference, seconds = [], time.process_time()
    for region in regions:
        reference.append(excess(region, inductive(region)))
    seconds = (time.process_time() - seconds) / len(regions)
    lines = [f"| {model} | inductive box | 1 | – | – | {seconds:.3f} |"]
    for name, make in makers.items():
        began, found = time.process_time(), [make(region) for region in regions]
        seconds = (time.process_time() - began) / len(regions)
        kept = [
            (region, bounds, best)
            for region, bounds, best in zip(regions, found, reference, strict=True)
            if bounds is not None
        ]
        if not kept:
            lines.append(f"| {model} | {name} | none | – | – | {seconds:.3f} |")
            continue
        wide = [excess(region, bounds).sum() / best.sum() for region, bounds, best in kept]
        smaller = [np.mean(excess(region, b) < best - 1e-9) for region, b, best in kept]
        after = []
        for region, bounds, _ in kept:
            own = excess(region, tightened(region, bounds))
            best = excess(region, tightened(region, inductive(region)))
            after.append(np.mean(own < best - 1e-4 * best.mean()))
        lines.append(
            f"| {model} | {name} | {np.median(wide):.3g} | {np.mean(smaller):.2%} | "
            f"{np.mean(after):.2%} | {seconds:.3f} |"
        )
    return lines


def reach(model: str, system: ImplicitSystem, images: np.ndarray) -> str:
    """The radii, in steps of a factor 1.25, at which a box is found on the median image."""
    last = []
    for image in images:
        radius = RADII[model]
        while radius < 1.0 and inductive(Region(system, image, radius)) is not None:
            radius *= 1.25
        last.append(radius / 1.25)
    return f"| {model} | {np.min(last):.3f} | {np.median(last):.3f} | {np.max(last):.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("what", choices=("tightness", "reach"))
    parser.add_argument("--models", nargs="+", default=["fc40_mnist", "fc87_mnist", "fc200_mnist"])
    parser.add_argument("--images", type=int, default=10)
    arguments = parser.parse_args()
    for model in arguments.models:
        system = exported_model(arguments.data / f"{model}.npz").system
        source = np.load(arguments.data / IMAGES[model.split("_")[1]])["images"]
        images = source[: arguments.images].reshape(arguments.images, -1) / 255.0
        if arguments.what == "tightness":
            regions = [Region(system, image, RADII[model]) for image in images]
            print("\n".join(tightness(model, regions)), flush=True)
        else:
            print(reach(model, system, images), flush=True)


if __name__ == "__main__":
    main()
