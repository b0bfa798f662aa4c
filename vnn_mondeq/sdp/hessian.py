"""The Hessian of a `ShorDual`, in blocks, assembled whole."""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.sdp.set_constraints import SetConstraints


@final
@dataclass(frozen=True, slots=True, eq=False)
class HessianBlocks:
    """Gram matrices of the inverse quadratic part in the directions that the constraints use.

    `zz, za, aa (k, k)`, `xz, xa (n, k)`: between `ẑ_i` (z), the gradient of `ŝ_i` (a), `ξ_j` (x).
    `own (n, k)`: `X⁻¹Bᵀ`; `coupled (n, n)`: input block of the inverse less `inverse = X⁻¹`.
    `z, s, x`: values at the stationary point.
    """

    zz: np.ndarray
    za: np.ndarray
    aa: np.ndarray
    xz: np.ndarray
    xa: np.ndarray
    own: np.ndarray
    coupled: np.ndarray
    inverse: np.ndarray
    Q: np.ndarray
    z: np.ndarray
    s: np.ndarray
    x: np.ndarray
    tau: float

    def assemble(self) -> np.ndarray:
        """The Hessian in `(σ, t, ρ, ν)`, without the logarithms of the multipliers."""
        n, k = self.xz.shape
        inputs, t, rho, nu = (
            slice(0, n),
            slice(n, n + k),
            slice(n + k, n + 2 * k),
            slice(n + 2 * k, n + 3 * k),
        )
        zz, za, aa, xz, xa, tau = self.zz, self.za, self.aa, self.xz, self.xa, self.tau
        z, s = self.z, self.s
        mid_z, mid_s, x = z - 0.5, s - 0.5, self.x[:, None]
        H = np.empty((n + 3 * k, n + 3 * k))
        # log det of the whole minus log det X, and twice tau times the Gram of the residuals
        H[inputs, inputs] = self.coupled * (self.coupled + 2.0 * self.inverse)
        H[inputs, inputs] += 2.0 * tau * (x * self.x) * (self.coupled + self.inverse)
        H[inputs, t] = xz * xa + tau * x * (xz * s + xa * z)
        H[inputs, rho] = xz * xz + 2.0 * tau * x * xz * mid_z
        H[inputs, nu] = xa * xa - self.own * self.own + 2.0 * tau * x * xa * mid_s
        H[t, t] = 0.5 * (zz * aa + za * za.T) + 0.5 * tau * (
            zz * np.outer(s, s) + za * np.outer(s, z) + za.T * np.outer(z, s) + aa * np.outer(z, z)
        )
        H[t, rho] = zz * za.T + tau * (zz * s[:, None] + za.T * z[:, None]) * mid_z
        H[t, nu] = za * aa + tau * (za * s[:, None] + aa * z[:, None]) * mid_s
        H[rho, rho] = zz * zz + 2.0 * tau * zz * np.outer(mid_z, mid_z)
        H[rho, nu] = za * za + 2.0 * tau * za * np.outer(mid_z, mid_s)
        H[nu, nu] = aa * aa - self.Q * self.Q + 2.0 * tau * aa * np.outer(mid_s, mid_s)
        for row, column in ((t, inputs), (rho, inputs), (nu, inputs), (rho, t), (nu, t), (nu, rho)):
            H[row, column] = H[column, row].T
        return H

    def bordered(self, hessian: np.ndarray, beyond: SetConstraints) -> np.ndarray:
        """The Hessian with the rows of `δ` below: their forms are combinations of those of `σ`,
        except for the linear parts, which only the residuals see."""
        tau, x = self.tau, self.x
        s, z = self.s, self.z
        tilt = beyond.curve * x - 0.5 * beyond.linear
        whole = self.coupled + self.inverse
        straight = self.coupled * (self.coupled + 2.0 * self.inverse)
        curved = [
            straight,
            self.xz * self.xa,
            self.xz * self.xz,
            self.xa * self.xa - self.own * self.own,
        ]
        pulled = [
            2.0 * tau * whole * x,
            tau * (self.xz * s + self.xa * z),
            2.0 * tau * self.xz * (z - 0.5),
            2.0 * tau * self.xa * (s - 0.5),
        ]
        rows = np.hstack([beyond.curve @ a + tilt @ b for a, b in zip(curved, pulled, strict=True)])
        corner = beyond.curve @ straight @ beyond.curve.T + 2.0 * tau * tilt @ whole @ tilt.T
        return np.block([[hessian, rows.T], [rows, corner]])
