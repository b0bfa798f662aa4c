"""Order reduction of mixed zonotopes by a basis (CRAFT, theorem 5.1), and the choice of the basis.

With a basis `Q (n, n)` and `C = Q⁻¹ G`, the zonotope part `G ξ` lies in `Q diag(|C| 1) ξ'`. In
floating point `C` is only near `Q⁻¹ G`; what is left, `G - Q C`, goes into the radius, so `Q` may
be any matrix and its inverse any approximation.

Letters: `n` dimensions, `k` generators, `G` generators, `Q` basis, `B ≈ Q⁻¹`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, gamma
from vnn_mondeq.sets.mixed_zonotope import MixedZonotope


@final
@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Directions `Q (n, n)`, an approximate inverse `B`, and `defect >= |I - Q B|`, elementwise."""

    directions: np.ndarray
    inverse: np.ndarray
    defect: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "defect", identity_defect(self.directions, self.inverse))


def identity_defect(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Elementwise upper bounds on `|I - left right|`, rounding included."""
    n = left.shape[0]
    difference = np.abs(np.eye(n) - left @ right)
    error = gamma(n + 4) * (np.abs(left) @ np.abs(right) + np.eye(n))
    return (difference + error) * SAFETY + UNDERFLOW


@final
@dataclass(frozen=True, slots=True)
class Widening:
    """`A' = (multiplier |Q⁻¹ A| 1 + addition) Q` (CRAFT, equation 12)."""

    multiplier: float = 1.0
    addition: float = 0.0

    def __post_init__(self) -> None:
        if not (self.multiplier >= 1.0 and self.addition >= 0.0):
            raise ValueError(
                f"widening must enlarge: multiplier {self.multiplier} >= 1 and "
                f"addition {self.addition} >= 0"
            )


NO_WIDENING = Widening()


class AbstractConsolidation(ABC):
    """A way to reduce a mixed zonotope to one with a basis as generators (or none)."""

    @abstractmethod
    def basis(self, zonotope: MixedZonotope) -> Basis | None:
        """A basis that suits the set; `None` where the method needs none."""

    @abstractmethod
    def reduce(
        self, zonotope: MixedZonotope, basis: Basis | None, widening: Widening
    ) -> MixedZonotope:
        """A set that contains `zonotope`, with at most `n` generators, none of them shared."""


@final
@dataclass(frozen=True, slots=True)
class PcaConsolidation(AbstractConsolidation):
    """Principal directions of the generators; directions without extent complete the basis.

    - `blocks`: consolidate this many equal slices of the coordinates independently of each
      other. 1 is the paper's joint consolidation, 2 its ablation "no joint consolidation" on
      the state `[z, u]`.
    - `keep_box`: keep the radius a box (the paper). Without, it is cast to generators first.
    """

    blocks: int = 1
    keep_box: bool = True

    def basis(self, zonotope: MixedZonotope) -> Basis:
        generators = zonotope.generators
        if not self.keep_box:
            generators = np.concatenate([generators, np.diag(zonotope.radius)], axis=1)
        n = zonotope.dimension
        size = slice_size(n, self.blocks)
        directions = np.zeros((n, n))
        for index in range(self.blocks):
            part = slice(index * size, (index + 1) * size)
            gram = generators[part] @ generators[part].T
            # The eigenvectors of the smallest eigenvalues complete the basis orthogonally.
            directions[part, part] = np.linalg.eigh(gram)[1]
        return Basis(directions, directions.T.copy())

    def reduce(
        self, zonotope: MixedZonotope, basis: Basis | None, widening: Widening
    ) -> MixedZonotope:
        if basis is None:
            raise ValueError("consolidation into a basis needs the basis")
        if not self.keep_box:
            zonotope = cast_radius(zonotope)
        if self.blocks == 1:
            return reduce_to_basis(zonotope, basis, widening)
        return reduce_to_basis(split_blocks(zonotope, self.blocks), basis, widening)


@final
@dataclass(frozen=True, slots=True)
class BoxConsolidation(AbstractConsolidation):
    """Everything becomes the box (the paper's ablation "no zono component")."""

    def basis(self, zonotope: MixedZonotope) -> None:
        return None

    def reduce(
        self, zonotope: MixedZonotope, basis: Basis | None, widening: Widening
    ) -> MixedZonotope:
        radius = (widening.multiplier * zonotope.spread + widening.addition) * SAFETY
        return MixedZonotope(zonotope.center, np.zeros((zonotope.dimension, 0)), radius)


def cast_radius(zonotope: MixedZonotope) -> MixedZonotope:
    """The same set with its whole radius as generators."""
    n = zonotope.dimension
    generators = np.concatenate([zonotope.generators, np.diag(zonotope.radius)], axis=1)
    return MixedZonotope(zonotope.center, generators, np.zeros(n), zonotope.shared)


def slice_size(dimension: int, blocks: int) -> int:
    """**Raises** `ValueError` where the slices would leave coordinates out, which is unsound."""
    if blocks < 1 or dimension % blocks:
        raise ValueError(f"{dimension} coordinates have no {blocks} equal slices")
    return dimension // blocks


def split_blocks(zonotope: MixedZonotope, blocks: int) -> MixedZonotope:
    """The product of the projections to equal slices: every slice gets its own symbols."""
    n, k = zonotope.generators.shape
    size = slice_size(n, blocks)
    generators = np.zeros((n, blocks * k))
    for index in range(blocks):
        part = slice(index * size, (index + 1) * size)
        generators[part, index * k : (index + 1) * k] = zonotope.generators[part]
    return MixedZonotope(zonotope.center, generators, zonotope.radius)


def reduce_to_basis(zonotope: MixedZonotope, basis: Basis, widening: Widening) -> MixedZonotope:
    """Theorem 5.1 with the remainder in the radius, widened by equation 12."""
    n = zonotope.dimension
    rows = zonotope.spread
    coordinates = np.abs(basis.inverse @ zonotope.generators).sum(axis=1) * SAFETY
    # G - Q fl(BG) = (I - QB) G - Q (fl(BG) - BG).
    rounding = gamma(n + 4) * (np.abs(basis.inverse) @ rows)
    magnitude = np.abs(basis.directions)
    lengths = (widening.multiplier * coordinates + widening.addition) * SAFETY
    remainder = basis.defect @ rows + magnitude @ (rounding + 2.0 * UNIT * lengths)
    radius = (zonotope.radius + remainder) * SAFETY + UNDERFLOW
    return MixedZonotope(zonotope.center, basis.directions * lengths, radius)
