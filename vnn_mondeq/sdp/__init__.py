"""Semidefinite models of the fixpoint: bounds on rows, Lipschitz constants, ellipsoids.

The models are those of Chen, Lasserre, Magron and Pauwels (NeurIPS 2021), strengthened by the upper
bounds that `vnn_mondeq.bounds` proves, and solved by their structure.
"""
