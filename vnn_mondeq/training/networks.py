"""Whole classifiers around one equilibrium layer, from pixels in [0, 1] to logits."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn

from vnn_mondeq.training.data import DataSet
from vnn_mondeq.training.layers import MonDEQ, MonDEQConv

Architecture = Literal["fc", "conv"]

_WINDOW = (6, 3)
_SMALL_WINDOW = (3, 1)
"""Kernel size and stride of the input convolution; the second for images below 16x16."""


@final
class Normalise(nn.Module):
    """`(x - mean) / std`, so that the exported graph takes raw pixels."""

    def __init__(self, mean: float, std: float):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


@final
@dataclass(frozen=True, slots=True)
class NetworkShape:
    """What to build.

    - `architecture`: `"fc"`: flat pixels `[N, d]`, one `MonDEQ` of `size` neurons, a linear
      layer. `"conv"`: images `[N, C, H, W]`, one `MonDEQConv` of `size` channels (6x6 kernel,
      stride 3, circular padding 1, outer ring masked; 3x3 and 1 for images below 16x16), 2x2
      average pooling, a linear layer.
    - `m`: modulus of strong monotonicity.
    """

    architecture: Architecture
    size: int
    m: float = 20.0

    def __post_init__(self) -> None:
        if self.architecture not in ("fc", "conv"):
            raise ValueError(f"architecture must be 'fc' or 'conv', not {self.architecture!r}")
        if self.size < 1:
            raise ValueError(f"size must be at least 1, not {self.size}")
        if not self.m > 0.0:
            raise ValueError(f"m must be positive, not {self.m}")


def build_network(shape: NetworkShape, data: DataSet) -> nn.Sequential:
    """An untrained network for a data set; its normalisation is the training split's."""
    normalise = Normalise(*data.statistics())
    channels, height, width = data.shape
    if shape.architecture == "fc":
        layer = MonDEQ(channels * height * width, shape.size, shape.m)
        return nn.Sequential(normalise, layer, nn.Linear(shape.size, data.classes))
    kernel, stride = _WINDOW if min(height, width) >= 16 else _SMALL_WINDOW
    layer = MonDEQConv(
        channels, shape.size, (height, width), kernel_size=kernel, stride=stride, m=shape.m
    )
    kept, rows, columns = layer.output_shape
    features = kept * (rows // 2) * (columns // 2)
    return nn.Sequential(
        normalise, layer, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(features, data.classes)
    )
