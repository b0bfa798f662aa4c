"""Branch and bound over phases: bounds of `sdp/` at the nodes of a tree that `check.py` re-walks.

Letters as in `bounds/`: a fixpoint is `z >= 0, s >= 0, z_i s_i = 0`; fixing neuron `i` *inactive*
means `z_i = 0`, *active* `s_i = 0`, and every fixpoint has one of the two.
"""
