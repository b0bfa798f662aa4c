"""The four monDEQ operators of the domain `ai.vnn_mondeq`, version 1 (docs/operator.md).

    MonDEQ(u, W) -> z                    z = ReLU(W z + u)
    MonDEQFactored(u, P, Q) -> z         the same with W = (1-m) I - PᵀP + Q - Qᵀ
    MonDEQConv(u, K, mask) -> z          z = mask * ReLU(K ⊛ z + u)
    MonDEQConvFactored(u, P, Q, mask)    K ⊛ z is (1-m) z - PᵀP z + Q z - Qᵀ z

The exact fixpoint is the meaning. The attributes `alpha`, `tol`, `max_iter` only steer the
function body (`function_body.py`) with which a stock runtime approximates it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

DOMAIN = "ai.vnn_mondeq"
VERSION = 1
OPSET = 18
"""Opset of the default domain in function bodies and in the models that we write: the lowest with
reductions over an axes input, so that as many other tools as possible read the files."""

MIN_OPSET, MAX_OPSET = 7, 25
"""Opsets of the default domain whose meaning the importer implements."""

IR_VERSION = 10

DEFAULT_TOLERANCE = 1e-12
"""Largest change of a neuron in the last step, relative to `max(1, largest neuron)` of its row."""


@final
@dataclass(frozen=True, slots=True)
class OperatorSpec:
    """The signature of one operator.

    - `inputs`: input names in order; the first is always `u`.
    - `attributes`: names of the attributes that the meaning depends on.
    - `convolutional`: whether `u` is `[N, C, H, W]` (else `[N, p]`).
    """

    name: str
    inputs: tuple[str, ...]
    attributes: tuple[str, ...]
    convolutional: bool

    @property
    def solver_attributes(self) -> tuple[str, ...]:
        """Attributes that only the function body uses."""
        return ("alpha", "tol", "max_iter")


OPERATORS: Mapping[str, OperatorSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            OperatorSpec("MonDEQ", ("u", "W"), (), False),
            OperatorSpec("MonDEQFactored", ("u", "P", "Q"), ("m",), False),
            OperatorSpec("MonDEQConv", ("u", "K", "mask"), (), True),
            OperatorSpec("MonDEQConvFactored", ("u", "P", "Q", "mask"), ("m",), True),
        )
    }
)
