"""What `vnn-mondeq bench` adds to an instance, and what a second worker gains.

    OPENBLAS_NUM_THREADS=1 python benchmarks/bench_overhead.py [--instances 12] [--rounds 5]

Each round runs the same instances of the digits model three times, in an order that changes from
round to round: by hand (`vnn-mondeq verify`, one process after the other), with `bench --workers
1`, and with `--workers 2`; and `bench` once more on a folder that is complete, which is what a
benchmark costs however long its list is. Wall clock and CPU seconds (of all processes, the harness
included) are printed for each, then medians over the rounds of the paired differences and ratios:
other load on the machine meets the parts of a round alike, and CPU seconds hardly feel it.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kill_test import SPECS, write_list

from vnn_mondeq.bench.instances import InstanceList, find_file, read_instances


def by_hand(listed: InstanceList, _: Path) -> None:
    for instance in listed.instances:
        (network,) = instance.networks
        _run("verify", find_file(SPECS, instance.query.path), "--network", network.path)


def with_workers(count: int) -> Callable[[InstanceList, Path], None]:
    def run(listed: InstanceList, place: Path) -> None:
        _run("bench", listed.name, "-o", place / "results", "--workers", count)

    return run


WAYS = {"by hand": by_hand, "1 worker": with_workers(1), "2 workers": with_workers(2)}
NOTHING_LEFT = "complete"


def _run(*arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "vnn_mondeq", *map(str, arguments)],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )


def measure(
    way: Callable[[InstanceList, Path], None], listed: InstanceList, place: Path
) -> tuple[float, float]:
    """Wall clock and CPU seconds of all instances."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    way(listed, place)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def one_round(turn: int, listed: InstanceList) -> dict[str, tuple[float, float]]:
    names = list(WAYS)
    taken = {}
    for name in names[turn % 3 :] + names[: turn % 3]:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            taken[name] = measure(WAYS[name], listed, place)
            if name == "1 worker":
                taken[NOTHING_LEFT] = measure(WAYS[name], listed, place)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        listed = read_instances(write_list(Path(folder), arguments.instances))
        for turn in range(arguments.rounds):
            rounds.append(one_round(turn, listed))
            shown = "; ".join(
                f"{name} {wall:.2f} s, {cpu:.2f} s of CPU"
                for name, (wall, cpu) in rounds[-1].items()
            )
            print(f"load {os.getloadavg()[0]:.1f}: {shown}", flush=True)
    report(rounds, arguments.instances)


def report(rounds: list[dict[str, tuple[float, float]]], count: int) -> None:
    for index, clock in enumerate(("wall clock", "CPU")):
        extra = [
            1e3 * (r["1 worker"][index] - r[NOTHING_LEFT][index] - r["by hand"][index]) / count
            for r in rounds
        ]
        once = [1e3 * r[NOTHING_LEFT][index] for r in rounds]
        print(f"overhead an instance, {clock}: {_spread(extra, 0)} ms")
        print(f"overhead a benchmark, {clock}: {_spread(once, 0)} ms")
    for index, what in enumerate(("speed-up of two workers", "CPU seconds, one by two workers")):
        ratios = [r["1 worker"][index] / r["2 workers"][index] for r in rounds]
        print(f"{what}: {_spread(ratios, 2)}")


def _spread(values: list[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"median {statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
