"""The canonical implicit system: types, proof of monotonicity, fixpoints, implicit derivatives."""
