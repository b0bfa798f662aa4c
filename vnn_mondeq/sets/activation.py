"""Strips that contain the graphs of ReLU and of the absolute value, and their set transformers.

For `v` in `[l, h]`, `l < 0 < h`, and any slope `λ` in `[0, 1]` the function `ReLU(v) - λ v` is
convex, zero at zero and not negative, so

    0 <= ReLU(v) - λ v <= max((1 - λ) h, -λ l)                (DeepZ: λ = h / (h - l))

and likewise `0 <= |v| - κ v <= max((1 - κ) h, -(1 + κ) l)` for `κ` in `[-1, 1]`. Both hold for
*every* float slope in the range, so a rounded slope costs no soundness (Singh et al. 2018,
theorem 3.1, divides where we do not have to).
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.rounding import SAFETY, UNDERFLOW
from vnn_mondeq.sets.mixed_zonotope import MixedZonotope


@final
@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """`slope v + offset ± reach` contains the activation, elementwise, all of shape `(n,)`."""

    slope: np.ndarray
    offset: np.ndarray
    reach: np.ndarray

    def apply(self, zonotope: MixedZonotope) -> MixedZonotope:
        """Contains the image of those points of the set that lie within the strip's bounds."""
        return zonotope.scale_shift(self.slope, self.offset, self.reach)


def deepz_slope(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """The ReLU slope of least area: 0 below zero, 1 above, the chord between."""
    width = np.where(upper > lower, upper - lower, 1.0)
    chord = np.clip(upper / width, 0.0, 1.0)
    return np.where(upper <= 0.0, 0.0, np.where(lower >= 0.0, 1.0, chord))


def relu_strip(lower: np.ndarray, upper: np.ndarray, slope: np.ndarray | None = None) -> Strip:
    """A strip that contains the graph of ReLU on `[lower, upper]`.

    `slope`: in `[0, 1]`; `None` for DeepZ. It is ignored where the sign is known. An empty
    interval (`upper < lower`) stands for no point at all and gives some strip.
    """
    slope = deepz_slope(lower, upper) if slope is None else np.clip(slope, 0.0, 1.0)
    slope = np.where(upper <= 0.0, 0.0, np.where(lower >= 0.0, 1.0, slope))
    # Above zero and below zero the strip has no width; the products there are not looked at.
    height = np.maximum((1.0 - slope) * upper, -slope * lower)
    height = np.where((upper <= 0.0) | (lower >= 0.0), 0.0, height * SAFETY + UNDERFLOW)
    half = 0.5 * height
    return Strip(slope, half, half)


def absolute_strip(lower: np.ndarray, upper: np.ndarray, slope: np.ndarray | None = None) -> Strip:
    """A strip that contains `|v|` on `[lower, upper]`; `slope` is that of the ReLU, as
    `|v| = 2 ReLU(v) - v`."""
    slope = deepz_slope(lower, upper) if slope is None else np.clip(slope, 0.0, 1.0)
    steep = 2.0 * slope - 1.0  # exact or rounded, in [-1, 1] either way
    steep = np.where(upper <= 0.0, -1.0, np.where(lower >= 0.0, 1.0, steep))
    height = np.maximum((1.0 - steep) * upper, -(1.0 + steep) * lower)
    height = np.where((upper <= 0.0) | (lower >= 0.0), 0.0, height * SAFETY + UNDERFLOW)
    half = 0.5 * height
    return Strip(steep, half, half)
