"""Two verdicts on a small network, from files to checked answers, on this very machine."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vnn_mondeq.doctor.finding import Finding, State
from vnn_mondeq.errors import VnnMondeqError

if TYPE_CHECKING:
    from vnn_mondeq.onnx_io import LoadedModel
    from vnn_mondeq.query.query import Query

_SECONDS = 30.0
"""Time limit of one verdict; either takes well under a second."""

_QUERIES = {"safe": ("2.0", "0.01"), "unsafe": ("1.0", "10.0")}
"""Name → version of the language and radius around the input. The network has
margin 0.0395 at the input; 0.0276 is proved within the first radius, and the second leaves no doubt
(violation 0.35)."""

_INPUTS, _NEURONS, _CLASSES = 4, 5, 3


class _Failed(Exception):
    """A step that ran but did not give what it must."""


def self_test() -> list[Finding]:
    """Export a network, read it back, prove one query and refute another, and check the proof.

    Stops at the first step that does not do what it must.
    """
    findings: list[Finding] = []
    try:
        with tempfile.TemporaryDirectory(prefix="vnn-mondeq-doctor-") as place:
            folder = Path(place)
            _write_instance(folder)
            findings.append(_ok("a model and two queries written and read"))
            findings.append(_ok(_prove(folder)))
            findings.append(_ok(_refute(folder)))
            findings.append(_ok(_check(folder)))
    except (VnnMondeqError, ImportError, OSError) as error:
        findings.append(Finding(State.WRONG, "self-test", f"{type(error).__name__}: {error}"))
    except _Failed as error:
        detail = f"{error}; do not trust answers on this machine, and please report it"
        findings.append(Finding(State.WRONG, "self-test", detail))
    return findings


def _ok(detail: str) -> Finding:
    return Finding(State.OK, "self-test", detail)


def _write_instance(folder: Path) -> None:
    """`model.onnx` and a robustness query for each of `_QUERIES`."""
    import math

    import numpy as np

    from vnn_mondeq import vnnlib_io
    from vnn_mondeq.onnx_io.export_arrays import export_arrays
    from vnn_mondeq.onnx_io.save import save

    random = np.random.default_rng(7)
    shapes = {
        "A": (_NEURONS, _NEURONS),
        "B": (_NEURONS, _NEURONS),
        "U": (_NEURONS, _INPUTS),
        "u": (_NEURONS,),
        "C": (_CLASSES, _NEURONS),
        "c": (_CLASSES,),
    }
    arrays = {name: 0.5 * random.normal(size=shape) for name, shape in shapes.items()}
    save(export_arrays({**arrays, "m": np.array(1.0)}), folder / "model.onnx")
    x = np.full((1, _INPUTS), 0.5, dtype=np.float32)
    label = int(np.argmax(_scores(_model(folder), x)))
    for name, (version, radius) in _QUERIES.items():
        text = vnnlib_io.robustness_query(
            x, label, math.inf, radius, classes=_CLASSES, version=version
        )
        (folder / f"{name}.vnnlib").write_text(text)


def _model(folder: Path) -> "LoadedModel":
    from vnn_mondeq import api

    return api.load_model(folder / "model.onnx")


def _query(folder: Path, name: str) -> "Query":
    from vnn_mondeq import api

    return api.load_query(folder / f"{name}.vnnlib")


def _scores(model: "LoadedModel", x):
    from vnn_mondeq.onnx_io.replay import Replay

    (name,) = model.inputs
    (scores,) = Replay(model.model_bytes).run({name: x}).values()
    return scores


def _prove(folder: Path) -> str:
    """The safe query is `unsat`; its proof goes to `proof`."""
    from vnn_mondeq import api
    from vnn_mondeq.result import Verdict

    result = api.verify(_model(folder), _query(folder, "safe"), timeout=_SECONDS)
    if result.verdict is not Verdict.UNSAT or result.certificate is None:
        raise _Failed(f"a safe query was answered {result.verdict.value} ({result.reason.value})")
    api.save_certificate(
        folder / "proof",
        result.certificate,
        query=folder / "safe.vnnlib",
        networks={"f": folder / "model.onnx"},
    )
    return f"unsat proved by the engine {result.engine}"


def _refute(folder: Path) -> str:
    """The unsafe query is `sat`, confirmed by onnxruntime."""
    from vnn_mondeq import api
    from vnn_mondeq.result import Verdict

    result = api.verify(_model(folder), _query(folder, "unsafe"), timeout=_SECONDS)
    if result.verdict is not Verdict.SAT or result.witness is None:
        raise _Failed(
            f"an unsafe query was answered {result.verdict.value} ({result.reason.value})"
        )
    return f"sat found, and replayed by {result.witness.replayed_by}"


def _check(folder: Path) -> str:
    """The saved proof holds for its own query and is refused for the other."""
    from vnn_mondeq import api
    from vnn_mondeq.result import Verdict

    model = _model(folder)
    certificate = api.load_certificate(folder / "proof").certificate
    for name, expected in (("safe", Verdict.UNSAT), ("unsafe", Verdict.UNKNOWN)):
        found = api.check(model, _query(folder, name), certificate, timeout=_SECONDS)
        if found.verdict is not expected:
            raise _Failed(f"the check of a proof for the {name} query said {found.verdict.value}")
    return "the proof re-checked from its file, and refused for another query"
