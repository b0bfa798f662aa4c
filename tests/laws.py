"""Statements about the product that soundness needs, as functions that raise when they fail.

Test modules call them; `tests/soundness/test_planted_faults.py` calls them again under planted
unsound changes and demands that they fail. All comparisons are exact (rationals): a law has no
tolerance. Every law draws from a fixed seed, so both runs see the same data.

A set `S` contains `T` if and only if `h_S(w) >= h_T(w)` for all directions `w`; the laws compare
the exact support function of a computed set with exact images of points.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
from oracle import LinearOracle, exact_fixpoint, exact_value, float_fixpoint
from strategies import RawSystem, box_bounds, drawn_query, raw_system
from tolerances import FIXPOINT_FLOAT, ORACLE_RELATIVE

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.gate import Gate
from vnn_mondeq.problem import Problem
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import AbstractInputSet, Box, Intersection, LqBall
from vnn_mondeq.result import (
    AbstractCertificate,
    AbstractEngine,
    CertificateCandidate,
    CheckedCertificate,
    Outcome,
    Result,
    Verdict,
)


def exactly(values: np.ndarray) -> list[Fraction]:
    return [Fraction(float(v)) for v in values]


def dot(left: list[Fraction], right: list[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(left, right, strict=True)), Fraction(0))


def times(matrix: np.ndarray, vector: list[Fraction]) -> list[Fraction]:
    return [dot(exactly(row), vector) for row in matrix]


# --- mixed zonotopes ---------------------------------------------------------------------------


def exact_support(zonotope, direction: list[Fraction]) -> Fraction:
    """`max w·x` over a mixed zonotope, its arrays read as exact numbers."""
    total = dot(direction, exactly(zonotope.center))
    total += dot([abs(w) for w in direction], exactly(zonotope.radius))
    for column in zonotope.generators.T:
        total += abs(dot(direction, exactly(column)))
    return total


def members(zonotope, rng: np.random.Generator, count: int) -> Iterator[list[Fraction]]:
    """Exact points of the set: random vertices, and random inner points."""
    n, k = zonotope.generators.shape
    for index in range(count):
        xi, eta = rng.choice([-1.0, 1.0], size=k), rng.choice([-1.0, 1.0], size=n)
        if index % 2:
            xi, eta = rng.uniform(-1, 1, size=k), rng.uniform(-1, 1, size=n)
        inside = times(zonotope.generators, exactly(xi))
        box = [r * e for r, e in zip(exactly(zonotope.radius), exactly(eta), strict=True)]
        center = exactly(zonotope.center)
        yield [c + g + b for c, g, b in zip(center, inside, box, strict=True)]


def directions(n: int, rng: np.random.Generator, count: int = 4) -> Iterator[list[Fraction]]:
    """Axes, both ways, and random directions."""
    for i in range(n):
        for sign in (1, -1):
            yield [Fraction(sign * int(i == j)) for j in range(n)]
    for _ in range(count):
        yield exactly(rng.normal(size=n))


def demand_members(zonotope, points: list[list[Fraction]], rng: np.random.Generator) -> None:
    """No direction separates a point from the set."""
    for direction in directions(zonotope.dimension, rng):
        reach = exact_support(zonotope, direction)
        for point in points:
            assert dot(direction, point) <= reach, (
                f"a point is outside by {float(dot(direction, point) - reach):.3g}"
            )


def drawn_zonotope(rng: np.random.Generator, n: int, k: int, magnitude: float = 1.0):
    from vnn_mondeq.sets.mixed_zonotope import MixedZonotope

    return MixedZonotope(
        rng.normal(size=n) * magnitude,
        rng.normal(size=(n, k)) * magnitude,
        np.abs(rng.normal(size=n)) * magnitude * (rng.random(n) < 0.7),
    )


def law_affine_image_contains_exact_images(magnitudes=(1.0, 1e8, 1e-8, 1e150, 1e-150)) -> None:
    rng = np.random.default_rng(11)
    for magnitude in magnitudes:
        for n, k, rows in ((1, 0, 1), (3, 5, 3), (4, 2, 6)):
            zonotope = drawn_zonotope(rng, n, k, magnitude)
            matrix, offset = rng.normal(size=(rows, n)), rng.normal(size=rows) * magnitude
            image = zonotope.affine(matrix, offset)
            points = [
                [v + o for v, o in zip(times(matrix, x), exactly(offset), strict=True)]
                for x in members(zonotope, rng, 6)
            ]
            demand_members(image, points, rng)


def law_support_of_zonotope_is_an_upper_bound() -> None:
    rng = np.random.default_rng(12)
    for n, k in ((1, 0), (3, 4), (5, 9)):
        zonotope = drawn_zonotope(rng, n, k)
        wanted = rng.normal(size=(5, n))
        lower, upper = zonotope.bounds()
        for direction, bound in zip(wanted, zonotope.support(wanted), strict=True):
            assert Fraction(float(bound)) >= exact_support(zonotope, exactly(direction))
        for i in range(n):
            axis = [Fraction(int(i == j)) for j in range(n)]
            assert Fraction(float(upper[i])) >= exact_support(zonotope, axis)
            assert -Fraction(float(lower[i])) >= exact_support(zonotope, [-a for a in axis])


def law_aligned_sum_contains_exact_sums() -> None:
    from vnn_mondeq.sets.mixed_zonotope import MixedZonotope

    rng = np.random.default_rng(13)
    for magnitude in (1.0, 1e9):
        n, shared, own = 3, 2, 3
        left = drawn_zonotope(rng, n, shared + own, magnitude)
        left = MixedZonotope(left.center, left.generators, left.radius, shared)
        right = drawn_zonotope(rng, n, shared)
        right = MixedZonotope(right.center, right.generators, right.radius, shared)
        total = left.add_aligned(right)
        points = []
        for _ in range(8):
            xi = exactly(rng.choice([-1.0, 1.0], size=shared + own))
            signs = rng.choice([-1.0, 1.0], size=(2, n))
            point = [Fraction(0)] * n
            for part, symbols, eta in ((left, xi, signs[0]), (right, xi[:shared], signs[1])):
                inside = times(part.generators, symbols)
                for i in range(n):
                    point[i] += Fraction(float(part.center[i])) + inside[i]
                    point[i] += Fraction(float(part.radius[i])) * Fraction(float(eta[i]))
            points.append(point)
        demand_members(total, points, rng)


def law_activation_strip_contains_its_function(name: str = "relu") -> None:
    from vnn_mondeq.sets import activation

    rng = np.random.default_rng(14)
    make = {"relu": activation.relu_strip, "absolute": activation.absolute_strip}[name]
    function = {"relu": lambda v: max(v, Fraction(0)), "absolute": abs}[name]
    ends = rng.normal(size=(60, 2)) * 10.0 ** rng.uniform(-12, 6, size=(60, 1))
    lower, upper = np.minimum(*ends.T), np.maximum(*ends.T)
    lower[:3], upper[:3] = [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]
    for slope in (None, rng.random(60), np.zeros(60), np.ones(60)):
        strip = make(lower, upper) if slope is None else make(lower, upper, slope)
        for i in range(60):
            low, high = Fraction(float(lower[i])), Fraction(float(upper[i]))
            a, b, r = (Fraction(float(v[i])) for v in (strip.slope, strip.offset, strip.reach))
            # The difference to a line is piecewise linear: its extremes are at these points.
            for v in {low, high, min(max(Fraction(0), low), high)}:
                assert abs(function(v) - a * v - b) <= r


def law_activation_of_zonotope_contains_images_of_its_points() -> None:
    from vnn_mondeq.sets.activation import relu_strip

    rng = np.random.default_rng(15)
    for n, k, magnitude in ((2, 3, 1.0), (4, 6, 1e7), (3, 0, 1e-6)):
        zonotope = drawn_zonotope(rng, n, k, magnitude)
        image = relu_strip(*zonotope.bounds()).apply(zonotope)
        points = [[max(v, Fraction(0)) for v in x] for x in members(zonotope, rng, 10)]
        demand_members(image, points, rng)


def law_consolidation_contains_the_set(magnitude: float = 1.0) -> None:
    from vnn_mondeq.sets.consolidation import NO_WIDENING, BoxConsolidation, PcaConsolidation

    rng = np.random.default_rng(16)
    for method in (
        PcaConsolidation(),
        PcaConsolidation(keep_box=False),
        PcaConsolidation(blocks=2),
        BoxConsolidation(),
    ):
        for n, k in ((2, 5), (4, 9), (4, 1)):
            zonotope = drawn_zonotope(rng, n, k, magnitude)
            reduced = method.reduce(zonotope, method.basis(zonotope), NO_WIDENING)
            for direction in directions(n, rng, 6):
                assert exact_support(reduced, direction) >= exact_support(zonotope, direction)


def law_containment_is_never_proved_falsely() -> None:
    """Scaled copies around the edge: whatever is proved must hold in every direction."""
    from vnn_mondeq.sets.consolidation import NO_WIDENING, PcaConsolidation
    from vnn_mondeq.sets.containment import ContainmentTest
    from vnn_mondeq.sets.mixed_zonotope import MixedZonotope

    rng = np.random.default_rng(17)
    proved = 0
    for n, k in ((1, 1), (2, 4), (3, 7)):
        source = drawn_zonotope(rng, n, k)
        method = PcaConsolidation()
        outer = method.reduce(source, method.basis(source), NO_WIDENING)
        test = ContainmentTest(outer)
        for scale in (0.5, 0.9, 0.99, 1 - 1e-9, 1 - 1e-15, 1.0, 1 + 1e-15, 1 + 1e-9, 1.02, 1.08):
            shifted = outer.center + 0.3 * outer.spread
            for candidate, center in (
                (outer, outer.center),
                (source, source.center),
                (outer, shifted),
            ):
                inner = MixedZonotope(
                    center, candidate.generators * scale, candidate.radius * scale
                )
                if test.prove(inner) is None:
                    continue
                proved += 1
                for direction in _facet_directions(outer, rng):
                    assert exact_support(outer, direction) >= exact_support(inner, direction)
    assert proved >= 6, "the test proves nothing, so this law says nothing"


def _facet_directions(zonotope, rng: np.random.Generator) -> Iterator[list[Fraction]]:
    yield from directions(zonotope.dimension, rng)
    if zonotope.generators.shape[0] == zonotope.generators.shape[1]:
        for row in np.linalg.inv(zonotope.generators):
            yield exactly(row)


# --- input sets --------------------------------------------------------------------------------


def law_box_support_is_an_upper_bound() -> None:
    rng = np.random.default_rng(21)
    for _ in range(40):
        half = rng.normal(size=20) * 1e8
        point = np.concatenate([half, -half])
        bound = Box.from_floats(point, point).support(np.ones((1, 40)))[0]
        assert Fraction(float(bound)) >= dot(exactly(np.ones(40)), exactly(point))


def law_ball_support_is_an_upper_bound() -> None:
    rng = np.random.default_rng(22)
    for q in (1, 2):
        for scale in (1.0, 1e-170, 1e150):
            center = tuple(Fraction(float(v)) for v in rng.normal(size=3))
            ball = LqBall(q, 3, np.arange(3), center, Fraction(1, 3) ** q)
            for direction in rng.normal(size=(6, 3)) * scale:
                exact = exactly(direction)
                rest = Fraction(float(ball.support(direction[None])[0])) - dot(exact, list(center))
                if q == 1:
                    assert rest >= max(abs(c) for c in exact) / 3
                else:
                    assert rest >= 0 and rest * rest >= dot(exact, exact) / 9
        for _ in range(10):
            # A ball of radius zero, where only the rounding of the centre's product is at stake.
            half = rng.normal(size=10) * 1e8
            middle = exactly(np.concatenate([half, -half]))
            point = LqBall(q, 20, np.arange(20), tuple(middle), Fraction(0))
            direction = rng.normal(size=20)
            bound = Fraction(float(point.support(direction[None])[0]))
            assert bound >= dot(exactly(direction), middle)


def law_widened_box_covers_the_float32_reader() -> None:
    for digits in ("0.1", "0.3", "-0.7", "16777217", "1e-46"):
        bound = Fraction(digits)
        near = float(np.float32(float(bound)))
        for inputs in (
            Box.from_fractions([bound], [bound]),
            Intersection((Box.from_fractions([bound], [bound]),)),
        ):
            low, high = inputs.widened().bounds()
            assert low[0] <= near <= high[0]


# --- statements and certificates ----------------------------------------------------------------


def exact_rows(problem: Problem, x: list[Fraction], obligation: int = 0) -> list[Fraction]:
    """All rows of an obligation at the exact fixpoint of the stored system."""
    system = problem.system
    z = exact_fixpoint(system.W, system.U, system.b, x)
    c = problem.obligations[obligation].rows.coefficients
    return [exact_value((c.on_z[i], c.on_x[i], c.offset[i]), z, x) for i in range(len(c.offset))]


def exact_outputs(raw: RawSystem, x: list[Fraction]) -> list[Fraction]:
    """The outputs of the raw arrays at `x`: no product code on the way."""
    z = exact_fixpoint(raw.W, raw.U, raw.b, x)
    return [exact_value((raw.G[i], raw.H[i], raw.g[i]), z, x) for i in range(raw.q)]


def drawn_instance(seed: int) -> tuple[RawSystem, AbstractInputSet, Problem]:
    """A small system, a box and a query about it whose answer is not obvious."""
    from vnn_mondeq.statement import build_problem

    rng = np.random.default_rng([31, seed])
    kinds = ("plain", "mixed", "strongly", "feed_forward", "integer", "rotating", "barely", "ill")
    p, d, q = int(rng.integers(0, 7)), int(rng.integers(1, 4)), int(rng.integers(2, 4))
    raw = raw_system(rng, kinds[seed % len(kinds)], p, d, q, dead=int(p > 4))
    lower, upper = box_bounds(rng, d, ("typical", "flat", "clipped", "tiny")[seed % 4])
    # Bounds that float32 holds: the proof set is then the query's own box.
    lower, upper = (side.astype(np.float32).astype(np.float64) for side in (lower, upper))
    shrink = 10.0 ** rng.uniform(-1.5, 0)
    middle = (0.5 * (lower + upper)).astype(np.float32).astype(np.float64)
    lower = np.minimum(middle, middle + ((lower - middle) * shrink).astype(np.float32))
    upper = np.maximum(middle, middle + ((upper - middle) * shrink).astype(np.float32))
    lower, upper = (side.astype(np.float32).astype(np.float64) for side in (lower, upper))
    inputs = Box.from_floats(lower, upper)
    spread = float(np.abs(raw.G).sum() / q + np.abs(raw.g).mean())
    query = drawn_query(rng, inputs, d, q, spread)
    return raw, inputs, build_problem(raw.build(), query, "float32")


def case_values(raw: RawSystem, problem: Problem, x: list[Fraction]) -> list[Fraction]:
    """For each case, its largest left-hand side at `x`, from the query itself: a violation where
    it is `<= 0` (`< 0` for a strict one)."""
    outputs = dict(enumerate(exact_outputs(raw, x)))
    inputs = dict(enumerate(x))
    return [
        max(constraint.value(inputs, outputs) for constraint in case.constraints)
        for case in problem.query.cases
    ]


def oracle_of(raw: RawSystem, inputs: AbstractInputSet) -> LinearOracle:
    lower, upper = inputs.bounds()
    return LinearOracle(raw.W, raw.U, raw.b, lower, upper)


def output_rows(raw: RawSystem, problem: Problem) -> list[list[tuple]]:
    """For each case its constraints as float rows over the raw system's `(z, x)`."""
    cases = []
    for case in problem.query.cases:
        rows = []
        for constraint in case.constraints:
            weights = np.array([float(constraint.y.get(j, 0)) for j in range(raw.q)])
            own = np.array([float(constraint.x.get(i, 0)) for i in range(raw.d)])
            offset = weights @ raw.g + float(constraint.offset)
            rows.append((weights @ raw.G, weights @ raw.H + own, offset))
        cases.append(rows)
    return cases


def closest_points(raw: RawSystem, inputs: AbstractInputSet, problem: Problem) -> list[np.ndarray]:
    """For each case an input where, says the oracle, it comes closest to a violation."""
    oracle = oracle_of(raw, inputs)
    found = [oracle.least_violation(rows).x for rows in output_rows(raw, problem)]
    return [x for x in found if x is not None]


def confirm(problem: Problem, certificate: AbstractCertificate) -> float | None:
    """The margin that the gate confirms for a certificate, or `None`."""

    def no_runtime():
        raise AssertionError("a certificate needs no runtime")

    found = Gate(problem, "float32", no_runtime).confirm_certificate(certificate, Deadline.never())
    return found.margin if isinstance(found, CheckedCertificate) else None


def checked_margin(problem: Problem, outcome: Outcome) -> float | None:
    """What the gate's checker proves about an engine's certificate; `None` for no proof."""
    if not isinstance(outcome.candidate, CertificateCandidate):
        return None
    return confirm(problem, outcome.candidate.certificate)


def law_certificates_never_overstate(
    engine: AbstractEngine, count: int = 40, at_least: int = 5
) -> None:
    """A certificate that the gate confirms is true at the oracle's worst points, exactly, and its
    margin is not larger than the exact one."""
    proved = 0
    for seed in range(count):
        raw, inputs, problem = drawn_instance(seed)
        outcome = engine.run(problem, Deadline.after(10.0), NullObserver())
        margin = checked_margin(problem, outcome)
        if margin is None:
            continue
        proved += 1
        for x in closest_points(raw, inputs, problem):
            point = exactly(x)
            worst = min(case_values(raw, problem, point))
            assert worst > 0, f"seed {seed}: certified, yet violated by {float(-worst):.3g}"
    assert proved >= at_least, f"only {proved} of {count} proved: the law says too little"


def law_rows_and_errors_cover_the_query(count: int = 30) -> None:
    """`row > error` at the stored system's fixpoint implies the query's own constraint `> 0`."""
    for seed in range(count):
        raw, inputs, problem = drawn_instance(seed)
        rng = np.random.default_rng([32, seed])
        lower, upper = inputs.bounds()
        for x in rng.uniform(lower, upper, size=(3, raw.d)):
            point = exactly(x)
            outputs = dict(enumerate(exact_outputs(raw, point)))
            values = [
                constraint.value(dict(enumerate(point)), outputs)
                for case in problem.query.cases
                for constraint in case.constraints
            ]
            rows = exact_rows(problem, point)
            errors = exactly(problem.obligations[0].rows.error)
            for value, row, error in zip(values, rows, errors, strict=True):
                assert abs(value - row) <= error


# --- verdicts ----------------------------------------------------------------------------------


class StubRuntime:
    """Runs raw arrays as a float32 runtime would: the fixpoint, rounded once at the end."""

    runtime = "stub"

    def __init__(self, raw: RawSystem):
        self.raw = raw

    def run(self, inputs):
        (x,) = inputs.values()
        x = np.asarray(x, dtype=np.float64).reshape(-1)
        z = float_fixpoint(self.raw.W, self.raw.U @ x + self.raw.b)
        return {"y": (self.raw.G @ z + self.raw.H @ x + self.raw.g).astype(np.float32)}


def least_violation(raw: RawSystem, inputs: AbstractInputSet, problem: Problem) -> float:
    """The oracle's answer: `sat` where it is well below zero, `unsat` where well above."""
    oracle = oracle_of(raw, inputs)
    return min(
        (oracle.least_violation(rows).value for rows in output_rows(raw, problem)), default=np.inf
    )


def demand_verdict(
    raw: RawSystem, inputs: AbstractInputSet, problem: Problem, result: Result
) -> None:
    """A result against the oracle, and its witness against exact rationals."""
    truth = least_violation(raw, inputs, problem)
    slack = ORACLE_RELATIVE * (1 + abs(truth))
    if result.verdict is Verdict.UNSAT:
        assert truth > -slack, f"unsat, and the oracle finds a violation of {-truth:.3g}"
        for x in closest_points(raw, inputs, problem):
            # Strict constraints too: nothing is certified without a positive margin.
            assert min(case_values(raw, problem, exactly(x))) > 0
    if result.verdict is Verdict.SAT:
        assert truth < slack, f"sat, and the oracle's least value is {truth:.3g}"
        (x,) = result.witness.inputs.values()
        flat = np.asarray(x, dtype=np.float64).reshape(-1)
        assert inputs.contains(flat)
        assert min(case_values(raw, problem, exactly(flat))) <= FIXPOINT_FLOAT * (1 + abs(truth))


def law_verdicts_agree_with_the_oracle(
    solve: Callable[[RawSystem, Problem], Result], seeds: range, sat: int = 3, unsat: int = 3
) -> None:
    """No wrong verdict on drawn instances, and enough verdicts for that to mean something."""
    found = dict.fromkeys(Verdict, 0)
    for seed in seeds:
        raw, inputs, problem = drawn_instance(seed)
        result = solve(raw, problem)
        found[result.verdict] += 1
        try:
            demand_verdict(raw, inputs, problem, result)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert found[Verdict.SAT] >= sat and found[Verdict.UNSAT] >= unsat, found


def solve_with(*engines: AbstractEngine) -> Callable[[RawSystem, Problem], Result]:
    """The portfolio with these engines, every checker, and the stub runtime."""
    from vnn_mondeq.portfolio import Stage, run

    stages = tuple(Stage(lambda _, engine=engine: engine) for engine in engines)

    def solve(raw: RawSystem, problem: Problem) -> Result:
        gate = Gate(problem, "float32", lambda: StubRuntime(raw))
        return run(problem, gate, stages, Deadline.after(20.0), NullObserver())

    return solve
