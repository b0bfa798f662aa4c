"""Properties: input sets, linear constraints, cases."""
