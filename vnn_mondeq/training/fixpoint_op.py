"""The monDEQ fixpoint as PyTorch operators, two of them differentiable.

    vnn_mondeq::mondeq(u (N, p), W (p, p)) -> z (N, p)              no gradient
    vnn_mondeq::mondeq_factored(u (N, p), P (k, p), Q (p, p), m) -> z (N, p)
    vnn_mondeq::mondeq_conv_factored(u (N, C, H, W), P, Q (C, C, k, k), mask (1|C, H, W), m) -> z

`z = mask * ReLU(W z + u)`, in the differentiable ones with `W = (1-m) I - PᵀP + Q - Qᵀ`, circular
convolutions in the last (docs/operator.md). They are custom operators so that `torch.export` keeps
each as one node, which the exporter then writes as our ONNX operator.

Gradients follow from implicit differentiation (Winston & Kolter 2020, section 3.4): with `D` the
diagonal of active neurons and `g` the incoming gradient, `y` solves `y = D (Wᵀ y + g)`; then
`∂u = y` and `∂W = y zᵀ`. Nothing of the forward iteration is stored.
"""

from collections.abc import Callable
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_STEPS = 2000
"""Limit of every iteration here; reached only by networks far from what training produces."""

_TOLERANCES = {torch.float32: 1e-6, torch.float64: 1e-12}
"""Largest change in the last step, relative to `max(1, largest entry)`."""


def _iterate(step: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Apply `step` until the largest change is small."""
    tolerance = _TOLERANCES[start.dtype]
    z = start
    for _ in range(MAX_STEPS):
        new = step(z)
        change = (new - z).abs().max()
        z = new
        if not change > tolerance * z.abs().max().clamp(min=1.0):
            break
    return z


# --- fully connected ------------------------------------------------------------------------


def feedback_matrix(P: Tensor, Q: Tensor, m: float) -> Tensor:
    """`(1-m) I - PᵀP + Q - Qᵀ`."""
    identity = torch.eye(Q.shape[0], dtype=Q.dtype, device=Q.device)
    return (1.0 - m) * identity - P.T @ P + Q - Q.T


def _peaceman_rachford(W: Tensor, u: Tensor, m: float) -> Tensor:
    """Peaceman-Rachford splitting (Winston & Kolter 2020, algorithm 1); rows of `u (N, p)`.

    `α = 1/sqrt(m L)` is best for a symmetric `I - W`.
    """
    identity = torch.eye(W.shape[0], dtype=W.dtype, device=W.device)
    M = identity - W
    norm = torch.linalg.matrix_norm(M, 1) * torch.linalg.matrix_norm(M, torch.inf)
    alpha = float((m * norm.sqrt()).rsqrt())
    resolvent = torch.linalg.inv(identity + alpha * M).T
    shift = alpha * (u @ resolvent)

    def step(w: Tensor) -> Tensor:
        reflected = w.abs()  # 2 ReLU(w) - w
        return 2.0 * (reflected @ resolvent + shift) - reflected

    return _iterate(step, torch.zeros_like(u)).clamp(min=0.0)


@torch.library.custom_op("vnn_mondeq::mondeq_factored", mutates_args=())
def mondeq_factored(u: Tensor, P: Tensor, Q: Tensor, m: float) -> Tensor:
    """See the module's docstring. `m > 0`."""
    return _peaceman_rachford(feedback_matrix(P, Q, m), u, m)


@mondeq_factored.register_fake
def _(u: Tensor, P: Tensor, Q: Tensor, m: float) -> Tensor:
    return torch.empty_like(u)


@torch.library.custom_op("vnn_mondeq::mondeq", mutates_args=())
def mondeq(u: Tensor, W: Tensor) -> Tensor:
    """See the module's docstring. `I - W` must be strongly monotone; for layers that come as a
    matrix, so there is nothing to train."""
    M = torch.eye(W.shape[0], dtype=W.dtype, device=W.device) - W
    return _peaceman_rachford(W, u, float(torch.linalg.eigvalsh(0.5 * (M + M.T))[0]))


@mondeq.register_fake
def _(u: Tensor, W: Tensor) -> Tensor:
    return torch.empty_like(u)


def _save_dense(ctx, inputs, output) -> None:
    _, P, Q, m = inputs
    ctx.save_for_backward(P, Q, output)
    ctx.m = m


def _dense_backward(ctx, gradient: Tensor):
    P, Q, z = ctx.saved_tensors
    active = (z > 0.0).to(z.dtype)
    W = feedback_matrix(P, Q, ctx.m)
    y = _masked_linear_solve(W, active, gradient)
    on_W = y.T @ z
    return y, -(P @ (on_W + on_W.T)), on_W - on_W.T, None


def _masked_linear_solve(W: Tensor, active: Tensor, gradient: Tensor) -> Tensor:
    """The exact solution of `y = D (Wᵀ y + g)`, `D = diag(active)`, for each row."""
    identity = torch.eye(W.shape[0], dtype=W.dtype, device=W.device)
    system = identity - active[:, :, None] * W.T
    return torch.linalg.solve(system, active * gradient)


mondeq_factored.register_autograd(_dense_backward, setup_context=_save_dense)


# --- convolutional ----------------------------------------------------------------------------


def circular_correlation(z: Tensor, kernel: Tensor) -> Tensor:
    """Circular ("same") correlation of `z (N, C, H, W)` with an odd kernel."""
    rows, columns = kernel.shape[2] // 2, kernel.shape[3] // 2
    return F.conv2d(F.pad(z, (columns, columns, rows, rows), mode="circular"), kernel)


def transposed_kernel(kernel: Tensor) -> Tensor:
    """The kernel of the transposed correlation."""
    return kernel.transpose(0, 1).flip(2, 3)


def feedback_convolution(z: Tensor, P: Tensor, Q: Tensor, m: float) -> Tensor:
    """`(1-m) z - PᵀP z + Q z - Qᵀ z`."""
    gram = circular_correlation(circular_correlation(z, P), transposed_kernel(P))
    skew = circular_correlation(z, Q - transposed_kernel(Q))
    return (1.0 - m) * z - gram + skew


def _symbol(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """The correlation in the real Fourier basis of a torus: `(H, W//2+1, C_out, C_in)` complex."""
    rows, columns = kernel.shape[2] // 2, kernel.shape[3] // 2
    torus = F.pad(kernel, (0, size[1] - kernel.shape[3], 0, size[0] - kernel.shape[2]))
    centred = torch.roll(torus, (-rows, -columns), (2, 3))
    # Correlating with a real kernel is multiplying by the conjugate of its transform.
    return torch.fft.rfft2(centred).conj().permute(2, 3, 0, 1)


@final
class _TorusSplitting:
    """Peaceman-Rachford splitting whose linear solves are one small matrix for each frequency:
    `V = (I + αM)⁻¹`, `M = I - W` block-diagonal in the Fourier basis, `α = 1/sqrt(m L)`.

    Border masks and activations act between the solves, as `reflect`: `w → 2 prox(w) - w`.
    """

    def __init__(self, P: Tensor, Q: Tensor, size: tuple[int, int], m: float):
        P_hat, Q_hat = _symbol(P, size), _symbol(Q, size)
        identity = torch.eye(P.shape[0], dtype=P_hat.dtype, device=P.device)
        M = m * identity + P_hat.mH @ P_hat - (Q_hat - Q_hat.mH)
        self.alpha = float((m * torch.linalg.matrix_norm(M, 2).max()).rsqrt())
        self._resolvent = torch.linalg.inv(identity + self.alpha * M)
        self._size = size

    def fixpoint(
        self, drive: Tensor, reflect: Callable[[Tensor], Tensor], transposed: bool = False
    ) -> Tensor:
        """The `w` of `w = (2V - I) reflect(w) + 2αV drive`, or with `Vᵀ`; `drive (N, C, H, W)`."""
        V = self._resolvent.mH if transposed else self._resolvent

        def solve(z: Tensor) -> Tensor:
            spectrum = torch.fft.rfft2(z).permute(2, 3, 1, 0)
            return torch.fft.irfft2((V @ spectrum).permute(3, 2, 0, 1), s=self._size)

        shift = 2.0 * self.alpha * solve(drive)

        def step(w: Tensor) -> Tensor:
            reflected = reflect(w)
            return 2.0 * solve(reflected) + shift - reflected

        return _iterate(step, torch.zeros_like(drive))


@torch.library.custom_op("vnn_mondeq::mondeq_conv_factored", mutates_args=())
def mondeq_conv_factored(u: Tensor, P: Tensor, Q: Tensor, mask: Tensor, m: float) -> Tensor:
    """See the module's docstring. `m > 0`, kernels odd and no larger than the image."""
    splitting = _TorusSplitting(P, Q, u.shape[2:], m)
    w = splitting.fixpoint(u, lambda w: 2.0 * mask * torch.relu(w) - w)
    return mask * torch.relu(w)


@mondeq_conv_factored.register_fake
def _(u: Tensor, P: Tensor, Q: Tensor, mask: Tensor, m: float) -> Tensor:
    return torch.empty_like(u)


def _save_convolutional(ctx, inputs, output) -> None:
    _, P, Q, _, m = inputs
    ctx.save_for_backward(P, Q, output)
    ctx.m = m


def _convolutional_backward(ctx, gradient: Tensor):
    P, Q, z = ctx.saved_tensors
    active = (z > 0.0).to(z.dtype)
    signs = 2.0 * active - 1.0
    # The stopping rule is for entries of order one.
    scale = gradient.abs().max().clamp(min=torch.finfo(z.dtype).tiny)
    splitting = _TorusSplitting(P, Q, z.shape[2:], ctx.m)
    y = active * splitting.fixpoint(gradient / scale, lambda w: signs * w, transposed=True) * scale
    with torch.enable_grad():
        P, Q = P.detach().requires_grad_(), Q.detach().requires_grad_()
        value = feedback_convolution(z.detach(), P, Q, ctx.m)
        on_P, on_Q = torch.autograd.grad(value, (P, Q), grad_outputs=y)
    return y, on_P, on_Q, None, None


mondeq_conv_factored.register_autograd(_convolutional_backward, setup_context=_save_convolutional)
