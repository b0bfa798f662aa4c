"""`kill -9` at random moments: every instance must be recorded exactly once, and nothing be lost.

    OPENBLAS_NUM_THREADS=1 python benchmarks/kill_test.py [--kills 20] [--instances 12] \
        [--workers 2] [--scheduler dask://local?workers=2] [--seed 1] [--longest 4.0]

Starts `vnn-mondeq bench` on queries of the digits model, kills it after a time drawn uniformly
from 0 to `--longest` seconds, and starts it again on the same folder; whenever one is complete, a
new one is begun, so that every kill meets a running benchmark. After each kill it checks that

- the records of before are still there, byte by byte, and no run is recorded twice;
- no run of the killed benchmark goes on (Linux; a Dask worker needs some seconds to notice).

At the end the folder is completed, and must hold every run once. Exit code 0 where all held.
"""

import argparse
import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from vnn_mondeq.bench.records import RUNS_FILE, read_results
from vnn_mondeq.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
SPECS = ROOT / "specs" / "digits_fc16" / "1.0"
ORPHAN_SECONDS = {"local": 0.3, "dask": 10.0}
"""How long a run may outlive its benchmark; less than most runs take."""


@dataclass
class Tally:
    """What happened. `whole`: folders that were completed."""

    kills: int = 0
    whole: int = 0
    runs: int = 0
    faults: list[str] = field(default_factory=list)


def write_list(folder: Path, count: int) -> Path:
    """An instance list with absolute paths and `count` rows."""
    rows = list(csv.reader((SPECS / "instances.csv").read_text().splitlines()))[:count]
    path = folder / "instances.csv"
    with path.open("w", newline="") as stream:
        for model, query, seconds in rows:
            csv.writer(stream).writerow(
                ((SPECS / model).resolve(), (SPECS / query).resolve(), seconds)
            )
    return path


def command(listed: Path, results: Path, arguments: argparse.Namespace) -> list[str]:
    where = (
        ["--scheduler", arguments.scheduler]
        if arguments.scheduler
        else ["--workers", str(arguments.workers)]
    )
    verb = [sys.executable, "-m", "vnn_mondeq", "bench", str(listed), "-o", str(results)]
    return [*verb, *where, "-q"]


def lines_on_disk(results: Path) -> bytes:
    """The whole lines of the records."""
    path = results / RUNS_FILE
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1]


def processes_of(place: Path) -> list[int]:
    """Live processes whose command line names `place`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            named = str(place).encode() in (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if named and state != "Z" and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def check_after_kill(
    place: Path, results: Path, before: bytes, patience: float, tally: Tally
) -> bytes:
    now = lines_on_disk(results)
    if not now.startswith(before):
        tally.faults.append(f"kill {tally.kills}: earlier records changed or lost")
    try:
        read_results(results)
    except InputError as error:
        if now or "cannot be read" not in str(
            error
        ):  # killed before the manifest: nothing is there
            tally.faults.append(f"kill {tally.kills}: {error}")
    ends = time.monotonic() + patience
    while processes_of(place) and time.monotonic() < ends:
        time.sleep(0.05)
    left = processes_of(place)
    if left:
        tally.faults.append(f"kill {tally.kills}: processes {left} are left")
    return now


def check_whole(results: Path, count: int, tally: Tally) -> None:
    found = read_results(results)  # refuses a run that is recorded twice
    if len(found.runs) != count:
        tally.faults.append(f"{len(found.runs)} of {count} runs are recorded")
    tally.whole += 1
    tally.runs += len(found.runs)


def torture(place: Path, arguments: argparse.Namespace, tally: Tally) -> None:
    chance = random.Random(arguments.seed)
    patience = ORPHAN_SECONDS["dask" if arguments.scheduler else "local"]
    listed = write_list(place, arguments.instances)
    results, before = place / "results-0", b""
    # The temporary files of runs lie there, and by their names `processes_of` finds the runs.
    environment = {**os.environ, "TMPDIR": str(place)}
    while tally.kills < arguments.kills:
        process = subprocess.Popen(command(listed, results, arguments), cwd=ROOT, env=environment)
        moment = chance.uniform(0.0, arguments.longest)
        try:
            code = process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            tally.kills += 1
            before = check_after_kill(place, results, before, patience, tally)
            count = len(before.splitlines())
            print(f"kill {tally.kills} after {moment:.2f} s: {count} records", flush=True)
            continue
        if code != 0:
            tally.faults.append(f"exit code {code}")
            return
        check_whole(results, arguments.instances, tally)
        results, before = place / f"results-{tally.whole}", b""
    code = subprocess.run(command(listed, results, arguments), cwd=ROOT).returncode
    if code != 0:
        tally.faults.append(f"exit code {code} of the last run")
        return
    check_whole(results, arguments.instances, tally)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--instances", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scheduler")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=4.0, help="seconds")
    arguments = parser.parse_args()
    place, tally = Path(tempfile.mkdtemp(prefix="kill-test-")), Tally()
    torture(place, arguments, tally)
    print(
        f"{tally.kills} kills; {tally.whole} folders completed, {tally.runs} runs recorded, "
        f"{len(tally.faults)} faults"
    )
    for fault in tally.faults:
        print(f"FAULT: {fault}")
    if tally.faults:
        print(f"kept: {place}")
        return 1
    shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
