"""The public functions, as the README uses them."""

import math

import numpy as np
import pytest

import vnn_mondeq
from vnn_mondeq.errors import InputError, MismatchError, ModelError, QueryError
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.result import Reason, Result, Verdict

HEADER = (
    "(vnnlib-version <2.0>)\n"
    "(declare-network f (declare-input X float32 [1,2]) (declare-output Y float32 [1,2]))\n"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """`z = ReLU(x) / 2` (two neurons), `y = 2 z`, so `y = ReLU(x)`."""
    from vnn_mondeq.onnx_io.export_arrays import export_arrays
    from vnn_mondeq.onnx_io.save import save

    path = tmp_path_factory.mktemp("api") / "relu.onnx"
    eye = np.eye(2)
    arrays = {"W": -eye, "U": eye, "u": np.zeros(2), "C": 2.0 * eye, "c": np.zeros(2)}
    save(export_arrays(arrays), path)
    return vnn_mondeq.load_model(path)


def query(tmp_path, constraint, low="-1.0", high="1.0"):
    box = "".join(f"(assert (and (>= X[0,{i}] {low}) (<= X[0,{i}] {high})))" for i in range(2))
    path = tmp_path / "q.vnnlib"
    path.write_text(HEADER + box + constraint)
    return vnn_mondeq.load_query(path)


CASES = {
    "above the maximum": ("(assert (>= Y[0,0] 1.01))", Verdict.UNSAT),
    "below the maximum": ("(assert (>= Y[0,0] 0.99))", Verdict.SAT),
    "negative": ("(assert (<= Y[0,0] -0.01))", Verdict.UNSAT),
    "both": ("(assert (and (>= Y[0,0] 0.9) (>= Y[0,1] 0.9)))", Verdict.SAT),
    "one of two": ("(assert (or (>= Y[0,0] 2.0) (>= Y[0,1] 0.5)))", Verdict.SAT),
    "none of two": ("(assert (or (>= Y[0,0] 2.0) (>= Y[0,1] 2.0)))", Verdict.UNSAT),
    "with inputs": ("(assert (<= (+ Y[0,0] (* -1.0 X[0,0])) -0.01))", Verdict.UNSAT),
    "input excluded": ("(assert (and (>= Y[0,0] 0.5) (<= X[0,0] 0.0)))", Verdict.UNSAT),
    "contradiction": ("(assert (and (>= X[0,0] 0.5) (<= X[0,0] 0.0)))", Verdict.UNSAT),
}


@pytest.mark.parametrize("name", CASES)
def test_verdicts_on_a_network_that_is_known_exactly(model, tmp_path, name):
    constraint, expected = CASES[name]
    result = vnn_mondeq.verify(model, query(tmp_path, constraint), timeout=30)
    assert result.verdict is expected, (result.reason, result.detail)
    assert (result.witness is not None) == (expected is Verdict.SAT)
    assert (result.certificate is not None) == (expected is Verdict.UNSAT)


def test_a_tie_is_a_counterexample_where_the_runtime_computes_it(model, tmp_path):
    """`Y >= 1` holds at one corner, with equality; `Y > 1` nowhere, but by no margin."""
    result = vnn_mondeq.verify(model, query(tmp_path, "(assert (>= Y[0,0] 1.0))"), timeout=10)
    assert result.verdict is Verdict.SAT
    assert result.witness.margin == 0.0
    result = vnn_mondeq.verify(model, query(tmp_path, "(assert (> Y[0,0] 1.0))"), timeout=10)
    assert result.verdict is Verdict.UNKNOWN
    assert result.reason is not Reason.NONE


class Recorder(AbstractObserver):
    def __init__(self):
        self.phases = []

    def phase(self, name):
        self.phases.append(name)

    def progress(self, done, total):
        pass

    def event(self, kind, **fields):
        pass


def test_an_observer_hears_of_it_and_changes_nothing(model, tmp_path):
    asked = query(tmp_path, "(assert (>= Y[0,0] 0.99))")
    recorder = Recorder()
    heard = vnn_mondeq.verify(model, asked, timeout=30, observer=recorder)
    alone = vnn_mondeq.verify(model, asked, timeout=30)
    assert recorder.phases
    assert np.array_equal(heard.witness.inputs["X"], alone.witness.inputs["X"])


def test_no_time_is_timed_out(model, tmp_path):
    result = vnn_mondeq.verify(model, query(tmp_path, "(assert (>= Y[0,0] 2.0))"), timeout=0)
    assert result.verdict is Verdict.TIMED_OUT


@pytest.mark.parametrize("timeout", [-1.0, math.nan])
def test_arguments_that_make_no_sense_are_refused(model, tmp_path, timeout):
    asked = query(tmp_path, "(assert (>= Y[0,0] 2.0))")
    with pytest.raises(InputError):
        vnn_mondeq.verify(model, asked, timeout=timeout)
    with pytest.raises(InputError, match="auto"):
        vnn_mondeq.verify(model, asked, backend="magic")


def test_errors_are_of_the_package_s_own_kinds(model, tmp_path):
    with pytest.raises(ModelError):
        vnn_mondeq.load_model(tmp_path / "missing.onnx")
    (tmp_path / "bad.vnnlib").write_text("(assert")
    with pytest.raises(QueryError) as caught:
        vnn_mondeq.load_query(tmp_path / "bad.vnnlib")
    assert caught.value.line == 1
    (tmp_path / "wide.vnnlib").write_text(
        HEADER.replace("[1,2])", "[1,3])", 1) + "(assert (<= Y[0,0] 0.0))"
    )
    wide = vnn_mondeq.load_query(tmp_path / "wide.vnnlib")
    with pytest.raises(MismatchError):
        vnn_mondeq.verify(model, wide)


def test_a_result_cannot_be_built_without_its_evidence():
    for verdict in Verdict:
        with pytest.raises(ValueError, match="needs"):
            Result(verdict)


def test_public_names_are_listed_and_others_are_errors():
    for name in dir(vnn_mondeq):
        assert getattr(vnn_mondeq, name) is not None
    with pytest.raises(AttributeError, match="verfy"):
        _ = vnn_mondeq.verfy
