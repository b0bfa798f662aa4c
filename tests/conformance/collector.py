"""What the VNNLIB-Solver-Database records about a solver, from the rules of its docs/SCHEMA.md.

Written for these tests, so that a change of ours cannot change the rules with it. Each of the
thirteen questions is one process with its stdin closed and a minute of time. What it prints becomes
a field of the record; whatever does not fit the rules becomes an error, and a record with errors
is "incomplete".
"""

import subprocess
from dataclasses import dataclass, field
from typing import final

THEORIES: dict[str, dict[str, tuple[str, ...]]] = {
    "--hidden-node-theories": {"NH": ("NH",), "H": ("NH", "H")},
    "--multiple-input-output-theories": {"SIO": ("SIO",), "MIO": ("SIO", "MIO")},
    "--multiple-network-theories": {
        "SNET": ("SNET",),
        "MENET": ("MENET",),
        "MINET": ("MENET", "MINET"),
        "MNET": ("SNET", "MENET", "MINET", "MNET"),
    },
    "--multiple-node-comparison-theories": {"SNC": ("SNC",), "MNC": ("SNC", "MNC")},
    "--arithmetic-complexity-theories": {
        "BND": ("BND",),
        "OUTC": ("BND", "OUTC"),
        "LIN": ("BND", "OUTC", "LIN"),
        "POLY": ("BND", "OUTC", "LIN", "POLY"),
    },
}
"""Flag → permitted identifier → the identifiers that a solver satisfies with it."""

LINES = ("--onnx-element-types", "--onnx-operators")
PAIRS = {"--onnx-opset-versions": int, "--vnnlib-versions": str}
BOOLEANS = ("--optimised-disjunctive-reasoning", "--serialise-assignments")

SECONDS = 60
"""Per question."""


@final
@dataclass(slots=True)
class Record:
    """Flag → what was printed, parsed; flag → the theories that follow; everything amiss."""

    capabilities: dict[str, object] = field(default_factory=dict)
    satisfies: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def collect(binary: str, identifier: str, version: str) -> Record:
    """Ask `binary` (a name on the path) everything.

    - `identifier`, `version`: the names of the folders of a submission, which must agree.
    """
    record = Record()
    for flag, expected in (("--name", identifier), ("--version", version)):
        printed = _ask(binary, [flag], record)
        if printed is not None and printed.strip() != expected:
            record.errors.append(f"{flag}: {printed.strip()!r} and not {expected!r}")
    for flag in (*THEORIES, *LINES, *PAIRS, *BOOLEANS):
        printed = _ask(binary, ["supports", flag], record)
        if printed is not None:
            record.capabilities[flag] = _parsed(flag, printed, record)
    return record


def _ask(binary: str, arguments: list[str], record: Record) -> str | None:
    done = subprocess.run(
        [binary, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0 or not done.stdout.strip():
        record.errors.append(f"{arguments}: exit code {done.returncode}, {done.stderr.strip()!r}")
        return None
    if done.stderr:
        record.notes.append(f"{arguments}: on stderr {done.stderr!r}")
    return done.stdout


def _parsed(flag: str, printed: str, record: Record) -> object:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    if flag in THEORIES:
        return _theories(flag, lines, record)
    if flag in PAIRS:
        return _pair(flag, lines, record)
    if flag in BOOLEANS:
        if lines not in (["true"], ["false"]):
            record.errors.append(f"{flag}: {lines}")
        return lines == ["true"]
    # An operator may be followed by its element types, a type by a note.
    return {line.split()[0]: line.split()[1:] for line in lines}


def _theories(flag: str, lines: list[str], record: Record) -> list[str]:
    permitted = THEORIES[flag]
    named = [line.split()[0] for line in lines]
    record.errors += [f"{flag}: {name} is no theory" for name in named if name not in permitted]
    record.notes += [line for line in lines if len(line.split()) > 1]
    satisfied = {item for name in named for item in permitted.get(name, ())}
    everything = dict.fromkeys(item for chain in permitted.values() for item in chain)
    record.satisfies[flag] = [item for item in everything if item in satisfied]
    return named


def _pair(flag: str, lines: list[str], record: Record) -> list[object] | None:
    try:
        pair = [PAIRS[flag](line) for line in lines]
    except ValueError:
        pair = []
    if len(pair) != 2 or pair[0] > pair[1]:
        record.errors.append(f"{flag}: {lines}")
        return None
    return pair
