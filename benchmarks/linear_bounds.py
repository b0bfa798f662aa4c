"""Bounds of one (image, class) row under one inductive box: strips, the triangle LP, semidefinite.

    OPENBLAS_NUM_THREADS=1 python benchmarks/linear_bounds.py DATA_FOLDER [--images 20]
        [--models fc40_mnist fc87_mnist fc200_mnist] [--drawn 200]

L∞ 0.05 clipped, the hardest class of each image that the strips leave open, or drawn systems (up to
12 neurons). Margins: positive is proved. The LP is HiGHS' optimum. Seconds are of processor time.
"""

import argparse
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
from certify_table import IMAGES, exported_model, query_text

from vnn_mondeq import vnnlib_io
from vnn_mondeq.bounds.attempt import Attempt
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.bounds.relaxation import StripRelaxation, project
from vnn_mondeq.bounds.triangle import TriangleOptimum, TriangleProgram
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Problem
from vnn_mondeq.sdp.ascent import AscentSettings
from vnn_mondeq.sdp.engine import bound_case
from vnn_mondeq.sdp.phases import scaled_form
from vnn_mondeq.statement import build_problem

NEVER = Deadline.never()


def compared(problem: Problem) -> tuple[np.ndarray, np.ndarray] | None:
    """Margins of strips, LP and semidefinite bound of the hardest case, and seconds; `None` where
    the strips prove it."""
    system, obligation = problem.system, problem.obligations[0]
    attempt = InductiveBox(exact_within=0.0).prove(system, obligation, NEVER)
    if not isinstance(attempt, Attempt) or attempt.margin > 0.0:
        return None
    case = int(np.argmin(attempt.margins))
    (row,) = obligation.cases[case]
    last = attempt.proof.rounds[-1]
    box = (last.upper_z, last.upper_s)
    rows, bounds = obligation.rows, obligation.proof_inputs.bounds()
    on_z, on_x = -rows.coefficients.on_z[row], -rows.coefficients.on_x[row]
    began = time.process_time()
    relaxation = StripRelaxation.of(system, project(system, obligation.proof_inputs), *box)
    multipliers = relaxation.row_multipliers(on_z[None])
    strips = time.process_time()
    optimum = TriangleProgram(system, bounds, box).maximise(on_z, on_x, NEVER)
    program = time.process_time()
    form = scaled_form(system, *bounds, *box)
    whole = AscentSettings(certainty=0.05)
    found = bound_case(obligation, form, case, np.ones(1), whole, NEVER)
    ended = time.process_time()
    if not isinstance(optimum, TriangleOptimum) or found is None:
        return None
    allowed = rows.coefficients.offset[row] - rows.error[row]
    exact = relaxation.row_bounds(on_z[None], on_x[None], optimum.multipliers[None])[0]
    loose = relaxation.row_bounds(on_z[None], on_x[None], multipliers)[0]
    margins = np.array([allowed - loose, allowed - exact, found.margin])
    return margins, np.diff([began, strips, program, ended])


def summary(name: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> str:
    margins = np.array([margin for margin, _ in pairs])
    seconds = np.median([spent for _, spent in pairs], axis=0)
    strips, program, semidefinite = np.median(margins, axis=0)
    better = np.mean(margins[:, 2] > margins[:, 1])
    proved = (margins > 0.0).sum(axis=0)
    return (
        f"| {name} | {len(pairs)} | {strips:.3g} | {program:.3g} | {semidefinite:.3g} | "
        f"{proved[0]}, {proved[1]}, {proved[2]} | {better:.0%} | "
        f"{seconds[0]:.4f}, {seconds[1]:.3f}, {seconds[2]:.3f} |"
    )


def images(data: Path, model: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    loaded = exported_model(data / f"{model}.npz")
    source = np.load(data / IMAGES[model.split("_")[1]])
    settings = argparse.Namespace(norm="inf", region="clipped", epsilon=Fraction("0.05"))
    found = []
    for image, label in zip(source["images"][:count], source["labels"][:count], strict=True):
        text = query_text(loaded, image.reshape(-1) / 255.0, int(label), settings)
        problem = build_problem(loaded.system, vnnlib_io.parse(text), loaded.element_type)
        found.append(compared(problem))
    return [pair for pair in found if pair is not None]


def drawn(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Systems of the test suite, at a threshold that the strips miss by a little."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from strategies import FEEDBACKS, constraint, query_of, raw_system

    from vnn_mondeq.query.input_set import Box

    box, found = Box.from_floats(np.full(2, -1.0), np.full(2, 1.0)), []
    for seed in range(count):
        rng = np.random.default_rng([7, seed])
        raw = raw_system(rng, list(FEEDBACKS)[seed % len(FEEDBACKS)], 4 + seed % 9, 2, 1)
        for offset in (0.0, 0.5, 2.0):
            query = query_of([(box, [constraint({0: 1.0}, offset)])], 2, 1)
            found.append(compared(build_problem(raw.build(), query, "float64")))
    return [pair for pair in found if pair is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", nargs="*", default=["fc40_mnist", "fc87_mnist", "fc200_mnist"])
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--drawn", type=int, default=200)
    arguments = parser.parse_args()
    for model in arguments.models:
        print(summary(model, images(arguments.data, model, arguments.images)), flush=True)
    print(summary("drawn", drawn(arguments.drawn)), flush=True)


if __name__ == "__main__":
    main()
