"""`verify --json`: an answer as one JSON object on stdout, for programs (docs/plugins.md)."""

import json
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vnn_mondeq import __version__

if TYPE_CHECKING:
    from vnn_mondeq.query.query import Query
    from vnn_mondeq.result import Result, Witness

FORMAT = "vnn-mondeq answer 1"
"""Changes when a member changes its meaning or goes; new members may come without."""


def timed_out_json(query: str, networks: Mapping[str, str], started: float) -> str:
    """The answer of the backstop, which knows nothing but the names of the files."""
    from vnn_mondeq.result import Reason, Result, Verdict

    result = Result(Verdict.TIMED_OUT, Reason.TIMED_OUT)
    return answer_json(query, networks, started, result, None)


def answer_json(
    query: str, networks: Mapping[str, str], started: float, result: "Result", read: "Query | None"
) -> str:
    """One line of JSON, without a line end.

    **Arguments:**

    - `query`, `networks`: the names of the files; `read`: what the first of them says.
    - `started`: when the process did, on the monotonic clock.
    """
    proof = result.certificate
    found = None
    if result.witness is not None and read is not None:
        found = _witness(result.witness, read)
    answer = {
        "format": FORMAT,
        "version": __version__,
        "query": query,
        "networks": dict(networks),
        "verdict": result.verdict.value,
        "reason": result.reason.name if result.reason.value else None,
        "message": result.reason.value,
        "detail": result.detail,
        "engine": result.engine,
        "seconds": round(time.monotonic() - started, 3),
        "statistics": {name: _finite(value) for name, value in result.statistics.items()},
        "witness": found,
        "certificate": None
        if proof is None
        else {
            "summary": proof.certificate.summary(),
            "margin": _finite(proof.margin),
            "checked_by": proof.checked_by,
        },
    }
    return json.dumps(answer, allow_nan=False)


def _witness(witness: "Witness", query: "Query") -> dict[str, Any]:
    from vnn_mondeq.cli.assignment import value_of

    variables = [
        {
            "network": variable.network,
            "kind": variable.kind,
            "name": variable.name,
            "type": variable.element_type,
            "shape": list(variable.shape),
            "values": value_of(witness, variable).reshape(-1).tolist(),
        }
        for variable in query.variables
    ]
    return {
        "margin": _finite(witness.margin),
        "replayed_by": witness.replayed_by,
        "variables": variables,
    }


def _finite(value: float) -> float | None:
    """JSON has no infinity: nothing bounds what is `null`."""
    return float(value) if math.isfinite(value) else None
