"""The public functions: load a model, load a query, verify.

model = load_model("model.onnx")
query = load_query("property.vnnlib")
result = verify(model, query, timeout=60.0)
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import InputError
from vnn_mondeq.progress import AbstractObserver, NullObserver
from vnn_mondeq.query.query import Query
from vnn_mondeq.result import Result

if TYPE_CHECKING:
    from vnn_mondeq.onnx_io import LoadedModel


def load_model(path: str | Path) -> "LoadedModel":
    """Read an ONNX file and compile it.

    **Raises** `ModelError` and its kinds, `OSError`.
    """
    from vnn_mondeq import onnx_io

    return onnx_io.load(path)


def load_query(path: str | Path) -> Query:
    """Read a VNN-LIB file, version 1.0 or 2.x, plain or `.gz`.

    **Raises** `QueryError`, `OSError`.
    """
    from vnn_mondeq import vnnlib_io

    return vnnlib_io.load(path)


def verify(
    model: "LoadedModel",
    query: Query,
    *,
    timeout: float | None = None,
    backend: str = "auto",
    observer: AbstractObserver | None = None,
) -> Result:
    """Decide whether some input satisfies the query (which describes the *unsafe* region).

    **Arguments:**

    - `timeout`: seconds, counted from this call; `None` for no limit.
    - `backend`: a key of `vnn_mondeq.portfolio.BACKENDS`.
    - `observer`: told what happens; never changes the result.

    **Returns** a `Result`. `SAT` carries a witness that onnxruntime has confirmed, `UNSAT` a
    certificate that independent code has checked, everything else a reason.

    **Raises** `MismatchError` when model and query do not fit each other, `InputError` for an
    unknown backend or a timeout that is negative or not a number.
    """
    from vnn_mondeq.gate import Gate
    from vnn_mondeq.onnx_io.replay import Replay
    from vnn_mondeq.portfolio import BACKENDS, run
    from vnn_mondeq.statement import build_problem

    if backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    if timeout is not None and not timeout >= 0.0:
        raise InputError(f"the time limit must not be negative, and {timeout} is")
    deadline = Deadline.after(math.inf if timeout is None else timeout)
    problem = build_problem(model.system, query, model.element_type)
    gate = Gate(problem, model.element_type, lambda: Replay(model.model_bytes))
    return run(problem, gate, BACKENDS[backend], deadline, observer or NullObserver())
