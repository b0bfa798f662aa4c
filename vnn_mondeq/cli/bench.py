"""`vnn-mondeq bench`: a list of instances, each run in a process of its own, all recorded."""

import argparse
import math
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vnn_mondeq.cli import exit_code
from vnn_mondeq.cli.bench_console import (
    bench_observing,
    print_contradictions,
    print_failures,
    print_summary,
)
from vnn_mondeq.cli.verify import BACKENDS, parse_seconds

if TYPE_CHECKING:
    from vnn_mondeq.bench.manifest import Settings
    from vnn_mondeq.bench.records import Results
    from vnn_mondeq.bench.scheduler import AbstractScheduler

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instances", metavar="INSTANCES.csv", help="onnx,vnnlib,timeout[,expected]")
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="results; made, or gone on with"
    )
    parser.add_argument(
        "--backend",
        dest="backends",
        type=parse_backends,
        default=("auto",),
        metavar="B[,B…]",
        help=f"of {', '.join(BACKENDS)} (default: auto)",
    )
    parser.add_argument(
        "--timeout", type=_positive_seconds, metavar="SECONDS", help="instead of the list's own"
    )
    parser.add_argument(
        "--grace", type=parse_seconds, default=5.0, metavar="SECONDS", help="to the kill (5)"
    )
    parser.add_argument(
        "--memory", type=parse_memory, metavar="SIZE", help="address space of a run: 4G, 900M"
    )
    for name, default, least, meaning in (
        ("workers", 1, 1, "runs at a time on this machine"),
        ("repeats", 1, 1, "runs of each instance and backend"),
        ("retries", 1, 0, "how often a run that crashed is started again"),
    ):
        parser.add_argument(
            f"--{name}",
            type=_at_least(least),
            default=default,
            metavar="N",
            help=f"{meaning} ({default})",
        )
    parser.add_argument(
        "--expected", metavar="FILE.csv", help="table with a column 'verdict' to compare with"
    )
    parser.add_argument(
        "--scheduler", metavar="dask://…", help="a Dask cluster: HOST:PORT, or local?workers=N"
    )


def parse_backends(text: str) -> tuple[str, ...]:
    """`auto,craft`, each at most once."""
    names = tuple(text.split(","))
    for name in names:
        if name not in BACKENDS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(BACKENDS)}")
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} names a backend twice")
    return names


def parse_memory(text: str) -> int:
    """`900M`: bytes, in powers of 1024. A unit must be given."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT])(?:i?B)?", text)
    if found is None or float(found[1]) == 0.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 900M or 4G")
    return int(float(found[1]) * _UNITS[found[2]])


def _positive_seconds(text: str) -> float:
    value = parse_seconds(text)
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def _at_least(least: int):
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
        return int(text)

    return parse


def run(arguments: argparse.Namespace) -> int:
    from vnn_mondeq.bench.campaign import run_campaign
    from vnn_mondeq.bench.instances import read_instances

    listed = read_instances(arguments.instances, arguments.expected)
    folder = Path(arguments.output)
    scheduler = _scheduler(arguments)
    try:
        with (
            _terminated_as_interrupted(),
            bench_observing(arguments.verbose, arguments.quiet, arguments.started) as observer,
        ):
            results = run_campaign(listed, _settings(arguments), scheduler, folder, observer)
    except KeyboardInterrupt:
        print(
            "vnn-mondeq: interrupted; every run that ended is recorded, and the same command goes "
            f"on from there ({folder})",
            file=sys.stderr,
        )
        return exit_code.INTERRUPTED
    print_summary(results, arguments.output)
    return _report(results, arguments.quiet)


def _settings(arguments: argparse.Namespace) -> "Settings":
    from vnn_mondeq.bench.manifest import LOCAL, Settings

    remote = arguments.scheduler is not None
    return Settings(
        backends=arguments.backends,
        timeout=arguments.timeout,
        grace=arguments.grace,
        memory=arguments.memory,
        threads=arguments.threads or 1,
        repeats=arguments.repeats,
        retries=arguments.retries,
        workers=0 if remote else arguments.workers,
        scheduler="dask" if remote else LOCAL,
    )


def _scheduler(arguments: argparse.Namespace) -> "AbstractScheduler":
    if arguments.scheduler is None:
        from vnn_mondeq.bench.scheduler import LocalScheduler

        return LocalScheduler(arguments.workers)
    from vnn_mondeq.bench.dask_scheduler import DaskScheduler

    return DaskScheduler(arguments.scheduler)


def _report(results: "Results", quiet: bool) -> int:
    from vnn_mondeq.bench.summary import contradictions, failures

    failed = failures(results.runs)
    if not quiet:
        print_failures(failed)
    contradicting = contradictions(("", results.runs))
    print_contradictions(contradicting)
    if contradicting:
        return exit_code.CONTRADICTION
    return exit_code.REFUSED if failed else exit_code.OK


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Batch systems send SIGTERM before they kill; it ends a benchmark as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
