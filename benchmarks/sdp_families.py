"""What each family of products adds to the semidefinite bound, and how its time grows.

    OPENBLAS_NUM_THREADS=1 python benchmarks/sdp_families.py DATA_FOLDER [families|growth]

Prints Markdown tables (docs/sdp.md holds them). `families`: on the hardest (image, class) pairs of
FC87, L∞ ε = 0.05 clipped, the bound at convergence with one family taken away. `growth`: seconds
for one pair against the numbers of neurons and inputs, on all reference networks.

A family is taken away by holding its multipliers at a tiny value, not at zero, so that the same
program runs. The inputs' family cannot go (nothing else bounds the inputs); its multipliers are
made equal instead, which leaves the ball around the box.
"""

import dataclasses
import os
import platform
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import final

import numpy as np
from certify_table import IMAGES, exported_model

from vnn_mondeq.bounds.attempt import Attempt
from vnn_mondeq.bounds.check import check_box
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Rows
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.sdp.ascent import AscentSettings, ascend
from vnn_mondeq.sdp.check import CaseJudge
from vnn_mondeq.sdp.engine import bound_case
from vnn_mondeq.sdp.phases import ScaledForm, scaled_form
from vnn_mondeq.sdp.shor import Evaluation, Multipliers, ShorDual
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.solve import FixpointSolver

EXACT = {(6, 8): -0.9626, (4, 9): -0.567, (2, 8): -0.610, (11, 8): -0.491, (5, 7): -0.667}
"""Mixed-integer optimum of `logit(class) - logit(label)` (algorithms.md, section 5)."""

PAIRS = (*EXACT, (20, 7))
SAMPLES = {**IMAGES, "hcas": "hcas_sample2000.npz"}
TINY = 1e-8
CONVERGED = AscentSettings(gap=1e-3, centred=1.0, steps=300)
FAMILIES = ("all four", "without t", "without ρ", "without ν", "equal σ")
NETWORKS = {
    "fc100_hcas": "1/5",
    "fc40_mnist": "1/20",
    "fc87_mnist": "1/20",
    "fc200_mnist": "1/20",
    "convsmall_mnist": "1/20",
    "fc200_cifar10": "2/255",
    "convsmall_cifar10": "2/255",
}


@final
@dataclass(frozen=True, slots=True)
class Restricted:
    """A dual whose multipliers move only along the columns of `directions`; for `ascend`."""

    whole: ShorDual
    start: Multipliers
    directions: np.ndarray

    @property
    def e(self) -> np.ndarray:
        return self.whole.e

    @property
    def on_z(self) -> np.ndarray:
        return self.whole.on_z

    @property
    def on_x(self) -> np.ndarray:
        return self.whole.on_x

    @property
    def order(self) -> float:
        return self.whole.order

    def uniform(self, sigma: float, products: float) -> Multipliers:
        frozen = self.start.products <= TINY
        moved = np.where(frozen, self.start.products, self.start.products * products)
        return Multipliers(self.start.sigma * sigma / products, moved)

    def evaluate(self, multipliers: Multipliers, tau: float) -> Evaluation | None:
        return self.whole.evaluate(multipliers, tau)

    def newton(self, at: Evaluation, tau: float) -> tuple[np.ndarray, float] | None:
        gradient, hessian = self.whole.derivatives(at, tau)
        P = self.directions
        try:
            step = -np.linalg.solve(P.T @ hessian @ P, P.T @ gradient)
        except np.linalg.LinAlgError:
            return None
        return P @ step, float(np.sqrt(max(-(P.T @ gradient) @ step, 0.0)))


def restricted(dual: ShorDual, form: ScaledForm, family: str) -> Restricted:
    """The dual without one family. Its start is feasible whatever is missing: `t = Z ∘ S` makes
    `sym(TA)` the symmetric part of `diag(Z) M diag(Z)`, positive definite."""
    k, n = dual.B.shape
    start = np.ones((3, k))
    keep = np.ones(n + 3 * k, dtype=bool)
    if family in ("without ρ", "without ν"):
        product = form.scale_z * form.scale_s
        start[0] = product / product.max()
    position = {"without t": 0, "without ρ": 1, "without ν": 2}.get(family)
    if position is not None:
        start[position] = TINY
        keep[n + position * k : n + (position + 1) * k] = False
    directions = np.eye(n + 3 * k)[:, keep]
    if family == "equal σ":
        common = np.zeros((n + 3 * k, 1))
        common[:n] = 1.0
        directions = np.hstack([common, directions[:, n:]])
    return Restricted(dual, Multipliers(np.ones(n), start.ravel()), directions)


def obligation_of(
    system: ImplicitSystem, x: np.ndarray, label: int, epsilon: float
) -> tuple[Obligation, list[int]]:
    """The clipped box around an image, one case for each other class."""
    box = Box.from_floats(np.clip(x - epsilon, 0, 1), np.clip(x + epsilon, 0, 1))
    others = [j for j in range(system.output_size) if j != label]
    differences = np.zeros((len(others), system.output_size))
    differences[:, label] = 1.0
    differences[np.arange(len(others)), others] = -1.0
    rows = Rows(system.output.coefficients.combine(differences), np.zeros(len(others)))
    return Obligation(box, box, rows, tuple((r,) for r in range(len(others)))), others


def prepared(
    system: ImplicitSystem, obligation: Obligation
) -> tuple[Attempt, ScaledForm, float] | None:
    """Box proof, scaled form and the seconds they took."""
    began = time.process_time()
    attempt = InductiveBox(exact_within=0.0).prove(system, obligation, Deadline.never())
    if not isinstance(attempt, Attempt):
        return None
    last = attempt.proof.rounds[-1]
    form = scaled_form(system, *obligation.proof_inputs.bounds(), last.upper_z, last.upper_s)
    return attempt, form, time.process_time() - began


def families(folder: Path) -> None:
    system, pixels, labels = reference(folder, "fc87_mnist")
    print("| image, class | exact | strips | " + " | ".join(FAMILIES) + " |")
    print("|---|---|---|" + "---|" * len(FAMILIES))
    for image, target in PAIRS:
        obligation, others = obligation_of(system, pixels[image], int(labels[image]), 0.05)
        case = others.index(target)
        attempt, form, _ = prepared(system, obligation)
        rows = obligation.rows.coefficients
        on_z, on_x, constant = form.row(-rows.on_z[case], -rows.on_x[case])
        constant -= rows.offset[case]
        dual = ShorDual(form.A, form.B, form.e, on_z, on_x)
        cells = [f"{-attempt.margins[case]:+.3f}"]
        for family in FAMILIES:
            model = restricted(dual, form, family)
            settings = dataclasses.replace(CONVERGED, scales=(100.0, 10.0, *CONVERGED.scales))
            found = ascend(model, -np.inf, settings, Deadline.after(120.0))
            value = "none" if found is None else f"{found.best.bound + constant:+.4f}"
            cells.append(value)
        exact = EXACT.get((image, target))
        cells.insert(0, "" if exact is None else f"{exact:+.4f}")
        print(f"| {image}, {target} | " + " | ".join(cells) + " |", flush=True)


def growth(folder: Path, pairs: int = 3) -> None:
    print("CPU seconds of one thread, medians.\n")
    print("| network | p | inputs | undecided | box, s | Newton steps | pair, s | check, s |")
    print("|---|---|---|---|---|---|---|---|")
    for name, epsilon in NETWORKS.items():
        system, pixels, labels = reference(folder, name)
        numbers = []
        for x, label in zip(pixels, labels, strict=True):
            obligation, _ = obligation_of(system, x, int(label), float(Fraction(epsilon)))
            made = prepared(system, obligation)
            if made is None or made[0].margins.min() > 0.0 or made[1].e.size == 0:
                continue
            numbers.append(measured(system, obligation, *made))
            if len(numbers) == pairs:
                break
        n, k, box, steps, pair, check = np.median(np.array(numbers), axis=0)
        print(
            f"| {name} | {system.neurons} | {n:.0f} | {k:.0f} | {box:.2f} | {steps:.0f} | "
            f"{pair:.2f} | {check:.2f} |",
            flush=True,
        )


def measured(
    system: ImplicitSystem,
    obligation: Obligation,
    attempt: Attempt,
    form: ScaledForm,
    seconds: float,
) -> tuple[float, ...]:
    """Inputs, undecided neurons, seconds for the box, Newton steps, seconds for the hardest case
    (until it is refuted or hopeless), seconds for its check."""
    case = int(np.argmin(attempt.margins))
    began = time.process_time()
    found = bound_case(obligation, form, case, np.ones(1), AscentSettings(), Deadline.after(120.0))
    pair = time.process_time() - began
    judge = CaseJudge(system, obligation, check_box(system, obligation, attempt.proof))
    began = time.process_time()
    judge.margin(obligation.cases[case], found.refutation)
    check = time.process_time() - began
    return form.varying.size, form.e.size, seconds, found.steps, pair, check


def reference(folder: Path, name: str) -> tuple[ImplicitSystem, np.ndarray, np.ndarray]:
    """System, pixels of the first 100 images, and the classes that the system gives them."""
    system = exported_model(folder / f"{name}.npz").system
    source = np.load(folder / SAMPLES[name.split("_")[1]])
    if "images" in source:
        pixels = source["images"][:100].reshape(100, -1) / 255.0
    else:
        pixels = source["inputs"][:100]
    logits = system.output(FixpointSolver(system).solve(pixels).value, pixels)
    return system, pixels, logits.argmax(axis=1)


def main() -> None:
    folder = Path(sys.argv[1])
    wanted = sys.argv[2:] or ["families", "growth"]
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{os.environ.get('OPENBLAS_NUM_THREADS', 'all')} threads, numpy {np.__version__}\n"
    )
    for name in wanted:
        {"families": families, "growth": growth}[name](folder)
        print()


if __name__ == "__main__":
    main()
