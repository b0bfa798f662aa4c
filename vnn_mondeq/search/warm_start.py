"""The semidefinite path of a node entered where its parent's was left.

A node's relaxation is its parent's with some upper bounds lowered: `z (Z' - z) >= 0` in place of
`z (Z - z) >= 0`. Multipliers rescaled so that the linear parts stay (`t ẑ ŝ`, `ρ ẑ`, `ν ŝ` as
before) add squares to the parent's form and take nothing away, and neurons that the box decides
meanwhile restrict it to a subspace; so the parent's multipliers are feasible for the child, with a
bound that is no worse. From there Newton needs a few steps, where a cold start needs thirty (FC200,
143 undecided neurons).
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.sdp.ascent import PathPoint
from vnn_mondeq.sdp.phases import ScaledForm
from vnn_mondeq.sdp.shor import Multipliers

LIFT = 10.0
"""A multiplier whose unit has shrunk more than tenfold starts at `LIFT / τ` at least: on the path
it is some `1 / τ`, and rescaled it would have to climb there by many powers of ten."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where the path of a relaxation was left, and the units of its multipliers.

    - `undecided (k,)`: its neurons, ascending; `scale_z`, `scale_s (k,)`.
    """

    point: PathPoint
    undecided: np.ndarray
    scale_z: np.ndarray
    scale_s: np.ndarray

    @classmethod
    def of(cls, form: ScaledForm, point: PathPoint) -> "Place":
        return cls(point, form.elimination.undecided, form.scale_z, form.scale_s)

    def entered(self, form: ScaledForm) -> PathPoint | None:
        """The start for a relaxation under a smaller box; `None` where it is not one of those."""
        kept = np.searchsorted(self.undecided, form.elimination.undecided)
        if not np.all(np.isin(form.elimination.undecided, self.undecided)):
            return None
        products, tau = self.point.multipliers.products, self.point.tau
        t, rho, nu = products.reshape(3, self.undecided.size)[:, kept]
        ratio_z, ratio_s = form.scale_z / self.scale_z[kept], form.scale_s / self.scale_s[kept]
        rho = _lifted(rho * ratio_z, ratio_z, tau)
        nu = _lifted(nu * ratio_s, ratio_s, tau)
        multipliers = Multipliers(
            self.point.multipliers.sigma,
            np.concatenate([t * ratio_z * ratio_s, rho, nu]),
            self.point.multipliers.beyond,
        )
        return PathPoint(multipliers, tau)


def _lifted(multipliers: np.ndarray, ratio: np.ndarray, tau: float) -> np.ndarray:
    return np.where(ratio < 0.1, np.maximum(multipliers, LIFT / tau), multipliers)
