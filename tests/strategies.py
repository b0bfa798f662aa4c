"""Drawn systems, input sets and queries: seeded generators, and hypothesis strategies over them.

The generators take a numpy `Generator` and name what they yield; the strategies draw a seed and
the discrete choices, so that a failing example is one line. Letters: `p` neurons, `d` inputs,
`q` outputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from vnn_mondeq.query.input_set import (
    AbstractInputSet,
    Box,
    HalfSpace,
    Intersection,
    LqBall,
)
from vnn_mondeq.query.query import Case, LinearConstraint, Query, Variable
from vnn_mondeq.system.implicit import ImplicitSystem, dense_system


@dataclass(frozen=True)
class RawSystem:
    """The arrays of `z = ReLU(Wz + Ux + b)`, `y = Gz + Hx + g`; no product type."""

    W: np.ndarray
    U: np.ndarray
    b: np.ndarray
    G: np.ndarray
    H: np.ndarray
    g: np.ndarray

    @property
    def p(self) -> int:
        return self.W.shape[0]

    @property
    def d(self) -> int:
        return self.U.shape[1]

    @property
    def q(self) -> int:
        return self.G.shape[0]

    def build(self) -> ImplicitSystem:
        return dense_system(self.W, self.U, self.b, self.G, self.g, self.H)


# --- feedback matrices -------------------------------------------------------------------------


def _monotone_feedback(rng: np.random.Generator, p: int, m: float, scale: float) -> np.ndarray:
    """`(1 - m) I - AᵀA + B - Bᵀ`."""
    A = rng.normal(size=(p, p)) * scale / np.sqrt(max(p, 1))
    B = rng.normal(size=(p, p)) * scale / np.sqrt(max(p, 1))
    return (1.0 - m) * np.eye(p) - A.T @ A + B - B.T


def plain_feedback(rng: np.random.Generator, p: int) -> np.ndarray:
    """Modulus 0.2 to 2, everything of order one."""
    return _monotone_feedback(rng, p, rng.uniform(0.2, 2.0), 0.7)


def barely_monotone_feedback(rng: np.random.Generator, p: int) -> np.ndarray:
    """Modulus 0.02: the abstract iteration contracts slowly."""
    return _monotone_feedback(rng, p, 0.02, 0.6)


def strongly_monotone_feedback(rng: np.random.Generator, p: int) -> np.ndarray:
    """Modulus 20, as CRAFT trains."""
    return _monotone_feedback(rng, p, 20.0, 3.0)


def rotating_feedback(rng: np.random.Generator, p: int) -> np.ndarray:
    """A large, badly conditioned skew part: forward-backward steps need a small alpha."""
    B = rng.normal(size=(p, p)) * 10.0 ** rng.uniform(-2, 1, size=p)
    W = _monotone_feedback(rng, p, 0.3, 0.4)
    return W + B - B.T


def ill_conditioned_feedback(rng: np.random.Generator, p: int) -> np.ndarray:
    """`AᵀA` with singular values from 1e-3 to 5."""
    A = rng.normal(size=(p, p)) * 10.0 ** np.linspace(-3, 0.7, p)[:, None] / np.sqrt(max(p, 1))
    return (1.0 - 0.1) * np.eye(p) - A.T @ A


def feed_forward_feedback(rng: np.random.Generator, p: int) -> np.ndarray:
    """Two or three plain layers as one strictly block lower triangular `W`, scaled until
    `I - W` is strongly monotone (`W -> D W D^-1`, powers of two)."""
    return _scaled_triangular(rng, p, feedback=False)


def mixed_blocks_feedback(rng: np.random.Generator, p: int) -> np.ndarray:
    """A plain layer, an equilibrium layer, and a plain layer in one block lower triangular `W`."""
    return _scaled_triangular(rng, p, feedback=True)


def _scaled_triangular(rng: np.random.Generator, p: int, feedback: bool) -> np.ndarray:
    cuts = [0, p // 3, 2 * p // 3, p]
    W = np.zeros((p, p))
    for k in range(3):
        rows = slice(cuts[k], cuts[k + 1])
        W[rows, : cuts[k]] = rng.normal(size=(cuts[k + 1] - cuts[k], cuts[k])) * 1.5
        if feedback and k == 1:
            W[rows, rows] = plain_feedback(rng, cuts[2] - cuts[1])
    for shrink in 2.0 ** np.arange(0, 12):
        D = np.concatenate([np.full(cuts[k + 1] - cuts[k], shrink**-k) for k in range(3)])
        scaled = D[:, None] * W / D[None, :]
        eye = np.eye(p)
        if p == 0 or np.linalg.eigvalsh(eye - 0.5 * (scaled + scaled.T))[0] > 0.02:
            return scaled
    raise AssertionError("no scaling makes the drawn system monotone")


def integer_feedback(rng: np.random.Generator, p: int) -> np.ndarray:
    """Small multiples of 1/4, diagonally dominant: fixpoints with ties and exact zeros."""
    W = rng.integers(-2, 3, size=(p, p)) / 4.0
    np.fill_diagonal(W, 0.0)
    reach = 0.5 * (np.abs(W).sum(axis=0) + np.abs(W).sum(axis=1))
    np.fill_diagonal(W, -np.ceil(4 * np.maximum(reach - 0.5, 0.0)) / 4.0)
    return W


FEEDBACKS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "plain": plain_feedback,
    "barely": barely_monotone_feedback,
    "strongly": strongly_monotone_feedback,
    "rotating": rotating_feedback,
    "ill": ill_conditioned_feedback,
    "feed_forward": feed_forward_feedback,
    "mixed": mixed_blocks_feedback,
    "integer": integer_feedback,
}


# --- systems -----------------------------------------------------------------------------------


def raw_system(
    rng: np.random.Generator,
    kind: str = "plain",
    p: int = 5,
    d: int = 3,
    q: int = 3,
    dead: int = 0,
    active: int = 0,
) -> RawSystem:
    """A system with feedback of the named kind.

    `dead` neurons have a bias that keeps them at zero, `active` ones a bias that keeps them
    positive, on every box of order one.
    """
    W = FEEDBACKS[kind](rng, p)
    U = rng.normal(size=(p, d)) / np.sqrt(max(d, 1))
    b = rng.normal(size=p) * 0.5
    if kind == "integer":
        U, b = np.round(4 * U) / 4.0, np.round(4 * b) / 4.0
    reach = 10.0 * (1.0 + np.abs(W).sum())
    b[:dead] = -reach
    b[dead : dead + active] = reach
    G = rng.normal(size=(q, p))
    H = rng.normal(size=(q, d)) * (rng.random() < 0.5) * 0.3
    g = rng.normal(size=q) * 0.5
    return RawSystem(W, U, b, G, H, g)


# --- boxes and other sets ----------------------------------------------------------------------


def box_bounds(
    rng: np.random.Generator, d: int, kind: str = "typical"
) -> tuple[np.ndarray, np.ndarray]:
    """Float64 bounds of a box of the named kind (see `BOX_KINDS`)."""
    center = rng.uniform(-1.0, 1.0, size=d)
    radius = {
        "typical": rng.uniform(0.05, 0.6, size=d),
        "point": np.zeros(d),
        "flat": rng.uniform(0.05, 0.6, size=d) * (rng.random(d) < 0.5),
        "tiny": np.full(d, 1e-9),
        "huge": np.full(d, 1e4),
        "clipped": rng.uniform(0.05, 0.6, size=d),
        "uneven": 10.0 ** rng.uniform(-8, 1, size=d),
    }[kind]
    lower, upper = center - radius, center + radius
    if kind == "clipped":
        lower, upper = np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0)
    return lower, upper


BOX_KINDS = ("typical", "point", "flat", "tiny", "huge", "clipped", "uneven")


def lq_ball(rng: np.random.Generator, d: int, q: int) -> LqBall:
    """A ball over some of the coordinates (at least one where `d` allows), dyadic data."""
    count = int(rng.integers(min(1, d), d + 1))
    coordinates = np.sort(rng.choice(d, size=count, replace=False)) if d else np.zeros(0, int)
    center = tuple(Fraction(int(rng.integers(-64, 65)), 64) for _ in range(count))
    radius = Fraction(int(rng.integers(0, 65)), 64)
    return LqBall(q, d, coordinates, center, radius**q)


def half_space_through(
    rng: np.random.Generator, point: np.ndarray, strict: bool = False
) -> HalfSpace:
    """A half-space that holds `point` strictly inside, with sparse dyadic coefficients."""
    normal = np.round(rng.normal(size=len(point)) * 4) / 4
    normal[rng.random(len(point)) < 0.3] = 0.0
    exact = {i: Fraction(c) for i, c in enumerate(normal) if c}
    value = sum((c * Fraction(point[i]) for i, c in exact.items()), Fraction(0))
    slack = Fraction(int(rng.integers(1, 9)), 16)
    return HalfSpace(len(point), exact, -value - slack, strict)


def input_set(rng: np.random.Generator, d: int, kind: str) -> AbstractInputSet:
    """A bounded input set of the named kind (see `SET_KINDS`)."""
    if kind in BOX_KINDS:
        return Box.from_floats(*box_bounds(rng, d, kind))
    lower, upper = box_bounds(rng, d, "typical")
    box = Box.from_floats(lower, upper)
    if kind == "polytope":
        middle = 0.5 * (lower + upper)
        count = int(rng.integers(1, 4))
        return Intersection((box, *(half_space_through(rng, middle) for _ in range(count))))
    q = {"l1": 1, "l2": 2, "l1_and_box": 1, "l2_and_box": 2}[kind]
    center = tuple(Fraction(v) for v in 0.5 * (lower + upper))
    radius = Fraction(float(rng.uniform(0.05, 0.8)))
    ball = LqBall(q, d, np.arange(d), center, radius**q)
    return Intersection((ball, box)) if kind.endswith("box") else ball


SET_KINDS = (*BOX_KINDS, "polytope", "l1", "l2", "l1_and_box", "l2_and_box")


# --- queries -----------------------------------------------------------------------------------


def constraint(
    y: dict[int, float], offset: float, x: dict[int, float] | None = None, strict: bool = False
) -> LinearConstraint:
    """`sum y_j Y_j + sum x_i X_i + offset <= 0` with float coefficients taken exactly."""
    return LinearConstraint(
        {i: Fraction(c) for i, c in (x or {}).items()},
        {i: Fraction(c) for i, c in y.items()},
        Fraction(offset),
        strict,
    )


def query_of(
    cases: list[tuple[AbstractInputSet, list[LinearConstraint]]],
    d: int,
    q: int,
    element_type: str = "real",
    version: str = "2.0",
) -> Query:
    """A query over one input `X` of `d` and one output `Y` of `q` entries."""
    return Query(
        version,
        (
            Variable("X", element_type, (d,), "input", "f", 0),
            Variable("Y", element_type, (q,), "output", "f", 0),
        ),
        tuple(Case(inputs, tuple(constraints)) for inputs, constraints in cases),
    )


def robustness_query(inputs: AbstractInputSet, label: int, d: int, q: int) -> Query:
    """Some other class scores at least as much as `label`: one case for each."""
    others = [j for j in range(q) if j != label]
    return query_of([(inputs, [constraint({label: 1.0, j: -1.0}, 0.0)]) for j in others], d, q)


def drawn_query(
    rng: np.random.Generator, inputs: AbstractInputSet, d: int, q: int, spread: float
) -> Query:
    """One to three cases of one to three random constraints, some on inputs too, some strict;
    offsets of size `spread` about zero."""
    cases = []
    for _ in range(int(rng.integers(1, 4))):
        constraints = []
        for _ in range(int(rng.integers(1, 4))):
            y = {int(j): float(rng.normal()) for j in rng.choice(q, min(q, 2), replace=False)}
            x = {int(rng.integers(d)): float(rng.normal())} if d and rng.random() < 0.3 else None
            offset = float(rng.normal() * spread)
            constraints.append(constraint(y, offset, x, bool(rng.random() < 0.3)))
        cases.append((inputs, constraints))
    return query_of(cases, d, q)


# --- hypothesis --------------------------------------------------------------------------------

seeds = st.integers(0, 2**32 - 1)


@st.composite
def raw_systems(draw: st.DrawFn, max_p: int = 8, max_d: int = 4) -> RawSystem:
    """Any kind of system, `p` from 0, some neurons dead or always active."""
    rng = np.random.default_rng(draw(seeds))
    p = draw(st.integers(0, max_p))
    dead = draw(st.integers(0, min(2, p)))
    active = draw(st.integers(0, min(2, p - dead)))
    kind = draw(st.sampled_from(sorted(FEEDBACKS)))
    d, q = draw(st.integers(1, max_d)), draw(st.integers(1, 4))
    return raw_system(rng, kind, p, d, q, dead, active)


@st.composite
def input_sets(draw: st.DrawFn, d: int, kinds: tuple[str, ...] = SET_KINDS) -> AbstractInputSet:
    """Any bounded input set in `d` dimensions."""
    return input_set(np.random.default_rng(draw(seeds)), d, draw(st.sampled_from(kinds)))


awkward_floats = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 2.0**-1022, 1e-200, 1e-170, 1.0, 1e170, 1e308]),
    st.floats(-1.0, 1.0),
)
"""Finite floats with the extremes drawn often."""
