"""Quadratic constraints on inputs: ellipsoids, and sets that need not be convex.

Where the quadratic part is proved positive definite the set is an ellipsoid
`{x : (x - c)ᵀ P (x - c) <= ρ}`; it has bounds and a support function. Elsewhere only membership
and the range over a box are known, and `bounds` and `support` are those of the whole space.

Letters: `k` coordinates that occur, `n` directions, `N` points.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import final

import numpy as np
from scipy.sparse import csr_array

from vnn_mondeq.definite import eigenvalue_lower_bound
from vnn_mondeq.query.abstract_set import AbstractInputSet
from vnn_mondeq.query.box import Box
from vnn_mondeq.query.interval import RationalInterval, is_positive_in_float32
from vnn_mondeq.query.support import nan_to_infinity
from vnn_mondeq.rounding import (
    SAFETY,
    UNDERFLOW,
    UNIT,
    UNIT32,
    fraction_down,
    fraction_hull,
    gamma,
    norm_up,
)

MAX_DENSE = 2000
"""Most coordinates of a non-diagonal form whose definiteness is looked for (it costs `k³`)."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class QuadraticFloats:
    """`y -> yᵀ P y + q·y + r` over the `k` coordinates, in float64.

    - `matrix`: the symmetric `P (k, k)`, nearest floats; `matrix_error`: elementwise bounds on how
      far they are from the exact ones.
    - `linear`, `linear_error`: `(k,)`, the same for `q`.
    - `offset`: a lower bound on `r`.

    Entries may be infinite where the exact ones are beyond float64.
    """

    matrix: csr_array
    matrix_error: csr_array
    linear: np.ndarray
    linear_error: np.ndarray
    offset: float


@final
@dataclass(frozen=True, slots=True, eq=False)
class Ellipsoid:
    """A proved enclosure of a quadratic set: `(x - center)ᵀ P (x - center) <= square`.

    - `center`: `(k,)` floats, taken as exact.
    - `square`: upper bound; negative where the set is empty.
    - `least_eigenvalue`: positive lower bound, of every matrix within the error of `P`.
    """

    center: np.ndarray
    square: float
    least_eigenvalue: float


@final
@dataclass(frozen=True, slots=True, eq=False)
class Quadratic(AbstractInputSet):
    """`{x : Σ quadratic[i, j] x_i x_j + Σ linear[i] x_i + offset <= 0}`; `<` when `strict`.

    Convex or not. Exact rationals; `bounds` and `support` are those of the closed set.

    - `quadratic`: at pairs `i <= j`; the symmetric matrix has half of it at `(i, j)` and `(j, i)`.
    - `coordinates`: the positions that occur, ascending, shape `(k,)`.
    - `ellipsoid`: where the quadratic part is proved positive definite over all `coordinates`.
    """

    size: int
    quadratic: Mapping[tuple[int, int], Fraction]
    linear: Mapping[int, Fraction]
    offset: Fraction
    strict: bool
    coordinates: np.ndarray = field(init=False, repr=False)
    ellipsoid: Ellipsoid | None = field(init=False, repr=False)
    _floats: QuadraticFloats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if any(i > j for i, j in self.quadratic):
            raise ValueError("a quadratic set lists each pair of coordinates once, as i <= j")
        found = sorted({i for pair in self.quadratic for i in pair} | set(self.linear))
        if found and not (found[0] >= 0 and found[-1] < self.size):
            raise ValueError(f"a quadratic set has a coordinate outside 0 ... {self.size - 1}")
        object.__setattr__(self, "coordinates", np.array(found, dtype=np.intp))
        # Once: thousands of rationals take longer to convert than a support function to evaluate.
        object.__setattr__(self, "_floats", _floats_of(self))
        object.__setattr__(self, "ellipsoid", _ellipsoid_of(self._floats))

    @property
    def dimension(self) -> int:
        return self.size

    def floats(self) -> QuadraticFloats:
        """The constraint over `coordinates` in float64, with its rounding."""
        return self._floats

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        lower, upper = np.full(self.size, -np.inf), np.full(self.size, np.inf)
        if self.ellipsoid is not None:
            k = self.coordinates
            if self.ellipsoid.square < 0.0:
                return np.full(self.size, np.inf), np.full(self.size, -np.inf)
            reach = self._half_widths()
            lower[k] = np.nextafter(self.ellipsoid.center - reach, -np.inf)
            upper[k] = np.nextafter(self.ellipsoid.center + reach, np.inf)
        return lower, upper

    def support(self, directions: np.ndarray) -> np.ndarray:
        away = np.where(np.any(directions != 0.0, axis=1), np.inf, 0.0)
        if self.ellipsoid is None or self.ellipsoid.square < 0.0:
            return away
        inside = directions[:, self.coordinates]
        center = self.ellipsoid.center
        with np.errstate(over="ignore", invalid="ignore"):
            slack = gamma(center.size + 3) * (np.abs(inside) @ np.abs(center)) * SAFETY
            value = inside @ center + self._reach(inside) * SAFETY + slack + UNDERFLOW
            value = nan_to_infinity(value + 2.0 * UNIT * np.abs(value))
        outside = directions.copy()
        outside[:, self.coordinates] = 0.0
        return np.where(np.any(outside != 0.0, axis=1), np.inf, value)

    def _half_widths(self) -> np.ndarray:
        """Upper bounds `(k,)` on `|x - center|` over the ellipsoid."""
        matrix = self._floats.matrix
        if not _is_diagonal(matrix):
            return self._reach(np.eye(matrix.shape[0]))
        least = np.nextafter(matrix.diagonal() - self._floats.matrix_error.diagonal(), -np.inf)
        return np.sqrt(self.ellipsoid.square / least) * SAFETY + UNDERFLOW

    def _reach(self, directions: np.ndarray) -> np.ndarray:
        """Upper bounds `(n,)` on `d·(x - center)` over the ellipsoid, `√(ρ dᵀP⁻¹d)`.

        For any `u`, `dᵀP⁻¹d = 2u·d - uᵀPu + rᵀP⁻¹r` with `r = d - Pu`, and `rᵀP⁻¹r <= ‖r‖²/λ`.
        """
        ellipsoid, floats = self.ellipsoid, self._floats
        k = directions.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):
            u = _solve(floats.matrix, directions)
            image = _times(floats.matrix, u)
            size = _times(abs(floats.matrix), np.abs(u))
            doubt = gamma(k + 4) * (size + np.abs(directions))
            doubt = doubt + _times(floats.matrix_error, np.abs(u)) + UNDERFLOW
            rest = norm_up(np.abs(directions - image) + doubt, axis=1)
            value = (2.0 * u * directions - u * image).sum(axis=1)
            rounding = (np.abs(u) * (2.0 * doubt + 3.0 * gamma(k + 4) * np.abs(directions))).sum(
                axis=1
            )
            total = value + (rounding + rest * rest / ellipsoid.least_eigenvalue) * SAFETY
            reach = np.sqrt(np.maximum(total, 0.0) * ellipsoid.square) * SAFETY + UNDERFLOW
            # Whatever the solution is worth, the least eigenvalue bounds the set.
            crude = norm_up(directions, axis=1) * np.sqrt(
                ellipsoid.square / ellipsoid.least_eigenvalue
            )
        return np.fmin(nan_to_infinity(reach), crude * SAFETY + UNDERFLOW)

    def contains(self, point: np.ndarray) -> bool:
        if not np.all(np.isfinite(point)):
            return False
        clear = self._clearly_inside(point[self.coordinates].astype(np.float64))
        return self._exactly_inside(point) if clear is None else clear

    def _clearly_inside(self, y: np.ndarray) -> bool | None:
        """Membership by float64 and its error bound; `None` where that does not tell."""
        floats, count = self._floats, 2 * y.size + 8
        with np.errstate(over="ignore", invalid="ignore"):
            value = float(y @ (floats.matrix @ y + floats.linear)) + floats.offset
            weights = abs(floats.matrix) @ np.abs(y) + np.abs(floats.linear)
            doubt = floats.matrix_error @ np.abs(y) + floats.linear_error
            error = float(np.abs(y) @ (gamma(count) * weights + doubt))
            error += gamma(count) * abs(floats.offset) + UNDERFLOW
        if not (np.isfinite(value) and abs(value) > 2.0 * error):
            return None
        return value < 0.0

    def _exactly_inside(self, point: np.ndarray) -> bool:
        x = {int(i): Fraction(float(point[i])) for i in self.coordinates}
        value = self.offset + sum(c * x[i] for i, c in self.linear.items())
        value += sum(c * x[i] * x[j] for (i, j), c in self.quadratic.items())
        return value < 0 if self.strict else value <= 0

    def least(self, lower: np.ndarray, upper: np.ndarray) -> Fraction | None:
        """A lower bound of the left-hand side on a box, by intervals; `None` for none."""
        terms = self._terms(lower, upper)
        if any(term.lower is None for term in terms):
            return None
        return sum((term.lower for term in terms), self.offset)

    def misses(self, lower: np.ndarray, upper: np.ndarray) -> bool:
        weights = [*self.linear.values(), *self.quadratic.values()]
        terms = self._terms(lower, upper)
        return is_positive_in_float32(weights, terms, self.offset, self.strict)

    def _terms(self, lower: np.ndarray, upper: np.ndarray) -> list[RationalInterval]:
        """The range of each monomial on a box."""
        x = {int(i): RationalInterval.of(lower[i], upper[i]) for i in self.coordinates}
        terms = [x[i].times(c) for i, c in self.linear.items()]
        for (i, j), c in self.quadratic.items():
            product = x[i].power(2) if i == j else x[i].product(x[j])
            terms.append(product.times(c))
        return terms

    def project(self, points: np.ndarray) -> np.ndarray:
        """An ellipsoid's points are drawn to its centre; elsewhere a few Newton steps."""
        k, floats = self.coordinates, self._floats
        moved = points.copy()
        y = points[:, k]
        with np.errstate(all="ignore"):
            if self.ellipsoid is not None:
                offset = y - self.ellipsoid.center
                value = (offset * _times(floats.matrix, offset)).sum(axis=1)
                scale = np.sqrt(max(self.ellipsoid.square, 0.0) / np.maximum(value, 1e-300))
                y = self.ellipsoid.center + offset * np.minimum(1.0, scale)[:, None]
            else:
                for _ in range(4):
                    image = _times(floats.matrix, y)
                    value = (y * (image + floats.linear)).sum(axis=1) + floats.offset
                    slope = 2.0 * image + floats.linear
                    square = np.maximum((slope * slope).sum(axis=1), 1e-300)
                    y = y - (np.maximum(value, 0.0) / square)[:, None] * slope
        moved[:, k] = np.where(np.isfinite(y), y, points[:, k])
        return moved

    def widened(self) -> AbstractInputSet:
        return self.widened_within(*self.bounds())

    def widened_within(self, lower: np.ndarray, upper: np.ndarray) -> AbstractInputSet:
        """The set with the offset that a float32 evaluation may mistake for its own.

        A sum of `T` products in any order errs by at most `gamma(T + 10)` times the sum of their
        magnitudes. For an ellipsoid that is said of its form around the centre, whose numbers
        are rounded too; for any other set of the expanded polynomial. A runtime that evaluates
        another form than that is not covered. Without finite bounds there is none: the whole
        space comes back.
        """
        k, floats, ellipsoid = self.coordinates, self._floats, self.ellipsoid
        if ellipsoid is not None and ellipsoid.square < 0.0:
            return Box.everything(self.size)
        low, high = self.bounds()
        low, high = np.maximum(low, lower)[k], np.minimum(high, upper)[k]
        middle = np.zeros(k.size) if ellipsoid is None else ellipsoid.center
        reach = np.maximum(np.abs(high - middle), np.abs(low - middle)) * SAFETY
        weights = abs(floats.matrix) + floats.matrix_error
        unit = gamma(len(self.quadratic) + len(self.linear) + 10, UNIT32)
        with np.errstate(over="ignore", invalid="ignore"):
            drawn = weights @ reach
            if ellipsoid is None:
                size = reach @ (drawn + np.abs(floats.linear) + floats.linear_error)
                slack = unit * (size + abs(floats.offset))
            else:
                size = reach @ drawn + max(ellipsoid.square, 0.0)
                slack = unit * size + 2.0 * UNIT32 * (np.abs(middle) @ drawn)
        slack = slack * SAFETY + k.size * 2.0**-120
        if not np.isfinite(slack):
            return Box.everything(self.size)
        offset = self.offset - Fraction(float(slack))
        return Quadratic(self.size, self.quadratic, self.linear, offset, strict=False)


def _floats_of(source: Quadratic) -> QuadraticFloats:
    k = source.coordinates
    place = {int(i): at for at, i in enumerate(k)}
    rows, columns, values, errors = [], [], [], []
    for (i, j), c in source.quadratic.items():
        near, error = _near(c if i == j else c / 2)
        for a, b in {(i, j), (j, i)}:
            rows.append(place[a])
            columns.append(place[b])
            values.append(near)
            errors.append(error)
    linear, linear_error = np.zeros(k.size), np.zeros(k.size)
    for i, c in source.linear.items():
        linear[place[i]], linear_error[place[i]] = _near(c)
    shape = (k.size, k.size)
    return QuadraticFloats(
        csr_array((np.array(values, dtype=float), (rows, columns)), shape=shape),
        csr_array((np.array(errors, dtype=float), (rows, columns)), shape=shape),
        linear,
        linear_error,
        fraction_down(source.offset),
    )


def _near(exact: Fraction) -> tuple[float, float]:
    """The nearest float of a rational and a bound on its error."""
    low, high = fraction_hull(exact)
    near = high if abs(high) <= abs(low) else low
    return near, 0.0 if low == high else abs(high - low) * SAFETY + UNDERFLOW


def _is_diagonal(matrix: csr_array) -> bool:
    coordinates = matrix.tocoo()
    return bool(np.all(coordinates.row == coordinates.col))


def _times(matrix: csr_array, vectors: np.ndarray) -> np.ndarray:
    """`P v` for each row `v` of `vectors (n, k)`; `P` symmetric."""
    return np.asarray(matrix @ vectors.T).T


def _solve(matrix: csr_array, vectors: np.ndarray) -> np.ndarray:
    """About `P⁻¹ v` for each row; any answer is rigorous, a bad one is loose."""
    if _is_diagonal(matrix):
        return vectors / matrix.diagonal()
    return np.linalg.solve(matrix.toarray(), vectors.T).T


def _ellipsoid_of(floats: QuadraticFloats) -> Ellipsoid | None:
    """The enclosing ellipsoid; `None` where definiteness is not proved.

    Around any `c`, `x = c + y` gives `yᵀPy + t·y + s <= 0` with a tiny `t = 2Pc + q`. With
    `λ‖y‖² - ‖t‖‖y‖ + s <= 0`, `‖y‖` is at most the larger root `R`, and `yᵀPy <= ‖t‖ R - s`.
    """
    k = floats.linear.size
    finite = np.all(np.isfinite(floats.matrix.data)) and np.all(np.isfinite(floats.linear))
    if k == 0 or not finite or not np.isfinite(floats.offset):
        return None
    least = _least_eigenvalue(floats)
    if not least > 0.0:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        center = _solve(floats.matrix, -0.5 * floats.linear[None])[0]
        image = floats.matrix @ center
        size = abs(floats.matrix) @ np.abs(center)
        doubt = gamma(k + 6) * (2.0 * size + np.abs(floats.linear))
        doubt = doubt + 2.0 * (floats.matrix_error @ np.abs(center)) + floats.linear_error
        tilt = float(norm_up(np.abs(2.0 * image + floats.linear) + doubt * SAFETY + UNDERFLOW))
        value = float(center @ (image + floats.linear)) + floats.offset
        error = float(np.abs(center) @ (doubt + gamma(2 * k + 6) * (size + np.abs(floats.linear))))
        error += gamma(2 * k + 6) * abs(floats.offset) + 2.0 * UNIT * abs(value)
        height = value - error * SAFETY - UNDERFLOW
        root = np.sqrt(tilt * tilt + 4.0 * least * max(-height, 0.0)) * SAFETY
        square = (tilt * (tilt + root) / (2.0 * least)) * SAFETY - height
        square = float(square + 4.0 * UNIT * abs(square) + UNDERFLOW)
    if not (np.isfinite(square) and np.all(np.isfinite(center))):
        return None
    return Ellipsoid(center, square, least)


def _least_eigenvalue(floats: QuadraticFloats) -> float:
    """A proved lower bound for every matrix within the error; not positive where there is none."""
    matrix = floats.matrix
    if _is_diagonal(matrix):
        diagonal = matrix.diagonal() - floats.matrix_error.diagonal()
        return float(np.nextafter(diagonal, -np.inf).min())
    if matrix.shape[0] > MAX_DENSE:
        return -np.inf
    return eigenvalue_lower_bound(matrix.toarray(), float(norm_up(floats.matrix_error.data)))
