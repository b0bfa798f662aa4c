"""`vnn-mondeq competition`: one VNN-COMP instance, called by run_instance.sh.

The results file is written whole or not at all. Whatever can be decided about an instance is an
answer and exits 0; bad input is answered `unknown`, with the message on stderr, because the
harness has no better word. Only a results file that cannot be written is a failure.
"""

import argparse
import os
import sys

from vnn_mondeq.bench.network_list import parse_networks
from vnn_mondeq.cli import exit_code
from vnn_mondeq.cli.assignment import format_assignment, prepare_folder
from vnn_mondeq.cli.backstop import Backstop, end_with_parent
from vnn_mondeq.cli.console import observing
from vnn_mondeq.cli.verify import parse_seconds, report
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import VnnMondeqError
from vnn_mondeq.files import decide
from vnn_mondeq.whole_file import write_whole

_START_UP_SECONDS = 0.5
"""Part of the time limit kept for the shell script and the start of the interpreter."""

_ANSWER_SECONDS = 0.2
"""How long before the remaining limit the backstop writes `timeout`."""

_WORDS = {"timed-out": "timeout"}
"""VNN-COMP's own word where it differs from the standard's."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("category")
    parser.add_argument("onnx", help="a path, or a Python list of (name, path) pairs")
    parser.add_argument("vnnlib")
    parser.add_argument("results", help="file to write")
    parser.add_argument("timeout", type=parse_seconds, help="seconds")
    parser.add_argument(
        "--parent", type=int, metavar="PID", help="the process that started this one: end with it"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.parent is not None:
        end_with_parent(arguments.parent)
    prepare_folder(os.path.dirname(arguments.results) or ".")
    if arguments.timeout <= _START_UP_SECONDS:
        return _write(arguments.results, "timeout")
    limit = Deadline(arguments.started + arguments.timeout - _START_UP_SECONDS)
    stop = Deadline(limit.at - min(_ANSWER_SECONDS, 0.1 * arguments.timeout))
    with Backstop(stop, lambda: _write(arguments.results, "timeout")) as backstop:
        text = _decided(arguments, limit)
        backstop.claim()
        return _write(arguments.results, text)


def _decided(arguments: argparse.Namespace, limit: Deadline) -> str:
    try:
        files = dict(parse_networks(arguments.onnx))
        with observing(arguments.verbose, arguments.quiet, arguments.started) as observer:
            query, result = decide(arguments.vnnlib, files, "auto", limit, observer)
    except (VnnMondeqError, OSError) as error:
        print(f"vnn-mondeq: error: {error}", file=sys.stderr)
        return "unknown"
    report(result, arguments.quiet, arguments.verbose)
    word = _WORDS.get(result.verdict.value, result.verdict.value)
    if result.witness is None:
        return word
    return f"{word}\n{format_assignment(query, result.witness)}"


def _write(path: str, text: str) -> int:
    write_whole(path, f"{text}\n".encode())
    return exit_code.OK
