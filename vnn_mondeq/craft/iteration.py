"""The abstract iterations of the containment phase: what their state is and how it steps.

A state is a mixed zonotope; one step maps it to the pre-activation set (an affine image) and that
through the activation to the next state. Letters: `z` neurons, `s = Mz - q` slack, `u = z - αs`,
`t = z + αs = 2z - u`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.craft.operators import ForwardBackward, PeacemanRachford
from vnn_mondeq.sets.activation import absolute_strip, relu_strip
from vnn_mondeq.sets.mixed_zonotope import MixedZonotope


class AbstractIteration(ABC):
    """A splitting whose concrete steps, from any state, converge to the state of the fixpoint."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """The word that a certificate uses: `reflected`, `joint` or `forward-backward`."""

    @property
    @abstractmethod
    def alpha(self) -> float:
        """The step size."""

    @abstractmethod
    def start(self, z: np.ndarray, slack: np.ndarray) -> MixedZonotope:
        """The state of one fixpoint `z (p,)` with its slack `s (p,)`."""

    @abstractmethod
    def advance(self, state: MixedZonotope) -> MixedZonotope:
        """Contains the next pre-activations."""

    @abstractmethod
    def activate(
        self, preactivation: MixedZonotope, lower: np.ndarray, upper: np.ndarray
    ) -> MixedZonotope:
        """Contains the next states of pre-activations that lie in `[lower, upper]`."""

    @abstractmethod
    def activate_box(self, lower: np.ndarray, upper: np.ndarray) -> MixedZonotope:
        """The smallest box that contains the next states of pre-activations in
        `[lower, upper]`."""


def _relu_box(lower: np.ndarray, upper: np.ndarray) -> MixedZonotope:
    return MixedZonotope.box(np.maximum(lower, 0.0), np.maximum(upper, 0.0))


@final
@dataclass(frozen=True, slots=True, eq=False)
class ReflectedIteration(AbstractIteration):
    """Peaceman-Rachford on `t`: `u' = T t + 2αVq`, `t' = |u'|`."""

    operator: PeacemanRachford

    @property
    def kind(self) -> str:
        return "reflected"

    @property
    def alpha(self) -> float:
        return self.operator.alpha

    def start(self, z: np.ndarray, slack: np.ndarray) -> MixedZonotope:
        return MixedZonotope.point(z + self.alpha * slack)

    def advance(self, state: MixedZonotope) -> MixedZonotope:
        return self.operator.advance(state)

    def activate(
        self, preactivation: MixedZonotope, lower: np.ndarray, upper: np.ndarray
    ) -> MixedZonotope:
        return absolute_strip(lower, upper).apply(preactivation)

    def activate_box(self, lower: np.ndarray, upper: np.ndarray) -> MixedZonotope:
        least = np.maximum(0.0, np.maximum(lower, -upper))
        return MixedZonotope.box(least, np.maximum(np.abs(lower), np.abs(upper)))


@final
@dataclass(frozen=True, slots=True, eq=False)
class JointIteration(AbstractIteration):
    """Peaceman-Rachford on `[z, u]`, the paper's state."""

    operator: PeacemanRachford

    @property
    def kind(self) -> str:
        return "joint"

    @property
    def alpha(self) -> float:
        return self.operator.alpha

    def start(self, z: np.ndarray, slack: np.ndarray) -> MixedZonotope:
        return MixedZonotope.point(np.concatenate([z, z - self.alpha * slack]))

    def advance(self, state: MixedZonotope) -> MixedZonotope:
        return self.operator.advance(state)

    def activate(
        self, preactivation: MixedZonotope, lower: np.ndarray, upper: np.ndarray
    ) -> MixedZonotope:
        return relu_strip(lower, upper).apply(preactivation).stack(preactivation)

    def activate_box(self, lower: np.ndarray, upper: np.ndarray) -> MixedZonotope:
        return _relu_box(lower, upper).stack(MixedZonotope.box(lower, upper))


@final
@dataclass(frozen=True, slots=True, eq=False)
class ForwardBackwardIteration(AbstractIteration):
    """Forward-backward on `z`: `v = (I - αM)z + αq`, `z' = ReLU(v)`.

    Converges for `α < 2m/L²` only, so only then it may prove containment; as tightening it is
    sound for every `α`.
    """

    operator: ForwardBackward

    @property
    def kind(self) -> str:
        return "forward-backward"

    @property
    def alpha(self) -> float:
        return self.operator.alpha

    def start(self, z: np.ndarray, slack: np.ndarray) -> MixedZonotope:
        return MixedZonotope.point(z)

    def advance(self, state: MixedZonotope) -> MixedZonotope:
        return self.operator.advance(state)

    def activate(
        self, preactivation: MixedZonotope, lower: np.ndarray, upper: np.ndarray
    ) -> MixedZonotope:
        return relu_strip(lower, upper).apply(preactivation)

    def activate_box(self, lower: np.ndarray, upper: np.ndarray) -> MixedZonotope:
        return _relu_box(lower, upper)
