"""What `vnn-mondeq bench` adds to an instance, and what a second worker gains.

    OPENBLAS_NUM_THREADS=1 python benchmarks/bench_overhead.py [--instances 12] [--rounds 5]

Each round runs the same instances of the digits model three times, in an order that changes from
round to round: by hand (`vnn-mondeq verify`, one process after the other), with `bench --workers
1`, and with `--workers 2`. Wall clock and CPU seconds (of all processes, the harness included) are
printed for each, then medians over the rounds of the paired differences and ratios: other load on
the machine meets the three of a round alike, and CPU seconds hardly feel it.
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


def _run(*arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "vnn_mondeq", *map(str, arguments)],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )


def measure(way: Callable[[InstanceList, Path], None], listed: InstanceList) -> tuple[float, float]:
    """Wall clock and CPU seconds of all instances."""
    with tempfile.TemporaryDirectory() as place:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        way(listed, Path(place))
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as place:
        listed = read_instances(write_list(Path(place), arguments.instances))
        names = list(WAYS)
        for turn in range(arguments.rounds):
            for name in names[turn % 3 :] + names[: turn % 3]:
                taken[name].append(measure(WAYS[name], listed))
                wall, cpu = taken[name][-1]
                print(
                    f"{name:<10} {wall:7.2f} s, {cpu:6.2f} s of CPU, load {os.getloadavg()[0]:.1f}"
                )
    count = arguments.instances
    for index, clock in enumerate(("wall clock", "CPU")):
        extra = [
            1e3 * (bench[index] - hand[index]) / count
            for hand, bench in zip(taken["by hand"], taken["1 worker"], strict=True)
        ]
        print(
            f"overhead an instance, {clock}: median {statistics.median(extra):.0f} ms "
            f"({min(extra):.0f} to {max(extra):.0f})"
        )
    pairs = list(zip(taken["1 worker"], taken["2 workers"], strict=True))
    for index, what in enumerate(("speed-up of two workers", "CPU seconds, one by two workers")):
        ratios = [one[index] / two[index] for one, two in pairs]
        print(
            f"{what}: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to "
            f"{max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
