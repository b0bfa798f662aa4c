"""What a benchmark of the shipped models asks unless the user says otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Defaults:
    """- `data`: data set of the images. `radii`: on either side of the margins of most images.
    - `timeout`: seconds."""

    data: str
    radii: tuple[str, ...]
    timeout: int


DEFAULTS: Mapping[str, Defaults] = MappingProxyType(
    {
        "digits_fc16": Defaults("digits", ("0.04", "0.08"), 60),
        "mnist_fc40": Defaults("mnist", ("0.05", "0.1"), 120),
        "mnist_fc87": Defaults("mnist", ("0.05", "0.1"), 120),
        "mnist_convsmall": Defaults("mnist", ("0.05", "0.1"), 300),
    }
)
"""File name of a model of `onnx_models/` without its ending → its defaults."""
