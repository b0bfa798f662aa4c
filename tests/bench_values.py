"""Records of runs as values, for tests that need no process."""

from vnn_mondeq.bench.records import Ending, HashedFile, RunRecord
from vnn_mondeq.result import Verdict


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
