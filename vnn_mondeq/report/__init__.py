"""Answers for people: pictures of counterexamples, tables and pictures of benchmarks.

Nothing here decides anything; matplotlib and jinja2 are the extras `plot` and `report`.
"""
