"""The public functions: load a model, load a query, verify; save a proof, load it, check it.

model = load_model("model.onnx")
query = load_query("property.vnnlib")
result = verify(model, query, timeout=60.0)
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded, InputError
from vnn_mondeq.progress import AbstractObserver, NullObserver
from vnn_mondeq.query.query import Query
from vnn_mondeq.result import AbstractCertificate, CheckedCertificate, Reason, Result, Verdict

STRAIGHT_SHARE = 0.3
STRAIGHT_SECONDS = 60.0
"""The part of the time, and the most of it, in which curves are relaxed by lines; the rest is for
knots."""

if TYPE_CHECKING:
    import numpy as np

    from vnn_mondeq.certificate_file import StoredCertificate
    from vnn_mondeq.gate import Gate, Rejection
    from vnn_mondeq.networks import LoadedNorm
    from vnn_mondeq.onnx_io import LoadedModel
    from vnn_mondeq.result import Witness


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


def load_norm(path: str | Path) -> "LoadedNorm":
    """Read the file of a norm network (docs/vnnlib.md).

    **Raises** `ModelError` for any other network.
    """
    from vnn_mondeq.networks import LoadedNorm
    from vnn_mondeq.onnx_io.norm_network import load_norm_network
    from vnn_mondeq.onnx_io.read import read_proto
    from vnn_mondeq.onnx_io.replay import Replay

    network = load_norm_network(path)
    return LoadedNorm(network, Replay(read_proto(Path(path)).SerializeToString()))


def load_networks(
    query: Query, files: Mapping[str, str | Path]
) -> "dict[str, LoadedModel | LoadedNorm]":
    """Read the file of each network of a query, with the hidden tensors that it asks for.

    **Arguments:**

    - `files`: a path for each of `query.networks`; an `equal-to` network takes its twin's.

    A network that is declared as a norm gadget would be, and whose file is one, becomes a
    `LoadedNorm`.

    **Raises** `ModelError` and its kinds, `MismatchError`, `OSError`.
    """
    from vnn_mondeq import onnx_io
    from vnn_mondeq.onnx_io.norm_network import is_norm_network
    from vnn_mondeq.query.norm import may_be_norm

    found: dict[str, LoadedModel | LoadedNorm] = {}
    models: dict[Path, list[str]] = {}
    for name in query.all_networks:
        path = Path(files[query.twins.get(name, name)])
        if may_be_norm(query, name) and is_norm_network(path):
            found[name] = load_norm(path)
        else:
            models.setdefault(path, []).append(name)
    for path, names in models.items():
        nodes = dict.fromkeys(v.node for v in query.variables if v.node and v.network in names)
        found |= dict.fromkeys(names, onnx_io.load(path, tuple(nodes)))
    return found


def verify(
    model: "LoadedModel | Mapping[str, LoadedModel | LoadedNorm]",
    query: Query,
    *,
    norms: "Mapping[str, LoadedNorm] | None" = None,
    timeout: float | None = None,
    backend: str = "auto",
    observer: AbstractObserver | None = None,
) -> Result:
    """Decide whether some input satisfies the query (which describes the *unsafe* region).

    **Arguments:**

    - `model`: the model that the query is about, or all its networks as `load_networks` gives
      them.
    - `norms`: beside one model, the query's norm networks.
    - `timeout`: seconds, counted from this call; `None` for no limit.
    - `backend`: a key of `vnn_mondeq.portfolio.BACKENDS`.
    - `observer`: told what happens; never changes the result.

    **Returns** a `Result`. `SAT` carries a witness that onnxruntime has confirmed, `UNSAT` a
    certificate that independent code has checked, everything else a reason.

    **Raises** `MismatchError` when model and query do not fit each other, `InputError` for an
    unknown backend or a timeout that is negative or not a number.
    """
    from vnn_mondeq.portfolio import BACKENDS, run

    if backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    deadline = deadline_of(timeout)
    gate, bent = _gates(model, query, norms)
    observer, stages = observer or NullObserver(), BACKENDS[backend]
    if bent is None:
        return run(gate.problem, gate, stages, deadline, observer)
    # Lines first: they cost milliseconds, and where they suffice, knots would only be in the way.
    first = deadline.sooner(min(STRAIGHT_SHARE * deadline.remaining(), STRAIGHT_SECONDS))
    result = run(gate.problem, gate, stages, first, observer)
    if result.verdict in (Verdict.SAT, Verdict.UNSAT) or deadline.expired:
        return result
    observer.event("relaxation", grade="knots")
    gate = bent()
    return run(gate.problem, gate, stages, deadline, observer)


def check(
    model: "LoadedModel | Mapping[str, LoadedModel | LoadedNorm]",
    query: Query,
    certificate: AbstractCertificate,
    *,
    norms: "Mapping[str, LoadedNorm] | None" = None,
    timeout: float | None = None,
) -> Result:
    """Check a certificate against a model and a query; no engine runs.

    **Arguments:** as `verify`; `certificate` may come from anywhere, `load_certificate` for one.

    **Returns** `UNSAT` with the certificate where the gate confirms it, `UNKNOWN` with
    `Reason.CERTIFICATE_REFUSED` and what is wrong, or `TIMED_OUT`.

    **Raises** as `verify`.
    """
    import numpy as np

    deadline = deadline_of(timeout)
    gate, bent = _gates(model, query, norms)
    try:
        # Numbers that overflow are refused where they matter; they need no warnings.
        with np.errstate(all="ignore"):
            found = gate.confirm_certificate(certificate, deadline)
            if bent is not None and not isinstance(found, CheckedCertificate):
                # A proof says nothing of the relaxation that it is about; either may be meant.
                found = bent().confirm_certificate(certificate, deadline)
    except DeadlineExceeded:
        return Result(Verdict.TIMED_OUT, Reason.TIMED_OUT)
    except (np.linalg.LinAlgError, MemoryError) as error:
        detail = f"its check failed: {error}"
        return Result(Verdict.UNKNOWN, Reason.CERTIFICATE_REFUSED, detail)
    if isinstance(found, CheckedCertificate):
        return Result(Verdict.UNSAT, certificate=found)
    return Result(Verdict.UNKNOWN, Reason.CERTIFICATE_REFUSED, found.detail)


def confirm_counterexample(
    model: "LoadedModel | Mapping[str, LoadedModel | LoadedNorm]",
    query: Query,
    x: "np.ndarray",
    *,
    norms: "Mapping[str, LoadedNorm] | None" = None,
) -> "Witness | Rejection":
    """Whether an input, from wherever it comes, is a counterexample; no engine runs.

    **Arguments:** as `verify`; `x (d,)`: the query's inputs by their numbers (`Query`).

    **Returns** the `Witness` with the outputs that onnxruntime computes, or a `Rejection` with what
    speaks against it. `x` is rounded to the model's element type and not moved otherwise.

    **Raises** as `verify`, and `InputError` for another number of inputs.
    """
    import numpy as np

    from vnn_mondeq.gate import Rejection

    gate, _ = _gates(model, query, norms)
    if x.shape != (query.input_count,):
        raise InputError(
            f"the counterexample has {x.size} inputs and the query {query.input_count}"
        )
    point = x.astype(gate.element_type)
    if not gate.is_inside(point):
        return Rejection(Reason.WITNESS_REJECTED, "the point lies outside the input set")
    found = gate.confirm_witness(point.astype(np.float64))
    if isinstance(found, Rejection):
        return found
    for variable in query.input_variables:
        there = point[np.array(variable.places, dtype=np.intp)]
        if not np.array_equal(found.inputs[variable.name].reshape(-1), there):
            return Rejection(Reason.WITNESS_REJECTED, "one near it is, this point is not")
    return found


def load_certificate(path: str | Path) -> "StoredCertificate":
    """Read a certificate file (docs/certificates.md). **Raises** `InputError`."""
    from vnn_mondeq import certificate_file

    return certificate_file.load_certificate(path)


def save_certificate(
    path: str | Path,
    checked: CheckedCertificate,
    *,
    query: str | Path,
    networks: Mapping[str, str | Path],
) -> int:
    """Write the proof behind an `UNSAT` result to a file, whole or not at all.

    **Arguments:**

    - `checked`: `Result.certificate`.
    - `query`, `networks`: the files that it is about (network name → model), for their digests.

    **Returns** the size of the file in bytes.

    **Raises** `OutputError`, `InputError` for a query or model file that cannot be read.
    """
    from vnn_mondeq.certificate_file import Subject, certificate_bytes
    from vnn_mondeq.whole_file import write_whole

    data = certificate_bytes(checked, Subject.of(query, networks))
    write_whole(path, data)
    return len(data)


def deadline_of(timeout: float | None) -> Deadline:
    """So many seconds from now; never for `None`. **Raises** `InputError` for a negative or NaN."""
    if timeout is not None and not timeout >= 0.0:
        raise InputError(f"the time limit must not be negative, and {timeout} is")
    return Deadline.after(math.inf if timeout is None else timeout)


def _gates(
    model: "LoadedModel | Mapping[str, LoadedModel | LoadedNorm]",
    query: Query,
    norms: "Mapping[str, LoadedNorm] | None",
) -> "tuple[Gate, Callable[[], Gate] | None]":
    """The gate for a query and its networks, and where these have curves, one for the same problem
    with a closer relaxation of them. **Raises** `MismatchError`."""
    from vnn_mondeq.gate import Gate
    from vnn_mondeq.networks import state

    networks = model if isinstance(model, Mapping) else {query.all_networks[0]: model}
    stated = state(query, {**networks, **(norms or {})})
    common = (stated.element_type, stated.open_runtime, stated.problem_on)
    bent = stated.bent
    return Gate(stated.problem, *common), None if bent is None else lambda: Gate(bent(), *common)
