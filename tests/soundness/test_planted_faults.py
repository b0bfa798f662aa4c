"""Planted unsound changes of the product: for each, the law that must notice it fails.

Each entry names a change as someone might make it, patches it in, and runs a law of
`tests/laws.py` that holds without it (other test modules run the same laws unpatched). A fault
that no law notices is a hole in the suite, not in the product.
"""

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from unittest import mock

import laws
import numpy as np
import pytest

from vnn_mondeq import gate, statement
from vnn_mondeq.attack import ImplicitPgd, Schedule
from vnn_mondeq.bounds import check
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.query import ball, support
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.result import (
    AbstractEngine,
    CertificateCandidate,
    Outcome,
    Result,
    Verdict,
    WitnessCandidate,
)
from vnn_mondeq.sets import activation, consolidation, containment, mixed_zonotope
from vnn_mondeq.sets.activation import Strip
from vnn_mondeq.sets.mixed_zonotope import MixedZonotope


def no_rounding(module) -> list:
    """Rounding errors are small, so leave them out."""
    changes = {"gamma": lambda *a: 0.0, "UNDERFLOW": 0.0, "SAFETY": 1.0, "UNIT": 0.0}
    return [
        mock.patch.object(module, name, value)
        for name, value in changes.items()
        if hasattr(module, name)
    ]


def strip_without_reach() -> list:
    relu = activation.relu_strip

    def forgetful(lower, upper, slope=None):
        return dataclasses.replace(relu(lower, upper, slope), reach=np.zeros_like(lower))

    return [mock.patch.object(activation, "relu_strip", forgetful)]


def strip_with_epsilon_in_the_divisor() -> list:
    """The public CRAFT code: `λ = u / (u - l + 1e-6)`, error term `-λ l / 2` only."""

    def hopeful(lower, upper, slope=None):
        lam = upper / (upper - lower + 1e-6)
        lam = np.where(upper <= 0, 0.0, np.where(lower >= 0, 1.0, lam))
        mu = np.where((upper <= 0) | (lower >= 0), 0.0, -0.5 * lam * lower)
        return Strip(lam, mu, mu)

    return [mock.patch.object(activation, "relu_strip", hopeful)]


def absolute_strip_of_half_height() -> list:
    absolute = activation.absolute_strip

    def flat(lower, upper, slope=None):
        strip = absolute(lower, upper, slope)
        return dataclasses.replace(strip, reach=0.5 * strip.reach)

    return [mock.patch.object(activation, "absolute_strip", flat)]


def scale_shift_without_extra() -> list:
    original = MixedZonotope.scale_shift

    def lossy(self, factor, shift, extra):
        return original(self, factor, shift, np.zeros_like(extra))

    return [mock.patch.object(MixedZonotope, "scale_shift", lossy)]


def affine_without_radius() -> list:
    original = MixedZonotope.affine

    def lossy(self, matrix, offset, **options):
        bare = MixedZonotope(self.center, self.generators, np.zeros_like(self.radius), self.shared)
        return original(bare, matrix, offset, **options)

    return [mock.patch.object(MixedZonotope, "affine", lossy)]


def consolidation_without_absolute_values() -> list:
    def signed(zonotope, basis, widening):
        lengths = np.abs((basis.inverse @ zonotope.generators).sum(axis=1))
        return MixedZonotope(zonotope.center, basis.directions * lengths, zonotope.radius)

    return [mock.patch.object(consolidation, "reduce_to_basis", signed)]


def consolidation_without_remainder() -> list:
    def exact(zonotope, basis, widening):
        lengths = np.abs(basis.inverse @ zonotope.generators).sum(axis=1)
        return MixedZonotope(zonotope.center, basis.directions * lengths, zonotope.radius)

    return [mock.patch.object(consolidation, "reduce_to_basis", exact)]


def containment_with_tolerance() -> list:
    def lenient(self, inner):
        worst = self.worst_coefficient(inner)
        return containment.ContainmentProof(inner, self.outer, worst) if worst <= 1.1 else None

    return [mock.patch.object(containment.ContainmentTest, "prove", lenient)]


def containment_without_centre_difference() -> list:
    original = containment.ContainmentTest.worst_coefficient

    def centred(self, inner):
        moved = MixedZonotope(self.outer.center, inner.generators, inner.radius)
        return original(self, moved)

    return [mock.patch.object(containment.ContainmentTest, "worst_coefficient", centred)]


def box_support_without_rounding() -> list:
    return no_rounding(support)


def ball_support_without_rounding() -> list:
    original = ball.LqBall.center_floats
    exact = mock.patch.object(
        ball.LqBall, "center_floats", lambda self: (original(self)[0], 0.0 * original(self)[1])
    )
    return [*no_rounding(ball), exact]


def box_not_widened() -> list:
    return [mock.patch.object(Box, "widened", lambda self: self)]


def bias_dropped() -> list:
    """As the public SemiMonDEQ code does."""
    original = statement._rows

    def unbiased(system, constraints, x_abs, model):
        c = system.output.coefficients
        bare = dataclasses.replace(
            system.output, coefficients=dataclasses.replace(c, offset=np.zeros_like(c.offset))
        )
        return original(dataclasses.replace(system, output=bare), constraints, x_abs, model)

    return [mock.patch.object(statement, "_rows", unbiased)]


def row_errors_dropped() -> list:
    original = statement._rows

    def careless(*arguments):
        rows = original(*arguments)
        return dataclasses.replace(rows, error=np.zeros_like(rows.error))

    return [mock.patch.object(statement, "_rows", careless)]


def checker_without_support() -> list:
    """The input set counts as its anchor only."""
    return [
        mock.patch.object(check.ProofInputs, "support", lambda self, rows: rows @ self.anchor),
    ]


def checker_without_slack_vertex() -> list:
    original = check._dual_bounds

    def one_sided(*arguments, **options):
        return original(*arguments, **{**options, "box_s": np.zeros_like(options["box_s"])})

    return [mock.patch.object(check, "_dual_bounds", one_sided)]


def checker_accepts_any_round() -> list:
    return [
        mock.patch.object(check, "round_follows", lambda *a, **k: True),
        mock.patch.object(check, "_holds_at_anchor", lambda *a, **k: True),
    ]


def gate_trusts_the_engine() -> list:
    return [
        mock.patch.object(gate, "checkers", lambda: {Boast: lambda *arguments: 1.0}),
    ]


def gate_ignores_missing_cases() -> list:
    return [mock.patch.object(gate.Gate, "_uncovered_case", lambda self: None)]


def gate_does_not_replay() -> list:
    from vnn_mondeq.result import Witness

    def credulous(self, x):
        return Witness({"X": x.astype(np.float32)}, {}, 1.0, "nobody")

    return [mock.patch.object(gate.Gate, "confirm_witness", credulous)]


def gate_forgets_the_input_set() -> list:
    return [
        mock.patch.object(Box, "contains", lambda self, point: True),
        mock.patch.object(gate, "round_into", lambda inputs, x, dtype: x.astype(dtype)),
    ]


class Boast(laws.AbstractCertificate):
    """A certificate that claims and does not prove."""

    def summary(self) -> str:
        return "trust me"


@dataclasses.dataclass(frozen=True)
class Says(AbstractEngine):
    """An engine that always returns the same kind of candidate."""

    make: Callable[[object], object]

    @property
    def name(self) -> str:
        return "says"

    def run(self, problem, deadline, observer) -> Outcome:
        return Outcome(self.make(problem))


def boasting() -> Callable[..., Result]:
    return laws.solve_with(Says(lambda problem: CertificateCandidate(Boast())))


def guessing() -> Callable[..., Result]:
    """Says `sat` at the centre of the box, whatever the model computes there."""

    def centre(problem):
        lower, upper = problem.obligations[0].inputs.bounds()
        return WitnessCandidate(0.5 * (lower + upper))

    return laws.solve_with(Says(centre))


def straying() -> Callable[..., Result]:
    """Offers points far outside of the box."""
    return laws.solve_with(
        *(
            Says(lambda problem, far=far: WitnessCandidate(np.full(problem.system.input_size, far)))
            for far in (30.0, -30.0)
        )
    )


def no_wrong_verdict(solve: Callable[..., Result]) -> None:
    laws.law_verdicts_agree_with_the_oracle(solve, range(24), sat=0, unsat=0)


def proving() -> Callable[..., Result]:
    return laws.solve_with(ImplicitPgd(Schedule(steps=20, restarts=2, rounds=0)), InductiveBox())


def false_certificates_are_refused() -> None:
    """Certificates whose first box is a fifth of what it should be, for drawn statements."""

    def shrunk(problem):
        outcome = InductiveBox().run(problem, laws.Deadline.after(5.0), laws.NullObserver())
        if not isinstance(outcome.candidate, CertificateCandidate):
            return outcome.candidate
        return CertificateCandidate(_with_smaller_boxes(outcome.candidate.certificate))

    no_wrong_verdict_of_loose_rows(shrunk)


def _with_smaller_boxes(certificate):
    proofs = []
    for proof in certificate.proofs:
        rounds = tuple(
            dataclasses.replace(r, upper_z=0.2 * r.upper_z, upper_s=0.2 * r.upper_s)
            for r in proof.rounds
        )
        proofs.append(dataclasses.replace(proof, rounds=rounds))
    return dataclasses.replace(certificate, proofs=tuple(proofs))


def no_wrong_verdict_of_loose_rows(make: Callable[[object], object]) -> None:
    """Statements just false at the oracle's worst point; nothing may prove them."""
    from strategies import constraint, query_of, raw_system

    from vnn_mondeq.statement import build_problem

    for seed in range(8):
        raw = raw_system(np.random.default_rng([61, seed]), "plain", 4, 2, 1)
        box = Box.from_floats(np.full(2, -0.5), np.full(2, 0.5))

        def problem_at(offset: float, raw=raw, box=box):
            query = query_of([(box, [constraint({0: 1.0}, offset)])], 2, 1)
            return build_problem(raw.build(), query, "float32")

        loose = problem_at(100.0)
        (point,) = laws.closest_points(raw, box, loose)
        least = laws.exact_outputs(raw, laws.exactly(point))[0]
        candidate = make(loose)
        if isinstance(candidate, CertificateCandidate):
            false = problem_at(float(-least) - 0.01)
            assert laws.confirm(false, candidate.certificate) is None


def every_case_is_needed() -> None:
    """A problem whose second obligation was lost must not be certified."""
    from strategies import constraint, query_of, raw_system

    from vnn_mondeq.gate import NothingToRefute
    from vnn_mondeq.statement import build_problem

    raw = raw_system(np.random.default_rng(62), "plain", 3, 1, 1)
    box = Box.from_floats(np.zeros(1), np.ones(1))
    query = query_of([(box, [constraint({0: 1.0}, -100.0)])], 1, 1)
    problem = build_problem(raw.build(), query, "float32")
    emptied = dataclasses.replace(problem, obligations=())
    assert laws.confirm(emptied, NothingToRefute()) is None


HUGE = (1e8, 1e150)

FAULTS: dict[str, tuple[Callable[[], list], Callable[[], None]]] = {
    "relu forgets its error term": (
        strip_without_reach,
        laws.law_activation_strip_contains_its_function,
    ),
    "relu divides by u - l + 1e-6": (
        strip_with_epsilon_in_the_divisor,
        laws.law_activation_strip_contains_its_function,
    ),
    "absolute value of half the height": (
        absolute_strip_of_half_height,
        lambda: laws.law_activation_strip_contains_its_function("absolute"),
    ),
    "activation forgets the extra radius": (
        scale_shift_without_extra,
        laws.law_activation_of_zonotope_contains_images_of_its_points,
    ),
    "affine map forgets the box": (
        affine_without_radius,
        laws.law_affine_image_contains_exact_images,
    ),
    "affine map without rounding errors": (
        lambda: no_rounding(mixed_zonotope),
        lambda: laws.law_affine_image_contains_exact_images(HUGE),
    ),
    "aligned sum without rounding errors": (
        lambda: no_rounding(mixed_zonotope),
        laws.law_aligned_sum_contains_exact_sums,
    ),
    "zonotope support without rounding errors": (
        lambda: [*no_rounding(mixed_zonotope), mock.patch.object(np, "nextafter", lambda a, b: a)],
        laws.law_support_of_zonotope_is_an_upper_bound,
    ),
    "consolidation without absolute values": (
        consolidation_without_absolute_values,
        laws.law_consolidation_contains_the_set,
    ),
    "consolidation without its remainder": (
        consolidation_without_remainder,
        lambda: laws.law_consolidation_contains_the_set(1e9),
    ),
    "containment with tolerance 1.1": (
        containment_with_tolerance,
        laws.law_containment_is_never_proved_falsely,
    ),
    "containment forgets the centres": (
        containment_without_centre_difference,
        laws.law_containment_is_never_proved_falsely,
    ),
    "box support without rounding errors": (
        box_support_without_rounding,
        laws.law_box_support_is_an_upper_bound,
    ),
    "ball support without rounding errors": (
        ball_support_without_rounding,
        laws.law_ball_support_is_an_upper_bound,
    ),
    "box not widened to float32": (box_not_widened, laws.law_widened_box_covers_the_float32_reader),
    "output bias dropped": (bias_dropped, laws.law_rows_and_errors_cover_the_query),
    "output bias dropped, seen in verdicts": (bias_dropped, lambda: no_wrong_verdict(proving())),
    "row errors dropped": (row_errors_dropped, laws.law_rows_and_errors_cover_the_query),
    "checker takes the anchor for the set": (
        checker_without_support,
        lambda: no_wrong_verdict_of_loose_rows(_inductive),
    ),
    "checker forgets the slack vertex": (
        checker_without_slack_vertex,
        lambda: [no_wrong_verdict_of_loose_rows(_exaggerated(by)) for by in (-1e3, 1e3)],
    ),
    "checker accepts any box": (checker_accepts_any_round, false_certificates_are_refused),
    "gate trusts a certificate's word": (
        gate_trusts_the_engine,
        lambda: no_wrong_verdict(boasting()),
    ),
    "gate forgets that cases are missing": (gate_ignores_missing_cases, every_case_is_needed),
    "gate does not replay witnesses": (gate_does_not_replay, lambda: no_wrong_verdict(guessing())),
    "gate forgets the input set": (
        gate_forgets_the_input_set,
        lambda: no_wrong_verdict(straying()),
    ),
}


def _inductive(problem):
    outcome = InductiveBox().run(problem, laws.Deadline.after(5.0), laws.NullObserver())
    return outcome.candidate


def _exaggerated(by: float) -> Callable[[object], object]:
    """Certificates whose final multipliers are far too large, all of one sign."""

    def make(problem):
        candidate = _inductive(problem)
        if not isinstance(candidate, CertificateCandidate):
            return candidate
        (proof,) = candidate.certificate.proofs
        refutations = tuple(
            dataclasses.replace(r, multipliers=np.full_like(r.multipliers, by))
            for r in proof.refutations
        )
        proof = dataclasses.replace(proof, refutations=refutations)
        return CertificateCandidate(dataclasses.replace(candidate.certificate, proofs=(proof,)))

    return make


@pytest.mark.parametrize("name", FAULTS)
def test_law_holds_without_the_planted_fault(name):
    FAULTS[name][1]()


@pytest.mark.parametrize("name", FAULTS)
def test_law_fails_under_the_planted_fault(name):
    plant, law = FAULTS[name]
    with ExitStack() as stack, np.errstate(all="ignore"):
        for change in plant():
            stack.enter_context(change)
        with pytest.raises(AssertionError):
            law()


def test_verdict_is_not_compared_with_itself():
    """The oracle side of the verdict law works: a result that is simply claimed is caught."""
    from vnn_mondeq.result import CheckedCertificate

    claimed = Result(Verdict.UNSAT, certificate=CheckedCertificate(Boast(), 1.0, "nobody"))
    with pytest.raises(AssertionError, match="unsat"):
        laws.law_verdicts_agree_with_the_oracle(lambda raw, problem: claimed, range(12), 0, 0)
