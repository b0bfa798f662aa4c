"""Records of runs as values, and documented commands as processes."""

import os
import subprocess
import sys
from pathlib import Path

from vnn_mondeq.bench.records import Ending, HashedFile, RunRecord
from vnn_mondeq.result import Verdict

ROOT = Path(__file__).resolve().parents[1]


def run_record(instance="net:query", verdict=Verdict.UNSAT, **changes) -> RunRecord:
    """A record of a run that answered."""
    values = {
        "networks": (HashedFile("onnx/net.onnx", "00", "f"),),
        "query": HashedFile("vnnlib/query.vnnlib.gz", "11"),
        "backend": "auto",
        "timeout": 10.0,
        "ending": Ending.ANSWERED,
        "engine": "inductive",
        "exit_code": 0,
        "seconds": 1.0,
        "cpu_seconds": 0.9,
        "startup_seconds": 0.5,
        "peak_bytes": 10**8,
        "statistics": {"0.inductive.seconds": 0.1},
    }
    return RunRecord(instance=instance, verdict=verdict, **{**values, **changes})


def run_documented(line: str, place: Path) -> subprocess.CompletedProcess:
    """Run a line `vnn-mondeq …` of a document in the folder `place`."""
    assert line.startswith("vnn-mondeq ")
    return subprocess.run(
        [sys.executable, "-m", *line.replace("vnn-mondeq", "vnn_mondeq", 1).split()],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
