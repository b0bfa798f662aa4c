"""The engine: answers, reasons, settings, deadlines, other norms; and the reference networks."""

import dataclasses
import sys
from fractions import Fraction
from pathlib import Path

import laws
import numpy as np
import pytest
from places import ROOT
from strategies import constraint, query_of, raw_system

from vnn_mondeq.craft import contain as contain_module
from vnn_mondeq.craft import tighten as tighten_module
from vnn_mondeq.craft.check import check_craft
from vnn_mondeq.craft.contain import plan_attempts
from vnn_mondeq.craft.engine import Craft
from vnn_mondeq.craft.settings import (
    ABLATIONS,
    CraftSettings,
    Splitting,
    State,
    WideningRule,
)
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.progress import AbstractObserver, NullObserver
from vnn_mondeq.query.input_set import Box, Intersection, LqBall
from vnn_mondeq.result import CertificateCandidate, NoAnswer, Reason
from vnn_mondeq.sets.activation import Strip, relu_strip
from vnn_mondeq.sets.containment import ContainmentTest
from vnn_mondeq.statement import build_problem


def problem_on(raw, inputs, offset: float, rows: int = 1):
    """`y_0 + offset > 0` (and `y_1 + offset > 0`) on a set."""
    constraints = [constraint({k: 1.0}, offset) for k in range(rows)]
    query = query_of([(inputs, [c]) for c in constraints], raw.d, raw.q)
    return build_problem(raw.build(), query, "float32")


def run(problem, settings=None, seconds=20.0):
    engine = Craft() if settings is None else Craft(settings)
    return engine.run(problem, Deadline.after(seconds), NullObserver())


def drawn(seed: int, p: int = 6, d: int = 3):
    rng = np.random.default_rng([77, seed])
    raw = raw_system(rng, "plain", p, d, 2)
    middle = np.round(rng.normal(size=d) * 8) / 8
    return rng, raw, middle


def sets_around(middle):
    """One set of every norm about a point, all within 1/4 of it."""
    d = len(middle)
    box = Box.from_floats(middle - 0.25, middle + 0.25)
    center = tuple(Fraction(v) for v in middle)
    l2 = LqBall(2, d, np.arange(d), center, Fraction(1, 16))
    l1 = LqBall(1, d, np.arange(d), center, Fraction(1, 4))
    return {"box": box, "l2": l2, "l1": l1, "both": Intersection((box, l2))}


@pytest.mark.parametrize("kind", ["box", "l2", "l1", "both"])
def test_certified_margins_are_below_sampled_minima_for_every_norm(kind):
    certified = 0
    for seed in range(6):
        rng, raw, middle = drawn(seed)
        inputs = sets_around(middle)[kind]
        points = inputs.project(middle + rng.normal(size=(200, raw.d)) * 0.3)
        points = [x for x in points if inputs.contains(x)]
        least = min(float(laws.exact_outputs(raw, laws.exactly(x))[0]) for x in points[:12])
        problem = problem_on(raw, inputs, 3.0 - least)
        outcome = run(problem)
        if not isinstance(outcome.candidate, CertificateCandidate):
            continue
        margin = check_craft(problem, outcome.candidate.certificate, Deadline.never())
        assert isinstance(margin, float), margin
        assert 0.0 < margin <= 3.0
        certified += 1
    assert certified >= 4


def test_tight_obligations_on_smaller_norms_are_easier():
    """The L2 ball gives better margins than its bounding box: its own directions are used."""
    _, raw, middle = drawn(1, d=12)
    sets = sets_around(middle)
    margins = {k: run(problem_on(raw, sets[k], 100.0)).statistics["craft_margin"] for k in sets}
    assert margins["l2"] > margins["box"]
    assert margins["both"] > margins["box"]


def test_reasons_are_told():
    _, raw, middle = drawn(2)
    box = sets_around(middle)["box"]
    assert run(problem_on(raw, box, -1e4)).candidate.reason is Reason.BOUND_TOO_LOOSE
    unbounded = Box.from_floats(middle - 0.25, np.full(raw.d, np.inf))
    assert run(problem_on(raw, unbounded, 0.0)).candidate.reason is Reason.UNBOUNDED_INPUT
    late = Craft().run(problem_on(raw, box, 0.0), Deadline.after(0.0), NullObserver())
    assert late.candidate == NoAnswer(Reason.TIMED_OUT)
    hasty = CraftSettings(max_steps=2)
    assert run(problem_on(raw, box, 0.0), hasty).candidate.reason is Reason.NOT_CONTAINED
    narrow = CraftSettings(max_width=1e-12)
    assert run(problem_on(raw, box, 0.0), narrow).candidate.reason is Reason.NOT_CONTAINED


@pytest.mark.parametrize("p", [0, 1])
@pytest.mark.parametrize("width", [0.0, 0.25])
def test_tiny_systems_and_single_inputs(p, width):
    rng = np.random.default_rng(9)
    raw = raw_system(rng, "plain", p, 2, 2)
    box = Box.from_floats(np.zeros(2), np.full(2, width))
    problem = problem_on(raw, box, 1e3)
    outcome = run(problem)
    assert isinstance(outcome.candidate, CertificateCandidate), outcome
    assert isinstance(check_craft(problem, outcome.candidate.certificate, Deadline.never()), float)
    assert "case(s) refuted" in outcome.candidate.certificate.summary()


def test_events_are_observed_and_change_nothing():
    class Recorder(AbstractObserver):
        def __init__(self):
            self.kinds = []

        def phase(self, name):
            self.kinds.append(name)

        def progress(self, done, total):
            self.kinds.append("progress")

        def event(self, kind, **fields):
            self.kinds.append(kind)

    _, raw, middle = drawn(3)
    problem = problem_on(raw, sets_around(middle)["box"], 50.0)
    recorder = Recorder()
    watched = Craft().run(problem, Deadline.never(), recorder)
    assert {"craft", "progress"} <= set(recorder.kinds)
    assert watched.statistics["craft_margin"] == run(problem).statistics["craft_margin"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"consolidate_every": 0}, "consolidate_every"),
        ({"tighten_steps": -1}, "tighten_steps"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": float("inf")}, "alpha"),
        ({"line_search": ()}, "line_search"),
        ({"alpha_tighten": -1.0}, "alpha_tighten"),
        ({"widening_multiplier": 0.5}, "widening_multiplier"),
        ({"max_width": 0.0}, "max_width"),
        ({"joint_consolidation": False}, "joint_consolidation"),
    ],
)
def test_settings_refuse_nonsense_by_name(change, word):
    with pytest.raises(ValueError, match=word):
        CraftSettings(**change)


def test_paper_settings_are_table_4():
    settings = CraftSettings.paper(0.06, 3, 30, WideningRule.EXPONENTIAL)
    assert settings.state is State.JOINT and settings.alpha == 0.06
    assert (settings.consolidate_every, settings.consolidate_tightening) == (3, 30)
    assert (settings.patience, settings.further_pr_steps, settings.max_steps) == (90, 20, 500)
    assert not settings.intersect
    with pytest.raises(ValueError, match="unknown ablation 'x'"):
        settings.ablation("x")
    assert set(ABLATIONS) >= {"no-zonotope", "no-box", "only-pr", "only-fb", "only-contained"}


def test_widening_grows_at_every_second_consolidation():
    settings = CraftSettings(widening=WideningRule.EXPONENTIAL, widening_addition=0.01)
    values = [contain_module.widening_at(settings, k).addition for k in range(4)]
    assert values == pytest.approx([0.01, 0.01, 0.012, 0.012])
    none = contain_module.widening_at(CraftSettings(widening=WideningRule.NONE), 5)
    assert (none.multiplier, none.addition) == (1.0, 0.0)


def test_forward_backward_containment_never_plans_a_step_that_may_not_converge():
    _, raw, _ = drawn(4)
    system = raw.build()
    limit = 2.0 * system.proof.modulus / system.proof.norm**2
    settings = CraftSettings(contain_with=Splitting.FB)
    assert all(a.alpha < limit for a in plan_attempts(system, settings))
    assert not list(plan_attempts(system, dataclasses.replace(settings, alpha=1.01 * limit)))


# --- planted faults in the engine: the independent checker refuses what they make -----------------


def _thin(strip: Strip) -> Strip:
    return Strip(strip.slope, 0.0 * strip.offset, 0.0 * strip.reach)


FAULTS = {
    "containment is believed": lambda m: m.setattr(
        ContainmentTest, "worst_coefficient", lambda self, inner: 0.0
    ),
    "strips have no height": lambda m: m.setattr(
        tighten_module, "relu_strip", lambda low, high: _thin(relu_strip(low, high))
    ),
    "bounds shrink": lambda m: m.setattr(
        tighten_module.FixpointBounds,
        "tightened",
        lambda self, low, high, alpha: tighten_module.FixpointBounds(
            0.2 * np.maximum(high, 0.0), 0.2 * np.maximum(-low, 0.0) / alpha
        ),
    ),
}


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_the_checker_refuses_what_a_faulty_engine_claims(fault, monkeypatch):
    FAULTS[fault](monkeypatch)
    refused = 0
    for seed in range(12):
        _, raw, middle = drawn(seed)
        inputs = sets_around(middle)["box"]
        near = float(laws.exact_outputs(raw, laws.exactly(middle))[0])
        for gap in (0.05, 0.3, 1.0):
            problem = problem_on(raw, inputs, gap - near)
            outcome = run(problem)
            if not isinstance(outcome.candidate, CertificateCandidate):
                continue
            margin = check_craft(problem, outcome.candidate.certificate, Deadline.never())
            refused += not isinstance(margin, float)
            if isinstance(margin, float):
                assert margin <= gap
    assert refused > 0


# --- reference networks ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import craft_table
    finally:
        sys.path.pop(0)
    return craft_table


def reference_lines(table, data: Path, model: str, epsilon: float, images: list[int]):
    system = table.load_system(data / f"{model}.npz")
    arrays = np.load(data / table.IMAGES[model.split("_")[1]])
    for index in images:
        x = arrays["images"][index].reshape(-1) / 255.0
        label = int(arrays["labels"][index])
        yield table.run_image(system, CraftSettings(), x, label, epsilon, True, 60.0)


def test_fc87_images_of_the_paper_are_certified(shared_data, table):
    easy = list(reference_lines(table, shared_data, "fc87_mnist", 0.05, [1, 3, 10, 13, 14]))
    assert all(line.certified for line in easy)
    assert all(
        line.certified for line in reference_lines(table, shared_data, "fc87_mnist", 0.01, [0, 6])
    )


def test_fc87_images_that_the_attack_breaks_are_not_certified(shared_data, table):
    broken = list(reference_lines(table, shared_data, "fc87_mnist", 0.05, [9, 15, 18]))
    assert all(line.converged and not line.certified for line in broken)


@pytest.mark.parametrize("model", ["fc40_mnist", "convsmall_mnist"])
def test_systems_of_the_table_reproduce_the_reference_logits(shared_data, table, model):
    from vnn_mondeq.system.solve import FixpointSolver

    system = table.load_system(shared_data / f"{model}.npz")
    images = np.load(shared_data / "mnist_test_first1000.npz")["images"][:3]
    x = images.reshape(3, -1) / 255.0
    logits = system.output(FixpointSolver(system).solve(x).value, x)
    reference = np.load(shared_data / f"{model}.npz")["logits_first100"][:3]
    assert logits == pytest.approx(reference, abs=1e-9)
