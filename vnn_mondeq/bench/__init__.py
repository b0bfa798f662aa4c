"""Runs many instances in processes of their own and keeps one record of each.

It imports nothing of the verifier but the words of an answer (`vnn_mondeq.result`): a defect of an
engine, whatever it does to its process, must not reach the harness.
"""
