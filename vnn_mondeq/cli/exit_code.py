"""The exit codes of `vnn-mondeq` (the VNN-LIB standard defines none).

An answer, whichever of the four, is success: competition harnesses discard the result of a
process that fails.
"""

OK = 0
"""A verdict was printed (sat, unsat, unknown or timed-out), or the command did its work."""

REFUSED = 1
"""`check` printed `unknown` or `timed-out`: the certificate was not confirmed. `show witness`
did not confirm the counterexample that it drew. `doctor` found something that does not work."""

BAD_INPUT = 2
"""Wrong usage, or a file or query that cannot be used. Nothing was written to stdout."""

CANNOT_WRITE = 3
"""The result could not be written where it should go."""

INTERNAL = 70
"""A defect of this program (EX_SOFTWARE of sysexits.h). Please report it."""

INTERRUPTED = 130
"""Ctrl-C."""
