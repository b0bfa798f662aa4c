"""`vnn-mondeq check`: one certificate file, one query, its model. Only the answer goes to stdout.

No engine runs and nothing is searched for: the gate's checker reads the certificate, or refuses it.
"""

import argparse
import sys

from vnn_mondeq.cli import exit_code
from vnn_mondeq.cli.backstop import Backstop
from vnn_mondeq.cli.verify import add_network_and_timeout, unique
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.files import load_all

_ANSWER_SECONDS = 0.25


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", metavar="QUERY.vnnlib", help="the query that was proved")
    parser.add_argument("certificate", metavar="CERTIFICATE", help="from verify --certificate")
    add_network_and_timeout(parser)


def run(arguments: argparse.Namespace) -> int:
    limit = Deadline(arguments.started + arguments.timeout)
    stop = Deadline(limit.at - min(_ANSWER_SECONDS, 0.1 * arguments.timeout))
    files = unique(arguments.network)
    with Backstop(stop, _say_timed_out, exit_code.REFUSED) as backstop:
        word, message = _checked(arguments, files, limit)
        backstop.claim()
        sys.stdout.write(f"{word}\n")
    if not arguments.quiet:
        print(f"vnn-mondeq: {word}: {message}", file=sys.stderr)
    return exit_code.OK if word == "unsat" else exit_code.REFUSED


def _checked(
    arguments: argparse.Namespace, files: dict[str, str], limit: Deadline
) -> tuple[str, str]:
    """The answer, and what stands behind it.

    **Raises** `InputError` for files that cannot be used.
    """
    from vnn_mondeq import api
    from vnn_mondeq.certificate_file import Subject
    from vnn_mondeq.result import Verdict

    stored = api.load_certificate(arguments.certificate)
    loaded = load_all(arguments.query, files)
    subject = Subject.of(arguments.query, loaded.files)
    differences = subject.differences(stored.subject)
    if differences:
        return Verdict.UNKNOWN.value, (
            f"the certificate was made for other files: {'; '.join(differences)}"
        )
    timeout = max(0.0, limit.remaining())
    result = api.check(loaded.networks, loaded.query, stored.certificate, timeout=timeout)
    if result.certificate is None:
        detail = f" ({result.detail})" if result.detail else ""
        return result.verdict.value, f"{result.reason.value}{detail}"
    return result.verdict.value, (
        f"smallest margin {result.certificate.margin:.6g}; "
        f"{result.certificate.certificate.summary()}; checked by {result.certificate.checked_by}"
    )


def _say_timed_out() -> None:
    sys.stdout.write("timed-out\n")
    sys.stdout.flush()
