"""A closed-form Lipschitz bound from the proof of strong monotonicity."""

from vnn_mondeq.rounding import SAFETY
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.monotone import spectral_norm_upper_bound


def lipschitz_bound(system: ImplicitSystem) -> float:
    """An upper bound on the L2 Lipschitz constant of `x -> y` on all of `R^d`.

    For two inputs, strong monotonicity gives `‖z - z'‖ <= ‖U (x - x')‖ / m` (Pabbaraju, Winston
    & Kolter, "Estimating Lipschitz constants of monotone deep equilibrium models", ICLR 2021), so
    `‖G‖ ‖U‖ / m + ‖H‖` bounds `y = G z + H x + g`.

    For the stored float64 coefficients; usually far from tight.
    """
    output = system.output.coefficients
    through = spectral_norm_upper_bound(output.on_z) * spectral_norm_upper_bound(system.U)
    direct = spectral_norm_upper_bound(output.on_x)
    return (through / system.proof.modulus + direct) * SAFETY
