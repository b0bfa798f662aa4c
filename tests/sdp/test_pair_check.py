"""The check of products of pairs alone: its loss, its rounding, and multipliers that are none."""

from fractions import Fraction

import numpy as np
import pytest

from vnn_mondeq.sdp.certificate import PairRefutation, ShorRefutation
from vnn_mondeq.sdp.pair_check import pair_terms, pairs_fault

K, N = 4, 3

NOTHING = ShorRefutation(*(np.zeros(0) for _ in range(6)))


def drawn(rng: np.random.Generator, count: int = 12) -> PairRefutation:
    left, right = rng.integers(0, 3 * K, size=(2, count))
    return PairRefutation(NOTHING, left, right, rng.exponential(size=count))


@pytest.mark.parametrize("seed", range(30))
def test_the_loss_covers_slack_that_differs_from_its_affine_form(seed):
    """At a fixpoint the added form is not above the loss: it may be added to what is below zero."""
    rng = np.random.default_rng([31, seed])
    refutation = drawn(rng)
    on = rng.random(K) < 0.5
    # Mostly at the ends, where the products vanish and the loss is all there is.
    z = np.where(on, rng.choice([0.0, 1.0, 0.5], K), 0.0)
    s = np.where(on, 0.0, rng.choice([0.0, 1.0, 0.5], K))
    basis = np.concatenate([[1.0], rng.uniform(-1, 1, N), z])
    gradient = rng.normal(size=(K, 1 + N + K))
    slack = rng.uniform(0.0, 0.3, K)
    a = s + slack * rng.choice([-1.0, 1.0], K)
    gradient[:, 0] += a - gradient @ basis
    terms = pair_terms(refutation, gradient, slack * (1.0 + 1e-9) + 1e-12)
    value = basis @ terms.matrix @ basis
    assert value <= terms.loss + terms.error * (basis @ basis)


def test_the_loss_is_needed():
    """Without it, this form would count as not positive."""
    one = np.zeros((1, 2))
    one[0, 0] = -0.1
    refutation = PairRefutation(
        NOTHING, np.array([1]), np.array([2]), np.ones(1)
    )  # ŝ = 0 is read as -0.1, and 1 - ẑ - ŝ as 1.1
    terms = pair_terms(refutation, one, np.array([0.1]))
    value = terms.matrix[0, 0]
    assert 0.0 < value <= terms.loss


@pytest.mark.parametrize("seed", range(5))
def test_the_error_covers_the_rounding_of_every_entry(seed):
    rng = np.random.default_rng([32, seed])
    refutation = drawn(rng, 40)
    gradient = rng.normal(size=(K, 1 + N + K))
    terms = pair_terms(refutation, gradient, np.zeros(K))
    size = 1 + N + K
    atoms = [[Fraction(int(j == 1 + N + i)) for j in range(size)] for i in range(K)]
    atoms += [[Fraction(float(v)) for v in row] for row in gradient]
    atoms += [
        [Fraction(int(j == 0)) - atoms[i][j] - atoms[K + i][j] for j in range(size)]
        for i in range(K)
    ]
    exact = np.full((size, size), Fraction(0))
    entries = zip(refutation.left, refutation.right, refutation.prices, strict=True)
    for left, right, price in entries:
        u, v = np.array(atoms[left]), np.array(atoms[right])
        product = np.outer(u, v)
        exact -= Fraction(float(price)) * (product + product.T) / 2
    off = max(
        abs(Fraction(float(terms.matrix[i, j])) - exact[i, j])
        for i in range(size)
        for j in range(size)
    )
    assert 0 < off <= Fraction(terms.error)


@pytest.mark.parametrize(
    "change",
    [
        {"prices": np.array([-1e-9, 1.0])},
        {"prices": np.array([np.nan, 1.0])},
        {"prices": np.array([np.inf, 1.0])},
        {"prices": np.ones(3)},
        {"prices": np.ones(2, dtype=np.float32)},
        {"left": np.array([-1, 0])},
        {"left": np.array([3 * K, 0])},
        {"left": np.array([0.0, 1.0])},
        {"right": np.array([[0, 1]])},
    ],
)
def test_what_are_no_multipliers_is_refused(change):
    good = {"left": np.array([0, 1]), "right": np.array([K, 2]), "prices": np.ones(2)}
    assert pairs_fault(PairRefutation(NOTHING, **good), K) is None
    assert pairs_fault(PairRefutation(NOTHING, **(good | change)), K) is not None
