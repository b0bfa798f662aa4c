"""Every tolerance of the test suite, by name and with its reason.

Soundness tests need almost none: a proved bound is compared with an attained value that was
computed in exact rationals, so `bound <= value` must hold without any slack. Tolerances stand
only where the *oracle* is a floating-point solver.
"""

LP_FEASIBILITY = 1e-7
"""HiGHS accepts a point that violates a constraint by this much (its default)."""

ORACLE_RELATIVE = 1e-5
"""The oracle's LP optimum against the truth: feasibility slack times the conditioning that the
drawn systems have (modulus at least 0.02, norms up to 50), relative to `1 + |optimum|`. Cases
that the oracle decides by less than this are not used for verdicts."""

FIXPOINT_FLOAT = 1e-9
"""A float64 fixpoint solver against the exact rational fixpoint, relative to `1 + |z|`, for
systems of modulus >= 0.02 and norm <= 50: condition 2500, times p * 2**-53, and a margin."""

CONTRACTION_REFERENCE = 1e-13
"""Residual to which the tests' own float64 fixpoint iteration is run."""

TIGHTNESS_NORM = 1e-4
"""How far a proved spectral norm or modulus may be from the best value (precision, not
soundness): the documented relative slack of the certified eigenvalue bound, and a margin."""

SUPPORT_TIGHTNESS = 1e-5
"""How far a proved support function may exceed the exact one, relative to the size of its terms
(precision, not soundness): `SAFETY` is 1e-6."""
