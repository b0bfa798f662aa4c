"""`vnn-mondeq bench-compare`: is the new benchmark worse than the old one?"""

import argparse
import math
from typing import TYPE_CHECKING

from vnn_mondeq.cli import exit_code
from vnn_mondeq.cli.bench_console import print_contradictions

if TYPE_CHECKING:
    from vnn_mondeq.bench.compare import Change, Comparison, Judgement
    from vnn_mondeq.bench.records import RunRecord

_MEASURES = {"engines": "engines, CPU", "cpu": "whole run, CPU", "wall": "whole run, wall"}
"""What `--time` may say → key of `vnn_mondeq.bench.compare.MEASURES`."""

_SHOWN = 20
"""Lines of a list, without `-v`."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", help="a folder of results")
    parser.add_argument("new", metavar="NEW", help="the folder to compare with it")
    parser.add_argument(
        "--time",
        choices=_MEASURES,
        default="engines",
        help="which time is judged: CPU of the engines, CPU or wall clock of the whole run",
    )
    parser.add_argument(
        "--tolerance",
        type=_share,
        default=0.15,
        metavar="T",
        help="a median ratio up to 1 + T is not a slowdown (0.15)",
    )


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 0.15")
    return value


def run(arguments: argparse.Namespace) -> int:
    from vnn_mondeq.bench.compare import Judgement, compare
    from vnn_mondeq.bench.records import read_results

    judgement = Judgement(measure=_MEASURES[arguments.time], tolerance=arguments.tolerance)
    old, new = read_results(arguments.old), read_results(arguments.new)
    for name, results in ((arguments.old, old), (arguments.new, new)):
        if not results.complete:
            print(f"note: {name} is not finished: {len(results.runs)} of {results.manifest.runs}")
    found = compare(old, new, judgement)
    _print_changes(found, math.inf if arguments.verbose else _SHOWN)
    _print_times(found, judgement)
    print_contradictions(found.contradictions)
    if found.contradictions:
        return exit_code.CONTRADICTION
    print("worse" if found.worse else "not worse")
    return exit_code.REFUSED if found.worse else exit_code.OK


def _print_changes(found: "Comparison", most: float) -> None:
    for line in found.differences:
        print(f"differs: {line}")
    lists = {
        "lost": [_verdicts(change) for change in found.lost],
        "gained": [_verdicts(change) for change in found.gained],
        "missing in NEW": [f"{run.instance}, {run.backend}" for run in found.missing],
        "not comparable, other files or limits": [_verdicts(change) for change in found.altered],
        "slower by itself": [_seconds(change) for change in found.slower],
    }
    for title, lines in lists.items():
        if lines:
            print(f"{title}: {len(lines)}")
        for index, line in enumerate(lines):
            if index >= most:
                print("  … (-v shows all)")
                break
            print(f"  {line}")


def _word(run: "RunRecord") -> str:
    return run.verdict.value if run.verdict is not None else run.ending.value


def _verdicts(change: "Change") -> str:
    return (
        f"{change.new.instance}, {change.new.backend}: {_word(change.old)} in "
        f"{change.old.seconds:.2f} s, now {_word(change.new)} after {change.new.seconds:.2f} s"
    )


def _seconds(change: "Change") -> str:
    return (
        f"{change.new.instance}, {change.new.backend}: {change.old.cpu_seconds:.2f} s of CPU, now "
        f"{change.new.cpu_seconds:.2f} s"
    )


def _print_times(found: "Comparison", judgement: "Judgement") -> None:
    print(f"time, NEW by OLD: median over pairs [{judgement.confidence:.0%} interval]")
    for ratio in found.ratios:
        if math.isnan(ratio.median):
            shown = f"too few pairs ({ratio.pairs})"
        else:
            shown = (
                f"{ratio.median:.3f} [{ratio.lower:.3f}, {ratio.upper:.3f}] of {ratio.pairs} pairs"
            )
        print(f"  {ratio.measure:<16}{shown}")
    if not found.timed:
        print("  the machines differ: times are shown, not judged")
    elif found.slow_measure is not None:
        print(f"  slower: {found.slow_measure.measure}, more than {judgement.tolerance:.0%}")
