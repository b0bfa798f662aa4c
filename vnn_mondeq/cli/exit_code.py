"""The exit codes of `vnn-mondeq` (the VNN-LIB standard defines none).

An answer, whichever of the four, is success: competition harnesses discard the result of a
process that fails.
"""

OK = 0
"""A verdict was printed (sat, unsat, unknown or timed-out), or the command did its work."""

REFUSED = 1
"""`check` printed `unknown` or `timed-out`: the certificate was not confirmed. `show witness`
did not confirm the counterexample that it drew. `doctor` found something that does not work. A run
of `bench` crashed or was refused. `bench-compare` found something worse than before."""

BAD_INPUT = 2
"""Wrong usage, or a file or query that cannot be used. Nothing was written to stdout."""

CANNOT_WRITE = 3
"""The result could not be written where it should go."""

CONTRADICTION = 4
"""`bench` or `bench-compare` saw one instance that is both sat and unsat: one of them is wrong."""

INTERNAL = 70
"""A defect of this program (EX_SOFTWARE of sysexits.h). Please report it."""

INTERRUPTED = 130
"""Ctrl-C."""
