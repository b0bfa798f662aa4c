"""The gate lets nothing through that is not confirmed twice."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from strategies import constraint, query_of

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import ModelError
from vnn_mondeq.gate import Gate, NothingToRefute, Rejection
from vnn_mondeq.query.input_set import Box, HalfSpace, Intersection
from vnn_mondeq.query.query import LinearConstraint
from vnn_mondeq.result import AbstractCertificate, CheckedCertificate, Reason, Witness
from vnn_mondeq.statement import build_problem
from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.implicit import dense_system


def _identity_system():
    """`z = ReLU(x) / 2`, `y = 2 z = ReLU(x)`, one number."""
    one = np.eye(1)
    return dense_system(-one, one, np.zeros(1), 2.0 * one, np.zeros(1))


class Relu:
    """A runtime of the same model in float32, off by `offset`."""

    runtime = "stub 1.0"

    def __init__(self, offset: float = 0.0):
        self.offset = offset

    def run(self, inputs):
        (x,) = inputs.values()
        assert x.dtype == np.float32
        return {"y": np.maximum(x, np.float32(0)) + np.float32(self.offset)}


class Failing:
    runtime = "stub 1.0"

    def run(self, inputs):
        raise ModelError("onnxruntime cannot run the model: out of luck")


def _gate(inputs, constraints, runtime=None, element_type="float32") -> Gate:
    query = query_of([(inputs, constraints)], 1, 1, element_type)
    problem = build_problem(_identity_system(), query, "float32")
    return Gate(problem, "float32", lambda: runtime or Relu())


def _unit_box() -> Box:
    return Box.from_floats(np.zeros(1), np.ones(1))


ABOVE_HALF = constraint({0: -1.0}, 0.5)
"""`Y >= 0.5`"""


def test_a_real_violation_is_a_witness_in_the_declared_names_and_types():
    witness = _gate(_unit_box(), [ABOVE_HALF]).confirm_witness(np.array([0.75]))
    assert isinstance(witness, Witness)
    assert witness.inputs["X"].dtype == np.float32
    assert witness.inputs["X"].tolist() == [0.75]
    assert witness.outputs["Y"].tolist() == [0.75]
    assert witness.margin == 0.25
    assert witness.replayed_by == "stub 1.0"


REJECTED = {
    "no violation": (np.array([0.25]), None, "no violation"),
    "strict equality": (np.array([0.5]), None, "no violation"),
    "outside the box": (np.array([1.5]), None, None),
    "only the runtime sees it": (np.array([0.4]), Relu(0.2), "exact fixpoint does not confirm"),
    "the runtime does not see it": (np.array([0.6]), Relu(-0.2), "no violation"),
    "the runtime fails": (np.array([0.75]), Failing(), "out of luck"),
    "not a number": (np.array([0.75]), Relu(math.nan), "finite"),
    "infinite": (np.array([0.75]), Relu(math.inf), "finite"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_other_candidates_are_rejected(name):
    x, runtime, detail = REJECTED[name]
    row = dataclasses.replace(ABOVE_HALF, strict=name.startswith("strict"))
    found = _gate(_unit_box(), [row], runtime).confirm_witness(x)
    if detail is None:
        # Outside points are moved to the box; this one then is a witness at its corner.
        assert isinstance(found, Witness)
        assert found.inputs["X"].tolist() == [1.0]
    else:
        assert isinstance(found, Rejection)
        assert found.reason is Reason.WITNESS_REJECTED
        assert detail in found.detail


@pytest.mark.parametrize("element_type", ["float32", "real"])
def test_equality_is_enough_where_both_see_it(element_type):
    gate = _gate(_unit_box(), [ABOVE_HALF], element_type=element_type)
    witness = gate.confirm_witness(np.array([0.5]))
    assert isinstance(witness, Witness)
    assert witness.margin == 0.0


@pytest.mark.parametrize(
    ("offset", "element_type", "accepted"),
    [(1e-9, "float32", True), (1e-4, "float32", False), (1e-9, "real", False)],
)
def test_equality_in_the_runtime_alone_must_be_within_the_error(offset, element_type, accepted):
    """The runtime says `Y == 0.5 + offset`; the exact fixpoint is `offset` short of that."""
    one, system = np.ones((1, 1)), _identity_system()
    evaluation = AffineMap(system.output.coefficients, runtime=Coefficients(one, one, one[0]))
    query = query_of([(_unit_box(), [constraint({0: -1.0}, 0.5 + offset)])], 1, 1, element_type)
    problem = build_problem(dataclasses.replace(system, output=evaluation), query, "float32")
    runtime = Relu()
    runtime.run = lambda inputs: {"y": np.array([0.5 + offset])}
    found = Gate(problem, "float32", lambda: runtime).confirm_witness(np.array([0.5]))
    assert isinstance(found, Witness) == accepted


def test_equality_is_found_to_be_exact_although_float64_rounds():
    """`y = x / 3`-like weights: the float64 value of the row is not zero, the exact one is."""
    third = np.array([[1.0 / 3.0]])
    system = dense_system(-np.eye(1), np.eye(1), np.zeros(1), third, np.zeros(1))
    exact = Fraction(1.0 / 3.0) * Fraction(0.3) / 2  # z = x / 2
    row = LinearConstraint({}, {0: Fraction(-1)}, exact, False)
    for shift, accepted in ((Fraction(0), True), (Fraction(1, 10**40), False)):
        moved = dataclasses.replace(row, offset=exact + shift)
        query = query_of([(_unit_box(), [moved])], 1, 1, "real")
        runtime = Relu()
        runtime.run = lambda inputs: {"y": np.array([1.0])}
        gate = Gate(build_problem(system, query, "float64"), "float64", lambda r=runtime: r)
        assert isinstance(gate.confirm_witness(np.array([0.3])), Witness) == accepted


def test_points_outside_a_half_space_are_rejected():
    inputs = Intersection((_unit_box(), HalfSpace(1, {0: Fraction(1)}, Fraction(-1, 2), True)))
    gate = _gate(inputs, [constraint({0: -1.0}, 0.25)])
    assert isinstance(gate.confirm_witness(np.array([0.4])), Witness)
    found = gate.confirm_witness(np.array([0.5]))
    assert isinstance(found, Rejection)
    assert "outside the input set" in found.detail


def test_every_constraint_of_a_case_must_hold():
    gate = _gate(_unit_box(), [ABOVE_HALF, constraint({0: 1.0}, -0.7)])
    assert isinstance(gate.confirm_witness(np.array([0.6])), Witness)
    assert isinstance(gate.confirm_witness(np.array([0.8])), Rejection)


def _third() -> Fraction:
    return Fraction(3, 10)


@pytest.mark.parametrize(
    ("element_type", "accepted"), [("float32", True), ("real", False)], ids=["float32", "real"]
)
def test_a_fixed_input_may_take_the_nearest_float32_in_float_queries_only(element_type, accepted):
    fixed = Box.from_fractions([_third()], [_third()])
    gate = _gate(fixed, [constraint({0: -1.0}, 0.25)], element_type=element_type)
    assert isinstance(gate.confirm_witness(np.array([0.3])), Witness) == accepted


def test_rounding_stays_inside_bounds_that_no_float32_equals():
    # float32(0.3) is above 0.3, float32(0.1) is above 0.1, float32(0.7) is below 0.7.
    for low, high in ((Fraction(1, 10), _third()), (Fraction(7, 10), Fraction(9, 10))):
        box = Box.from_fractions([low], [high])
        gate = _gate(box, [constraint({0: -1.0}, 0.05)])
        for x in (float(low), float(high), 0.2, 0.8, -5.0, 5.0):
            witness = gate.confirm_witness(np.array([x]))
            assert isinstance(witness, Witness)
            assert low <= Fraction(float(witness.inputs["X"][0])) <= high


def test_a_case_without_constraints_needs_only_a_point_of_its_set():
    gate = _gate(_unit_box(), [])
    witness = gate.confirm_witness(np.array([0.5]))
    assert isinstance(witness, Witness)
    assert witness.margin == math.inf


def test_nothing_to_refute_is_certified_for_empty_sets_alone():
    empty = Box.from_floats(np.ones(1), np.zeros(1))
    gate = _gate(empty, [ABOVE_HALF])
    checked = gate.confirm_certificate(NothingToRefute(), Deadline.never())
    assert isinstance(checked, CheckedCertificate)
    assert checked.margin == math.inf
    gate = _gate(_unit_box(), [ABOVE_HALF])
    found = gate.confirm_certificate(NothingToRefute(), Deadline.never())
    assert isinstance(found, Rejection)
    assert found.reason is Reason.CERTIFICATE_REJECTED


class HomeMade(AbstractCertificate):
    def summary(self) -> str:
        return "trust me"


def test_an_unknown_type_of_certificate_is_rejected():
    found = _gate(_unit_box(), [ABOVE_HALF]).confirm_certificate(HomeMade(), Deadline.never())
    assert isinstance(found, Rejection)
    assert "no checker" in found.detail


@pytest.mark.parametrize("lost", ["obligation", "case"])
def test_obligations_that_do_not_cover_the_query_are_rejected(lost):
    gate = _gate(_unit_box(), [ABOVE_HALF])
    (obligation,) = gate.problem.obligations
    kept = () if lost == "obligation" else (dataclasses.replace(obligation, cases=()),)
    planted = dataclasses.replace(gate, problem=dataclasses.replace(gate.problem, obligations=kept))
    found = planted.confirm_certificate(NothingToRefute(), Deadline.never())
    assert isinstance(found, Rejection)
    assert found.reason is Reason.CERTIFICATE_REJECTED


@pytest.mark.parametrize("margin", [0.0, -1.0, math.nan])
def test_a_margin_that_is_not_positive_is_no_proof(margin, monkeypatch):
    import vnn_mondeq.gate as module

    monkeypatch.setattr(module, "checkers", lambda: {HomeMade: lambda *_: margin})
    found = _gate(_unit_box(), [ABOVE_HALF]).confirm_certificate(HomeMade(), Deadline.never())
    assert isinstance(found, Rejection)
