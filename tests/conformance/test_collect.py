"""`supports` as the Solver-Database collects it, and as a client then filters by it."""

import pytest
from conformance.collector import BOOLEANS, LINES, PAIRS, THEORIES, collect

from vnn_mondeq import __version__
from vnn_mondeq.cli.supports import CAPABILITIES


@pytest.fixture(scope="module")
def record(executable):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{executable.parent}:/usr/bin:/bin")
        return collect("vnn-mondeq", "vnn-mondeq", __version__)


def test_the_record_is_complete(record):
    assert record.errors == []
    assert record.notes == []  # a note after an identifier makes other tools skip their tests
    assert {flag.removeprefix("--") for flag in record.capabilities} == set(CAPABILITIES)


def test_every_theory_that_follows_is_listed(record):
    """Some clients compute the closure and some do not; both must see the same."""
    for flag, satisfied in record.satisfies.items():
        assert record.capabilities[flag] == satisfied


def test_no_question_is_forgotten():
    assert len({*THEORIES, *LINES, *PAIRS, *BOOLEANS}) == 11


def test_operators_are_single_words_without_types(record):
    operators = record.capabilities["--onnx-operators"]
    assert all(types == [] for types in operators.values())
    assert {"MonDEQ", "Gemm", "Relu"} <= operators.keys()


@pytest.mark.parametrize(
    ("line", "answer", "error"),
    [
        ("supports --multiple-network-theories", "SNET\\nTWONET", "TWONET is no theory"),
        ("supports --serialise-assignments", "True", "--serialise-assignments"),
        ("supports --onnx-opset-versions", "25\\n13", "--onnx-opset-versions"),
        ("--version", "0", "and not"),
        ("supports --vnnlib-versions", "", "exit code 0"),
    ],
)
def test_the_collector_finds_a_wrong_answer(tmp_path, line, answer, error):
    right = {f"supports --{flag}": "\\n".join(lines) for flag, lines in CAPABILITIES.items()}
    right |= {"--name": "vnn-mondeq", "--version": __version__}
    cases = [
        f'"{asked}") printf "{said}\\n" ;;' for asked, said in (right | {line: answer}).items()
    ]
    fake = tmp_path / "fake"
    fake.write_text("\n".join(["#!/bin/sh", 'case "$*" in', *cases, "esac", ""]))
    fake.chmod(0o755)
    (found,) = collect(str(fake), "vnn-mondeq", __version__).errors
    assert error in found
