"""Containment of a mixed zonotope in one whose generators are a basis (CRAFT, theorem 5.2).

Letters: `Y = a + G ξ + diag(r) η` the outer set, `G (n, n)`; `Y' = a' + G' ξ' + diag(r') η'` the
inner one; `B ≈ G⁻¹`.

For `ξ', η'` given, write `G' ξ' = G X ξ' + e`, `X = fl(B G')`, with `|e| <= ρ` (the residual of
the computed `X`). What is left over, `(a' - a) + diag(r') η' + e`, is at most
`β = |a' - a| + r' + ρ` elementwise; the outer box takes `min(r, ·)` of it and leaves a vector `f`,
`|f| <= d = max(0, β - r)`, to the generators: `G⁻¹ f = B (I - E)⁻¹ f`, `E = I - G B`, so
`|G⁻¹ f| <= |B| (d + e/(1-e) max(d))` where `e = ‖E‖_∞ < 1`. The inner set is contained if

    |X| 1 + |B| (d + e/(1-e) max(d)) <= 1          (equation 10, with its rounding errors).

Sufficient, not necessary.
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.rounding import SAFETY, UNDERFLOW, gamma
from vnn_mondeq.sets.consolidation import identity_defect
from vnn_mondeq.sets.mixed_zonotope import MixedZonotope


@final
@dataclass(frozen=True, slots=True, eq=False)
class ContainmentProof:
    """That `inner` lies in `outer`. Only `ContainmentTest.prove` builds it.

    - `worst`: the largest coefficient of equation 10, rounding included, at most 1.
    """

    inner: MixedZonotope
    outer: MixedZonotope
    worst: float


@final
@dataclass(frozen=True, slots=True, eq=False)
class ContainmentTest:
    """An outer set, factorised once for many tests.

    `outer` has as many generators as dimensions, or none (a box).

    **Raises** `ValueError` for other shapes.
    """

    outer: MixedZonotope
    inverse: np.ndarray | None = field(init=False, repr=False)
    defect: np.ndarray | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        n, k = self.outer.generators.shape
        inverse = defect = None
        if k == n and n > 0:
            try:
                inverse = np.linalg.inv(self.outer.generators)
            except np.linalg.LinAlgError:
                inverse = None
            if inverse is not None and not np.all(np.isfinite(inverse)):
                inverse = None
            if inverse is not None:
                defect = identity_defect(self.outer.generators, inverse)
        elif k != 0:
            raise ValueError(f"the outer set must be a box or have {n} generators, not {k}")
        object.__setattr__(self, "inverse", inverse)
        object.__setattr__(self, "defect", defect)

    def prove(self, inner: MixedZonotope) -> ContainmentProof | None:
        """A proof that `inner` is contained, or `None` where there is none."""
        worst = self.worst_coefficient(inner)
        return ContainmentProof(inner, self.outer, worst) if worst <= 1.0 else None

    def worst_coefficient(self, inner: MixedZonotope) -> float:
        """The largest left-hand side of equation 10; infinite where it cannot be evaluated."""
        outer = self.outer
        gap = np.abs(inner.center - outer.center) * (1.0 + gamma(4)) + UNDERFLOW
        if self.inverse is None:
            needed = (gap + inner.spread) * SAFETY
            if not np.all(needed <= outer.radius):
                return np.inf
            # How full the box is; zero radii hold nothing but a point, and are full.
            filled = needed[outer.radius > 0.0] / outer.radius[outer.radius > 0.0]
            return float(filled.max(initial=0.0))
        e = float(self.defect.sum(axis=1).max()) * SAFETY
        if not e < 0.5:
            return np.inf
        n = inner.dimension
        absolute = np.abs(self.inverse)
        coordinates = np.abs(self.inverse @ inner.generators).sum(axis=1) * SAFETY
        rounding = gamma(n + 4) * (absolute @ inner.spread)
        residual = self.defect @ inner.spread + np.abs(outer.generators) @ rounding
        excess = np.maximum(0.0, (gap + inner.radius + residual) * SAFETY - outer.radius)
        excess = excess + e / (1.0 - e) * float(excess.max(initial=0.0)) * SAFETY
        total = (coordinates + absolute @ (excess * SAFETY)) * SAFETY
        return float(total.max(initial=0.0)) if np.all(np.isfinite(total)) else np.inf
