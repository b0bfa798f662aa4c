"""What needs no model: names, versions, `supports`, usage errors; and it all answers at once."""

import resource

import pytest

from vnn_mondeq import __version__
from vnn_mondeq.cli.supports import ALIASES, CAPABILITIES, OPERATORS
from vnn_mondeq.cli.train import MODELS
from vnn_mondeq.cli.verify import BACKENDS

START_UP_SECONDS = 0.3
"""The issue's limit for --name, --version and supports."""


def test_name_and_version_are_exactly_that(cli):
    for argument, expected in (("--name", "vnn-mondeq"), ("--version", __version__)):
        done = cli(argument)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{expected}\n", "")


@pytest.mark.parametrize("command", ["supports", "capabilities"])
@pytest.mark.parametrize("query", [*CAPABILITIES, *ALIASES])
def test_supports_answers_every_query_of_the_standard(cli, command, query):
    done = cli(command, f"--{query}")
    lines = CAPABILITIES[ALIASES.get(query, query)]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == list(lines)


STANDARD_QUERIES = {
    "onnx-opset-versions",
    "onnx-element-types",
    "onnx-operators",
    "vnnlib-versions",
    "hidden-node-theories",
    "multiple-input-output-theories",
    "multiple-network-theories",
    "multiple-node-comparison-theories",
    "arithmetic-complexity-theories",
    "optimised-disjunctive-reasoning",
    "serialise-assignments",
}


def test_the_eleven_queries_of_the_standard_are_there_and_lists_are_closed():
    assert CAPABILITIES.keys() == STANDARD_QUERIES
    chains = {
        "hidden-node-theories": ("NH", "H"),
        "multiple-input-output-theories": ("SIO", "MIO"),
        "multiple-network-theories": ("SNET", "MENET", "MINET", "MNET"),
        "multiple-node-comparison-theories": ("SNC", "MNC"),
        "arithmetic-complexity-theories": ("BND", "OUTC", "LIN", "POLY"),
    }
    for query, chain in chains.items():
        assert CAPABILITIES[query] == chain[: len(CAPABILITIES[query])]
    assert all(" " not in line for lines in CAPABILITIES.values() for line in lines)


def test_static_tables_equal_what_the_rooms_can_do():
    from vnn_mondeq.onnx_io.load import MAX_OPSET, MIN_OPSET
    from vnn_mondeq.onnx_io.operator_table import TABLE
    from vnn_mondeq.portfolio import BACKENDS as STAGES
    from vnn_mondeq.statement import UNITS
    from vnn_mondeq.training.train import PRESETS
    from vnn_mondeq.vnnlib_io.grammar import SUPPORTED_VERSIONS

    assert sorted(OPERATORS) == sorted(name for _, name in TABLE)
    assert CAPABILITIES["onnx-opset-versions"] == (str(MIN_OPSET), str(MAX_OPSET))
    assert CAPABILITIES["onnx-element-types"] == (*UNITS, "real")
    assert CAPABILITIES["vnnlib-versions"][1] == max(SUPPORTED_VERSIONS)
    assert tuple(STAGES) == BACKENDS
    assert tuple(PRESETS) == MODELS


@pytest.mark.parametrize(
    "argv", [["--name"], ["--version"], ["supports", "--onnx-operators"]], ids=" ".join
)
def test_start_up_is_quick(cli, argv):
    # Processor time of the child, the least of several: other processes may hold the cores.
    seconds = []
    for _ in range(5):
        started = processor_seconds_of_children()
        cli(*argv)
        seconds.append(processor_seconds_of_children() - started)
    assert min(seconds) < START_UP_SECONDS


def processor_seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


USAGE_ERRORS = {
    "no command": [],
    "unknown command": ["prove"],
    "supports without a query": ["supports"],
    "two queries": ["supports", "--onnx-operators", "--vnnlib-versions"],
    "no query file": ["verify"],
    "unknown backend": ["verify", "q.vnnlib", "--backend", "magic"],
    "time limit not a number": ["verify", "q.vnnlib", "--timeout", "soon"],
    "negative time limit": ["verify", "q.vnnlib", "--timeout", "-1"],
    "NaN time limit": ["verify", "q.vnnlib", "--timeout", "nan"],
    "network without a path": ["verify", "q.vnnlib", "--network", "f="],
    "abbreviated option": ["verify", "q.vnnlib", "--time", "3"],
    "zero threads": ["verify", "q.vnnlib", "--threads", "0"],
    "network twice": ["verify", "q.vnnlib", "--network", "f=a", "--network", "f=b"],
}


@pytest.mark.parametrize("name", USAGE_ERRORS)
def test_wrong_usage_is_explained_on_stderr_with_exit_code_2(cli, name):
    done = cli(*USAGE_ERRORS[name])
    assert (done.returncode, done.stdout) == (2, "")
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr
