"""`vnn-mondeq verify`: the command of VNN-LIB 2.0. Only the answer goes to stdout."""

import argparse
import math
import sys

from vnn_mondeq.cli import exit_code
from vnn_mondeq.cli.answer_json import answer_json, timed_out_json
from vnn_mondeq.cli.answer_record import EngineClock, write_answer
from vnn_mondeq.cli.assignment import format_assignment, prepare_folder, serialise_assignment
from vnn_mondeq.cli.backstop import Backstop
from vnn_mondeq.cli.console import observing
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.files import ANY_NETWORK, assign_files, decide
from vnn_mondeq.result import Verdict
from vnn_mondeq.whole_file import check_writable

BACKENDS = (
    "auto",
    "inductive",
    "sdp",
    "pairs",
    "lipschitz",
    "search",
    "split",
    "ellipsoid",
    "craft",
    "attack",
)
"""Kept equal to `vnn_mondeq.portfolio.BACKENDS` by a test; importing it would load numpy."""

_ANSWER_SECONDS = 0.25
"""How long before the time limit the backstop steps in (a tenth of shorter limits), so that the
answer is out and the process gone in time; a driver may count both."""


def add_network(parser: argparse.ArgumentParser) -> None:
    """The option of all commands that read a query with its models."""
    parser.add_argument(
        "--network",
        action="append",
        default=[],
        type=parse_network,
        metavar="NAME=MODEL.onnx",
        help="the model file of a declared network; once for each",
    )


def add_network_and_timeout(parser: argparse.ArgumentParser) -> None:
    """The options that `verify` and `check` share."""
    add_network(parser)
    parser.add_argument(
        "--timeout", type=parse_seconds, default=math.inf, metavar="SECONDS", help="time limit"
    )


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", metavar="QUERY.vnnlib", help="VNN-LIB 1.0 or 2.x, may be .gz")
    add_network_and_timeout(parser)
    parser.add_argument(
        "--serialise-assignments",
        "--assignments",
        dest="folder",
        metavar="FOLDER",
        help="write a counterexample as FOLDER/VARIABLE.pb instead of to stdout",
    )
    parser.add_argument(
        "--certificate",
        metavar="FILE",
        help="after unsat, write the checked proof to FILE (see check)",
    )
    parser.add_argument(
        "--json", action="store_true", help="answer with one JSON object (docs/plugins.md)"
    )
    parser.add_argument(
        "--backend", choices=BACKENDS, default="auto", help="which engines to use (default: auto)"
    )
    parser.add_argument(
        "--record", metavar="FILE", help="write how the answer came about to FILE, as JSON"
    )


def parse_network(text: str) -> tuple[str, str]:
    """`NAME=PATH`, or a bare path for the only network."""
    name, separator, path = text.partition("=")
    if not separator:
        return ANY_NETWORK, text
    if not name or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=MODEL.onnx")
    return name, path


def parse_seconds(text: str) -> float:
    """A number of seconds, at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds (0 or more)")
    return value


def unique(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Name → path. **Raises** `InputError` for a name given twice."""
    from vnn_mondeq.errors import InputError

    names = [name for name, _ in pairs]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        shown = ", ".join(sorted(twice)) or "the network without a name"
        raise InputError(f"--network is given more than once for {shown}")
    return dict(pairs)


def run(arguments: argparse.Namespace) -> int:
    files = unique(arguments.network)
    folder = None if arguments.folder is None else prepare_folder(arguments.folder)
    for path in (arguments.certificate, arguments.record):
        if path is not None:
            check_writable(path)
    if arguments.timeout == 0.0:
        return _say_timed_out(arguments, files)
    limit = Deadline(arguments.started + arguments.timeout)
    stop = Deadline(limit.at - min(_ANSWER_SECONDS, 0.1 * arguments.timeout))
    backstop = Backstop(stop, lambda: _say_timed_out(arguments, files))
    with backstop:
        with observing(arguments.verbose, arguments.quiet, arguments.started) as observer:
            clock = EngineClock(observer)
            query, result = decide(arguments.query, files, arguments.backend, limit, clock)
        backstop.claim()
        if result.witness is not None and folder is not None:
            serialise_assignment(query, result.witness, folder)
        if arguments.json:
            named = assign_files(query, files)
            text = answer_json(arguments.query, named, arguments.started, result, query)
        elif result.witness is not None and folder is None:
            text = f"{result.verdict.value}\n{format_assignment(query, result.witness)}"
        else:
            text = result.verdict.value
        _say(text)
    if arguments.record is not None:
        write_answer(arguments.record, result, clock)
    if arguments.certificate is not None and result.certificate is not None:
        # After the answer: a proof that cannot be written must not cost the verdict.
        _save(arguments, assign_files(query, files), result.certificate)
    report(result, arguments.quiet, arguments.verbose)
    return exit_code.OK


def _save(arguments: argparse.Namespace, files: dict[str, str], checked) -> None:
    """**Raises** `OutputError`."""
    from vnn_mondeq import api

    path = arguments.certificate
    size = api.save_certificate(path, checked, query=arguments.query, networks=files)
    if arguments.verbose and not arguments.quiet:
        print(f"certificate: {path}, {size} bytes", file=sys.stderr)


def _say_timed_out(arguments: argparse.Namespace, files: dict[str, str]) -> int:
    _say(
        timed_out_json(arguments.query, files, arguments.started)
        if arguments.json
        else Verdict.TIMED_OUT.value
    )
    return exit_code.OK


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def report(result, quiet: bool, verbose: int) -> None:
    """Why there is no verdict, or what stands behind it, on stderr."""
    from vnn_mondeq.result import Reason

    if quiet:
        return
    if result.reason is not Reason.NONE:
        detail = f" ({result.detail})" if result.detail else ""
        print(f"vnn-mondeq: {result.verdict.value}: {result.reason.value}{detail}", file=sys.stderr)
    if not verbose:
        return
    if result.certificate is not None:
        proof = result.certificate
        print(
            f"proof: {proof.certificate.summary()}; smallest margin {proof.margin:.6g}; "
            f"checked by {proof.checked_by}",
            file=sys.stderr,
        )
    if result.witness is not None:
        print(
            f"counterexample: margin {result.witness.margin:.6g}; "
            f"replayed by {result.witness.replayed_by}",
            file=sys.stderr,
        )
    for name, value in result.statistics.items():
        print(f"{name}: {value:.6g}", file=sys.stderr)
