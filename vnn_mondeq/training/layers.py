"""PyTorch layers whose output is the fixpoint of a monotone operator equation.

Parametrisation of Winston & Kolter, "Monotone operator equilibrium networks" (NeurIPS 2020):
`W = (1-m) I - AᵀA + B - Bᵀ`, so that `I - W ⪰ m I` for whatever values training gives.
Both layers export through `vnn_mondeq.onnx_io.torch_export.export_module`.
"""

import math
from typing import final

import torch
from torch import Tensor, nn

from vnn_mondeq.training.fixpoint_op import (
    feedback_matrix,
    mondeq_conv_factored,
    mondeq_factored,
)


@final
class MonDEQ(nn.Module):
    """A fully connected equilibrium layer: `z = ReLU(W z + U x + u)`, `(N, d) -> (N, size)`.

    - `m`: modulus of strong monotonicity, positive and fixed. Larger values make the layer
      easier to verify and less expressive; the published networks have 20.

    Parameters `U (size, d)`, `u (size,)`, `A`, `B (size, size)`, as in the published weights.
    """

    def __init__(self, in_features: int, size: int, m: float = 20.0):
        super().__init__()
        _check_modulus(m)
        self.m = float(m)
        self.U = nn.Parameter(torch.empty(size, in_features))
        self.u = nn.Parameter(torch.empty(size))
        self.A = nn.Parameter(torch.empty(size, size))
        self.B = nn.Parameter(torch.empty(size, size))
        reach = 1.0 / math.sqrt(in_features)
        for parameter in (self.U, self.u):
            nn.init.uniform_(parameter, -reach, reach)
        for parameter in (self.A, self.B):
            nn.init.uniform_(parameter, -1.0 / math.sqrt(size), 1.0 / math.sqrt(size))

    def feedback(self) -> Tensor:
        """`W (size, size)`."""
        return feedback_matrix(self.A, self.B, self.m)

    def forward(self, x: Tensor) -> Tensor:
        return mondeq_factored(nn.functional.linear(x, self.U, self.u), self.A, self.B, self.m)


@final
class MonDEQConv(nn.Module):
    """A convolutional equilibrium layer, `(N, in_channels, H, W) -> (N, channels, h, w)`.

        z = mask * ReLU(W z + U * x + u)

    `U` is a convolution of the circularly padded image; `W` the parametrisation above with
    circular convolutions `P = r A/‖A‖`, `Q = h B/‖B‖` (learned scalars `r`, `h`); `mask` zeroes
    the outer ring of width `border` of every channel.

    - `image_size`: `(H, W)` of the input.
    - `kernel_size`, `stride`, `padding`: of `U`.
    - `reach`: the odd size of the kernels of `W`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        image_size: tuple[int, int],
        *,
        kernel_size: int = 6,
        stride: int = 3,
        padding: int = 1,
        reach: int = 3,
        border: int = 1,
        m: float = 20.0,
    ):
        super().__init__()
        _check_modulus(m)
        size = tuple((n + 2 * padding - kernel_size) // stride + 1 for n in image_size)
        if reach % 2 == 0 or reach > min(size):
            raise ValueError(f"reach must be odd and at most {min(size)}, not {reach}")
        if border < 0 or 2 * border >= min(size):
            raise ValueError(f"border {border} leaves nothing of {size[0]} x {size[1]} neurons")
        self.m = float(m)
        self.stride, self.padding, self.border = stride, padding, border
        self.output_shape = (channels, *size)
        taps = in_channels * kernel_size * kernel_size
        self.U = nn.Parameter(torch.empty(channels, in_channels, kernel_size, kernel_size))
        self.u = nn.Parameter(torch.empty(channels))
        for parameter in (self.U, self.u):
            nn.init.uniform_(parameter, -1.0 / math.sqrt(taps), 1.0 / math.sqrt(taps))
        self.A = nn.Parameter(torch.randn(channels, channels, reach, reach))
        self.B = nn.Parameter(torch.randn(channels, channels, reach, reach))
        self.r = nn.Parameter(torch.ones(()))
        self.h = nn.Parameter(torch.ones(()))
        mask = torch.zeros(1, *size)
        mask[:, border : size[0] - border, border : size[1] - border] = 1.0
        self.register_buffer("mask", mask)

    def kernels(self) -> tuple[Tensor, Tensor]:
        """`P` and `Q`, `(channels, channels, reach, reach)`."""
        return self.r * self.A / self.A.norm(), self.h * self.B / self.B.norm()

    def input_map(self, x: Tensor) -> Tensor:
        """`U * x + u`."""
        wrap = (self.padding,) * 4
        padded = nn.functional.pad(x, wrap, mode="circular") if self.padding else x
        return nn.functional.conv2d(padded, self.U, self.u, stride=self.stride)

    def forward(self, x: Tensor) -> Tensor:
        P, Q = self.kernels()
        return mondeq_conv_factored(self.input_map(x), P, Q, self.mask, self.m)


def _check_modulus(m: float) -> None:
    if not (m > 0.0 and math.isfinite(m)):
        raise ValueError(f"m must be positive, not {m}")
