"""The public training codes' networks, written anew from their definition: modules with the same
names of parameters, whose forward pass is the plain damped iteration in double precision.

Nothing of the converters is used here: transposes are `conv_transpose2d` of padded tensors, as in
the public codes, not matrices.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

STEPS = 4000


class Linear(nn.Module):
    def __init__(self, d: int, p: int, m: float):
        super().__init__()
        self.U = nn.Linear(d, p)
        self.A, self.B = (nn.Linear(p, p, bias=False) for _ in range(2))
        self.m = m

    def bias(self, x):
        return (self.U(x),)

    def multiply(self, z):
        A, B = self.A.weight, self.B.weight
        return ((1 - self.m) * z - z @ A.T @ A + z @ B.T - z @ B,)


def wrap(x):
    return F.pad(x, (1, 1, 1, 1), mode="circular")


def unit(weight):
    return weight / weight.norm()


def transposed(z, kernel):
    """The transpose of `conv2d(wrap(z), kernel)`."""
    return F.conv_transpose2d(wrap(z), kernel)[:, :, 2:-2, 2:-2]


class Convolution(nn.Module):
    def __init__(self, inputs: int, channels: int, m: float, kernel: int = 3, stride: int = 1):
        super().__init__()
        self.U = nn.Conv2d(inputs, channels, kernel, stride=stride)
        self.A, self.B = (nn.Conv2d(channels, channels, 3, bias=False) for _ in range(2))
        self.g, self.h = nn.Parameter(torch.tensor(1.3)), nn.Parameter(torch.tensor(-0.7))
        self.m = m

    def bias(self, x):
        return (self.U(wrap(x)),)

    def multiply(self, z):
        A, B = unit(self.A.weight), self.h * unit(self.B.weight)
        gram = transposed(F.conv2d(wrap(z), A), A)
        return ((1 - self.m) * z - self.g * gram + F.conv2d(wrap(z), B) - transposed(z, B),)


class MultiConvolution(nn.Module):
    def __init__(self, inputs: int, channels: tuple[int, ...], m: float):
        super().__init__()
        pairs = list(pairwise(channels))
        self.U = nn.Conv2d(inputs, channels[0], 3)
        self.A0, self.B0 = (
            nn.ModuleList([nn.Conv2d(c, c, 3, bias=False) for c in channels]) for _ in range(2)
        )
        self.A_n0 = nn.ModuleList([nn.Conv2d(a, b, 3, bias=False, stride=2) for a, b in pairs])
        self.g, self.h = (
            nn.ParameterList([nn.Parameter(0.5 + torch.rand(())) for _ in channels])
            for _ in range(2)
        )
        self.gn = nn.ParameterList([nn.Parameter(0.5 + torch.rand(())) for _ in pairs])
        self.m = m

    def bias(self, x):
        first = self.U(wrap(x))
        sizes = [first.shape[2]]
        for _ in self.gn:
            sizes.append((sizes[-1] - 2) // 2 + 2)
        rest = [
            torch.zeros(len(x), a.out_channels, n, n, dtype=x.dtype)
            for a, n in zip(self.A_n0, sizes[1:], strict=True)
        ]
        return (first, *rest)

    def multiply(self, *z):
        out = []
        for i, own in enumerate(z):
            A = self.g[i].sqrt() * unit(self.A0[i].weight)
            B = self.h[i] * unit(self.B0[i].weight)
            value = (1 - self.m) * own - transposed(F.conv2d(wrap(own), A), A)
            value = value + F.conv2d(wrap(own), B) - transposed(own, B)
            if i + 1 < len(z):
                value = value - self._gram(own, i)
            if i > 0:
                down = F.pad(self._down(z[i - 1], i - 1), (0, 1, 0, 1))
                value = value - 2 * transposed(down, A)
            out.append(value)
        return tuple(out)

    def _down(self, z, i):
        kernel = self.gn[i].sqrt() * unit(self.A_n0[i].weight)
        return F.conv2d(wrap(z), kernel, stride=2)

    def _gram(self, z, i):
        """`NᵀN z`, through the gradient of `‖N z‖² / 2`."""
        with torch.enable_grad():
            at = z.detach().requires_grad_()
            (value,) = torch.autograd.grad(0.5 * self._down(at, i).square().sum(), at)
        return value


class Splitting(nn.Module):
    """The layer; only its name in the state dict matters."""

    def __init__(self, linear_module: nn.Module):
        super().__init__()
        self.linear_module = linear_module


class Net(nn.Module):
    """`twins`: hold the layer twice, as CRAFT's networks do."""

    def __init__(self, layer: nn.Module, features: int, *, ring: int, pool: int, twins=False):
        super().__init__()
        if twins:
            self.linear_module = layer
        self.mon = Splitting(layer)
        self.Wout = nn.Linear(features, 4)
        self.ring, self.pool = ring, pool

    def forward(self, x):
        flat = isinstance(self.mon.linear_module, Linear)
        x = x.flatten(1) if flat else F.pad(x, (self.ring,) * 4)
        z = self._fixpoint(x, masked=not flat)[-1]
        z = z if flat or self.pool == 1 else F.avg_pool2d(z, self.pool)
        return self.Wout(z.flatten(1))

    @torch.no_grad()
    def _fixpoint(self, x, masked):
        layer = self.mon.linear_module
        # Small enough for the weights that the tests draw; else the end of this method says so.
        alpha = 0.05 if isinstance(layer, Linear) else 0.2
        bias = layer.bias(x)
        z = tuple(torch.zeros_like(b) for b in bias)
        for _ in range(STEPS):
            old, wz = z, layer.multiply(*z)
            z = tuple(
                F.relu((1 - alpha) * a + alpha * (w + b))
                for a, w, b in zip(z, wz, bias, strict=True)
            )
            if masked:
                z = tuple(F.pad(a[:, :, 1:-1, 1:-1], (1, 1, 1, 1)) for a in z)
            if max(float((a - b).abs().max()) for a, b in zip(z, old, strict=True)) < 1e-13:
                return z
        raise AssertionError("the reference iteration does not converge; the case is ill-chosen")


def fully_connected(d: int = 12, p: int = 7, m: float = 0.5, **options) -> Net:
    return Net(Linear(d, p, m), p, ring=0, pool=1, **options)


def single_convolution(size: int = 10, channels: int = 3, m: float = 0.5) -> Net:
    features = channels * ((size + 2) // 4) ** 2
    return Net(Convolution(2, channels, m), features, ring=1, pool=4)


def craft_convolution(size: int = 13, channels: int = 3, m: float = 0.5) -> Net:
    layer = Convolution(2, channels, m, kernel=5, stride=2)
    rows = (size + 2 - 5) // 2 + 1
    return Net(layer, channels * (rows // 2) ** 2, ring=0, pool=2, twins=True)


def multi_convolution(size: int = 8, channels=(2, 3, 2), m: float = 0.5) -> Net:
    last = size // 2 ** (len(channels) - 1) + 2
    layer = MultiConvolution(2, channels, m)
    return Net(layer, channels[-1] * last**2, ring=1, pool=1)
