"""Folders of robustness instances in the layout that VNN-COMP asks of a proposed benchmark."""
