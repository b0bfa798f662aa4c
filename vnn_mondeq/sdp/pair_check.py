"""What multipliers of products of two neurons add to the form of `check.py`.

At a fixpoint `ẑ`, `ŝ` and `1 - ẑ - ŝ` of a neuron are all in [0, 1], since `ẑ ŝ = 0` there. The
form has `a_i` in the place of `ŝ_i`, with `|ŝ_i - a_i| <= η_i`, so such *atoms* `u, v` differ from
their true values by `η_u, η_v` (zero for `ẑ`), and `u v >= -(η_u + η_v + η_u η_v)`. With a
multiplier `π >= 0`, `-π u v` is added to the form and `π` times that loss to the bound.

Shares no arithmetic with `pairs.py`.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.rounding import SAFETY, UNDERFLOW, are_float64, gamma
from vnn_mondeq.sdp.certificate import PairRefutation


@final
@dataclass(frozen=True, slots=True, eq=False)
class PairTerms:
    """`matrix`, to be added to the form in the basis `(1, ξ, ẑ)`, a 2-norm bound on the rounding
    `error` of its entries and of their addition, and the `loss` of the bound."""

    matrix: np.ndarray
    error: float
    loss: float


def pairs_fault(refutation: PairRefutation, neurons: int) -> str | None:
    """What is wrong with the numbers; `neurons`: the undecided ones."""
    left, right, prices = refutation.left, refutation.right, refutation.prices
    for numbers in (left, right):
        if type(numbers) is not np.ndarray or numbers.dtype != np.int64 or numbers.ndim != 1:
            return "the neurons of products are not a vector of integers"
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < 3 * neurons):
            return "a product names a neuron that is not there"
    if not are_float64(prices) or not prices.shape == left.shape == right.shape:
        return "there is not one multiplier for each product"
    if not np.all(np.isfinite(prices)) or np.any(prices < 0.0):
        return "multipliers of products are negative or not finite"
    return None


def pair_terms(refutation: PairRefutation, gradient: np.ndarray, slack: np.ndarray) -> PairTerms:
    """The terms of a refutation without fault.

    - `gradient (k, 1 + n + k)`: the `a_i` in the basis; `slack (k,)`: the `η_i`.
    """
    k, size = gradient.shape
    left, right, prices = refutation.left, refutation.right, refutation.prices
    own = np.zeros((k, size))
    own[np.arange(k), np.arange(size - k, size)] = 1.0
    rest = -own - gradient
    rest[:, 0] += 1.0
    one = np.zeros((k, size))
    one[:, 0] = 1.0
    atoms = np.vstack([own, gradient, rest])
    sizes = np.vstack([own, np.abs(gradient), one + own + np.abs(gradient)])
    weights = np.zeros((3 * k, 3 * k))
    np.add.at(weights, (left, right), -0.5 * prices)
    magnitude = -(weights + weights.T)
    matrix = atoms.T @ ((weights + weights.T) @ atoms)
    # Two roundings in an atom, as many in a weight as it has products, two products of matrices.
    column = sizes.T @ (magnitude @ sizes.sum(axis=1))
    count = 6 * k + prices.size + 12
    error = gamma(count) * float(np.max(column, initial=0.0)) * SAFETY + UNDERFLOW
    eta = np.concatenate([np.zeros(k), slack, slack])
    loss = float(prices @ (eta[left] + eta[right] + eta[left] * eta[right])) * SAFETY
    return PairTerms(0.5 * (matrix + matrix.T), error, loss)
