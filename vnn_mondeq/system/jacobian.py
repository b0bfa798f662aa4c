"""Exact derivatives of the fixpoint with respect to the input.

Letters: `p` neurons, `d` inputs, `N` samples, `k` rows for each sample; `D = diag(v > 0)`.

Where no pre-activation is zero, `z(x)` is differentiable with `dz = D(W dz + U dx)`, so

    dz       = (I - DW)^-1 D U dx                                     (Jacobian-vector product)
    c · dz   = l · U dx,      l = D (I - WᵀD)^-1 c = D(c + Wᵀ l)      (vector-Jacobian product)

(Bai et al. 2019; Winston & Kolter 2020, theorem 2.) Both matrices are non-singular because every
principal sub-matrix of a strongly monotone `I - W` is. Where a pre-activation is zero the result is
one element of the Clarke Jacobian's defining set, no more.

These are direct solves, accurate to rounding. Searches that need many cheap, slightly inexact
adjoints use `vnn_mondeq.system.splitting.iterate_adjoint`.
"""

import numpy as np

from vnn_mondeq.system.implicit import ImplicitSystem

_CHUNK_ENTRIES = 4_000_000
"""Matrix entries held at once by the batched solves (32 MB)."""


def find_active(system: ImplicitSystem, z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The sign pattern `(N, p)`: which pre-activations are positive at `z (N, p)`, `x (N, d)`."""
    return system.preactivation(z, x) > 0.0


def adjoint_multipliers(system: ImplicitSystem, active: np.ndarray, on_z: np.ndarray) -> np.ndarray:
    """`l = D(c + Wᵀ l)` for costs `c` of shape `(N, k, p)` (or `(k, p)`, the same for all).

    `active (N, p)` boolean. Returns `(N, k, p)`; the gradient of `c · z` in `x` is `l @ U`.
    """
    samples, p = active.shape
    costs = np.broadcast_to(on_z, (samples, *on_z.shape[-2:]))
    result = np.empty((samples, costs.shape[1], p))
    for part in _chunks(samples, p):
        mask = active[part].astype(np.float64)
        # (WᵀD)_ij = W_ji D_j.
        matrix = np.eye(p) - system.W.T[None] * mask[:, None, :]
        solution = np.linalg.solve(matrix, np.swapaxes(costs[part], 1, 2))
        result[part] = np.swapaxes(solution * mask[:, :, None], 1, 2)
    return result


def vector_jacobian(
    system: ImplicitSystem, active: np.ndarray, on_z: np.ndarray, on_x: np.ndarray | None = None
) -> np.ndarray:
    """Gradients `(N, k, d)` of `on_z · z(x) + on_x · x` at patterns `active (N, p)`.

    `on_z`: `(N, k, p)` or `(k, p)`; `on_x`: `(N, k, d)`, `(k, d)` or none.
    """
    gradient = adjoint_multipliers(system, active, on_z) @ system.U
    return gradient if on_x is None else gradient + on_x


def jacobian_vector(system: ImplicitSystem, active: np.ndarray, dx: np.ndarray) -> np.ndarray:
    """Directional derivatives `dz (N, p)` of the fixpoint along `dx (N, d)`."""
    samples, p = active.shape
    drive = np.where(active, dx @ system.U.T, 0.0)
    result = np.empty((samples, p))
    for part in _chunks(samples, p):
        mask = active[part].astype(np.float64)
        matrix = np.eye(p) - mask[:, :, None] * system.W[None]
        result[part] = np.linalg.solve(matrix, drive[part][:, :, None])[:, :, 0]
    return result


def _chunks(samples: int, neurons: int) -> list[slice]:
    step = max(1, _CHUNK_ENTRIES // max(1, neurons * neurons))
    return [slice(start, start + step) for start in range(0, samples, step)]
