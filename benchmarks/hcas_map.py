"""Which advisory a collision-avoidance network gives, certified region by region.

    OPENBLAS_NUM_THREADS=1 python benchmarks/hcas_map.py DATA_FOLDER [--heading 0.25] \
        [--side 1024] [--seconds 180] [--image docs/images/hcas_map.png] [--record FILE.json]

`fc100_hcas` has three inputs scaled to [0, 1]: downrange and crossrange position of the intruder
and its heading. The domain (a slice at `--heading`, or the whole cube without it) is cut until on
each region one advisory is proved to be the only largest score, for every input of the region and
the roundings of a float32 runtime, or until a side is `1/side`. Every leaf is confirmed at once by
`search/input_check.py`; the seconds printed include that, and nothing is counted without it.
"""

import argparse
import dataclasses
import itertools
import json
import os
import platform
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from certify_table import exported_model

from vnn_mondeq.bounds.check import Rejection
from vnn_mondeq.bounds.inductive import InductiveSettings
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.query.query import Case, LinearConstraint, Query, Variable
from vnn_mondeq.search.input_bound import BoundSettings, Held, RegionBounds
from vnn_mondeq.search.input_certificate import Refuted
from vnn_mondeq.search.input_check import Bounds, check_leaf, confirm_box
from vnn_mondeq.statement import build_problem
from vnn_mondeq.system.solve import FixpointSolver

ADVISORIES = ("clear of conflict", "weak left", "weak right", "strong left", "strong right")
BATCH = 256
INHERIT = 3
"""Bounds with at most this many undecided neurons are handed down without a new attempt, where the
corners of a region already disagree."""


@dataclass
class Lent:
    """Bounds found over a region, and what the check made of them once a leaf needed it."""

    held: Held
    lower: np.ndarray
    upper: np.ndarray
    confirmed: Bounds | Rejection | None = None


@dataclass
class Open:
    lower: np.ndarray
    upper: np.ndarray
    volume: float
    lent: Lent | None


@dataclass
class Map:
    """Certified leaves, and how the certified part of the volume grew."""

    leaves: list[tuple[np.ndarray, np.ndarray, int]] = field(default_factory=list)
    curve: list[tuple[float, float, float]] = field(default_factory=list)
    certified: float = 0.0
    visited: int = 0
    refused: int = 0
    too_small: float = 0.0
    too_small_mixed: float = 0.0
    seconds: float = 0.0
    processor: float = 0.0


def claims(model, lower: np.ndarray, upper: np.ndarray) -> list[Obligation]:
    """For each advisory: that another one scores at least as much, anywhere in the domain.

    They share one block of rows, all ordered pairs, so that bounds found for one serve all.
    """
    system = model.system
    ((x, x_shape),), ((y, y_shape),) = system.inputs.items(), system.outputs.items()
    kind = model.element_type
    variables = (
        Variable(x, kind, x_shape, "input", "f", 0),
        Variable(y, kind, y_shape, "output", "f", 0),
    )
    box = Box.from_floats(lower, upper)
    pairs = list(itertools.permutations(range(system.output_size), 2))
    rows = (
        LinearConstraint({}, {label: Fraction(1), other: Fraction(-1)}, Fraction(0), False)
        for label, other in pairs
    )
    query = Query("2.0", variables, tuple(Case(box, (row,)) for row in rows))
    (whole,) = build_problem(system, query, kind).obligations
    cases = [
        tuple((row,) for row, pair in enumerate(pairs) if pair[0] == label)
        for label in range(system.output_size)
    ]
    return [dataclasses.replace(whole, cases=own) for own in cases]


class Mapper:
    """Cuts the domain, largest regions first."""

    def __init__(self, model, lower: np.ndarray, upper: np.ndarray, side: int):
        self.system = model.system
        self.solver = FixpointSolver(self.system)
        # Regions are many and small: cutting beats better bounds (a quarter of the time).
        settings = BoundSettings(
            InductiveSettings(growth=0.1, rounds=30, shrinking=2), semidefinite_below=0
        )
        self.bounds = RegionBounds(self.system, settings, self.solver)
        self.claims = claims(model, lower, upper)
        self.side = 1.0 / side
        self.varying = np.flatnonzero(upper > lower)
        self.root = Open(lower, upper, 1.0, None)

    def run(self, seconds: float) -> Map:
        found = Map()
        began, spent = time.perf_counter(), time.process_time()
        deadline = Deadline.after(seconds)
        level = [self.root]
        while level and not deadline.expired:
            following: list[Open] = []
            for start in range(0, len(level), BATCH):
                if deadline.expired:
                    break
                batch = level[start : start + BATCH]
                for here, scores in zip(batch, self._scores(batch), strict=True):
                    following += self._visit(here, scores, found)
                found.seconds = time.perf_counter() - began
                found.processor = time.process_time() - spent
                found.curve.append((found.seconds, found.processor, found.certified))
            level = following
        return found

    def _scores(self, batch: list[Open]) -> np.ndarray:
        """Outputs at the corners and (last) the middle: `(regions, corners + 1, outputs)`."""
        picks = list(itertools.product((0, 1), repeat=self.varying.size))
        points = []
        for here in batch:
            sides = np.array([here.lower, here.upper])
            for pick in picks:
                point = here.lower.copy()
                point[self.varying] = sides[list(pick), self.varying]
                points.append(point)
            points.append(0.5 * (here.lower + here.upper))
        x = np.array(points)
        y = self.system.output(self.solver.solve(x).value, x)
        return y.reshape(len(batch), len(picks) + 1, -1)

    def _visit(self, here: Open, scores: np.ndarray, found: Map) -> list[Open]:
        found.visited += 1
        labels = scores.argmax(axis=1)
        label = int(labels[-1])
        is_mixed = bool(np.any(labels != label))
        part = self._part(self.claims[label], here)
        lent = here.lent
        effect = self._corner_effect(scores)
        if not (is_mixed and (here.volume > 2e-3 or (lent and lent.held.undecided <= INHERIT))):
            held = None if lent is None else lent.held
            tried = self.bounds.attempt(part, held, Deadline.never())
            if tried.is_own:
                lent = Lent(tried.held, here.lower, here.upper)
            if tried.is_closed:
                if self._is_confirmed(part, Refuted(tried.refutations), lent):
                    found.leaves.append((here.lower, here.upper, label))
                    found.certified += here.volume
                    return []
                found.refused += 1
            if not is_mixed:
                effect = tried.scores
        children = self._cut(here, effect, lent)
        if not children:
            found.too_small += here.volume
            found.too_small_mixed += here.volume * is_mixed
        return children

    def _part(self, claim: Obligation, here: Open | Lent) -> Obligation:
        return dataclasses.replace(claim, proof_inputs=Box.from_floats(here.lower, here.upper))

    def _is_confirmed(self, part: Obligation, leaf: Refuted, lent: Lent) -> bool:
        """By the independent check; bounds that many leaves use are confirmed once."""
        if lent.confirmed is None:
            over = self._part(part, lent)
            lent.confirmed = confirm_box(self.system, over, lent.held.claim)
        if isinstance(lent.confirmed, Rejection):
            return False
        margin = check_leaf(self.system, part, leaf, None, lent.confirmed)
        return not isinstance(margin, Rejection) and margin > 0.0

    def _corner_effect(self, scores: np.ndarray) -> np.ndarray:
        """How much the scores change along each input between the corners."""
        corners = scores[:-1].reshape((2,) * self.varying.size + (-1,))
        effect = np.zeros(self.root.lower.size)
        for axis, position in enumerate(self.varying):
            effect[position] = np.abs(np.diff(corners, axis=axis)).sum()
        return effect

    def _cut(self, here: Open, effect: np.ndarray, lent: Lent | None) -> list[Open]:
        width = here.upper - here.lower
        can_be_cut = width > 1.5 * self.side
        if not np.any(can_be_cut):
            return []
        # No side may fall behind the others by more than a factor of eight.
        can_be_cut &= width >= 0.125 * width.max()
        position = int(np.argmax(np.where(can_be_cut, effect, -1.0)))
        middle = 0.5 * (here.lower[position] + here.upper[position])
        below, above = here.upper.copy(), here.lower.copy()
        below[position] = above[position] = middle
        half = 0.5 * here.volume
        return [Open(here.lower, below, half, lent), Open(above, here.upper, half, lent)]


def argmax_agrees(model, data: Path) -> dict[str, float]:
    """The exported model against the published network's scores, and against the training table."""
    with np.load(data / "hcas_sample2000.npz") as sample:
        x, targets = sample["inputs"].astype(np.float64), sample["targets"]
    with np.load(data / "fc100_hcas.npz") as arrays:
        published = arrays["logits_first100"]
    y = model.system.output(FixpointSolver(model.system).solve(x).value, x)
    first = y[: len(published)]
    return {
        "first100_argmax_equal": float(np.mean(first.argmax(1) == published.argmax(1))),
        "first100_largest_difference": float(np.abs(first - published).max()),
        "sample2000_argmax_equals_table": float(np.mean(y.argmax(1) == targets.argmax(1))),
    }


def record(arguments: argparse.Namespace, model, found: Map) -> dict[str, object]:
    """Everything worth a line."""
    areas = dict.fromkeys(ADVISORIES, 0.0)
    for lower, upper, label in found.leaves:
        width = upper - lower
        areas[ADVISORIES[label]] += float(np.prod(width[width > 0.0]))
    curve = found.curve[:: max(1, len(found.curve) // 40)] + found.curve[-1:]
    return {
        "heading": arguments.heading,
        "side": arguments.side,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "threads": os.environ.get("OPENBLAS_NUM_THREADS", "all"),
        "seconds": round(found.seconds, 1),
        "processor_seconds": round(found.processor, 1),
        "certified": found.certified,
        "by_advisory": areas,
        "visited": found.visited,
        "leaves": len(found.leaves),
        "refused_by_check": found.refused,
        "too_small": found.too_small,
        "too_small_with_several_advisories": found.too_small_mixed,
        "curve_seconds_processor_certified": [
            (round(wall, 1), round(own, 1), round(part, 6)) for wall, own, part in curve
        ],
        **argmax_agrees(model, arguments.data),
    }


COLOURS = ("#dde3e8", "#9cc7e3", "#f4bd80", "#2272b0", "#d15a18")


def draw(found: Map, summary: dict[str, object], data: Path, path: Path) -> None:
    """The slice and its middle, coloured by certified advisory; what is not certified is white."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with np.load(data / "hcas_sample2000.npz") as sample:
        start, extent = sample["min_inputs"] / 1e3, sample["ranges"] / 1e3
    style = {"font.family": "DejaVu Sans", "font.size": 9, "axes.linewidth": 0.6}
    with plt.rc_context(style):
        figure, panels = plt.subplots(1, 2, figsize=(8.6, 4.7), layout="constrained")
        for axes in panels:
            _fill(axes, found, start, extent)
            axes.plot(0, 0, marker=(3, 0, -90), color="black", markersize=5)
            axes.set(aspect="equal", xlabel="downrange of the intruder (kft)")
            axes.tick_params(width=0.6, length=3)
        panels[0].set(xlim=(-56, 56), ylim=(-56, 56), ylabel="crossrange of the intruder (kft)")
        middle = {"xlim": (-6, 26), "ylim": (-9, 23)}
        panels[1].set(**middle)
        panels[0].indicate_inset((-6, -9, 32, 32), edgecolor="black", linewidth=0.6, alpha=0.8)
        handles = [
            plt.Rectangle((0, 0), 1, 1, facecolor=colour, label=_share(summary, name))
            for name, colour in zip(ADVISORIES, COLOURS, strict=True)
        ]
        rest = f"not certified, {100.0 * (1.0 - summary['certified']):.2f} %"
        handles.append(
            plt.Rectangle(
                (0, 0), 1, 1, facecolor="white", edgecolor="0.5", linewidth=0.5, label=rest
            )
        )
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
        figure.suptitle(
            f"Advisories of fc100_hcas at heading {_degrees(summary['heading'])}: "
            f"{100.0 * summary['certified']:.2f} % certified in {summary['seconds']:.0f} s",
            fontsize=10,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=160)


def _fill(axes, found: Map, start: np.ndarray, extent: np.ndarray) -> None:
    from matplotlib.collections import PolyCollection

    for label, colour in enumerate(COLOURS):
        corners = []
        for lower, upper, own in found.leaves:
            if own == label:
                left, low = start[:2] + lower[:2] * extent[:2]
                right, high = start[:2] + upper[:2] * extent[:2]
                corners.append([(left, low), (right, low), (right, high), (left, high)])
        # Hairlines of the same colour hide the seams between neighbours.
        axes.add_collection(
            PolyCollection(corners, facecolors=colour, edgecolors=colour, linewidths=0.1)
        )


def _share(summary: dict[str, object], name: str) -> str:
    return f"{name}, {100.0 * summary['by_advisory'][name]:.2f} %"


def _degrees(heading: float) -> str:
    return f"{360.0 * (heading - 0.5):.0f}°".replace("-", "\N{MINUS SIGN}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--heading", type=float, help="the third input; without it: the cube")
    parser.add_argument("--side", type=int, default=1024, help="smallest side is one over this")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    model = exported_model(arguments.data / "fc100_hcas.npz")
    lower, upper = np.zeros(3), np.ones(3)
    if arguments.image is not None and arguments.heading is None:
        parser.error("--image draws a slice: give its --heading")
    if arguments.heading is not None:
        lower[2] = upper[2] = arguments.heading
    found = Mapper(model, lower, upper, arguments.side).run(arguments.seconds)
    summary = record(arguments, model, found)
    if arguments.image is not None:
        draw(found, summary, arguments.data, arguments.image)
    if arguments.record is not None:
        arguments.record.write_text(json.dumps(summary) + "\n")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
