"""Bounds on the fixpoint that need no iteration to be trusted: inductive boxes, dual multipliers.

Letters of this room: `p` neurons, `d` inputs; `M = I - W`; `z` the fixpoint, `v = Wz + Ux + b` its
pre-activation, `s = z - v = Mz - Ux - b` its slack. A fixpoint is a solution of `z >= 0, s >= 0,
z_i s_i = 0`. A *box* `(Z, S)` is the claim `z <= Z, s <= S`; under it each neuron lives in the
triangle `z_i / Z_i + s_i / S_i <= 1`.
"""
