"""Queries about several networks and hidden tensors, against enumeration of a grid of inputs.

The networks are feed-forward over few inputs with small dyadic weights, so float32 is exact on the
grid: what the text says at a grid point is decided by the text oracle and a network written here.
"""

import itertools
from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from vnnlib_io.text_oracle import holds

from vnn_mondeq import api
from vnn_mondeq.errors import MismatchError
from vnn_mondeq.result import Verdict
from vnn_mondeq.vnnlib_io import parse

GRID = [Fraction(k, 4) for k in range(5)]
"""Every input is in [0, 1]."""


def drawn_network(rng: np.random.Generator, inputs: int = 2) -> onnx.ModelProto:
    """`y = W2 relu(W1 x + b1) + b2` over `x [1, d]`, `y [1, 2]`; tensors `pre`, `post`."""
    shapes = {"W1": (inputs, 3), "b1": (3,), "W2": (3, 2), "b2": (2,)}
    weights = {k: (rng.integers(-4, 5, size=s) / 4).astype(np.float32) for k, s in shapes.items()}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "W1", "b1"], ["pre"]),
            helper.make_node("Relu", ["pre"], ["post"]),
            helper.make_node("Gemm", ["post", "W2", "b2"], ["y"]),
        ],
        "drawn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def evaluate(model: onnx.ModelProto, x: list[Fraction]) -> dict[str, list[Fraction]]:
    """The network in rationals: `pre`, `post`, `y`."""
    W = {t.name: numpy_helper.to_array(t).astype(float) for t in model.graph.initializer}

    def affine(weight, bias, values):
        return [
            sum((Fraction(w) * v for w, v in zip(column, values, strict=True)), Fraction(b))
            for column, b in zip(weight.T, bias, strict=True)
        ]

    pre = affine(W["W1"], W["b1"], x)
    post = [max(v, Fraction(0)) for v in pre]
    return {"pre": pre, "post": post, "y": affine(W["W2"], W["b2"], post)}


def declared(name: str, suffix: str, extra: str = "", hidden: str = "") -> str:
    return (
        f"(declare-network {name} {extra} (declare-input X{suffix} float32 [1,2]) {hidden}"
        f"(declare-output Y{suffix} float32 [1,2]))\n"
    )


def boxes(*names: str) -> str:
    return "".join(
        f"(assert (>= {n}[0,{i}] 0.0))(assert (<= {n}[0,{i}] 1.0))\n" for n in names for i in (0, 1)
    )


HEAD = "(vnnlib-version <2.0>)\n"
TIED = "(assert (== XA[0,0] XB[0,0]))(assert (== XB[0,1] XA[0,1]))\n"
HALF_TIED = "(assert (== XA[0,0] XB[0,0]))\n"


def point_names(variable: str, values: list[Fraction]) -> dict[str, Fraction]:
    return {f"{variable}[0,{i}]": value for i, value in enumerate(values)}


def grid_verdict(text: str, first: onnx.ModelProto, second: onnx.ModelProto | None) -> bool:
    """Whether some grid point satisfies the text."""
    for x in itertools.product(GRID, repeat=2 if second is None else 4):
        point = {}
        for suffix, model, at in (("A", first, x[:2]), ("B", second, x[2:])):
            if model is not None:
                values = evaluate(model, list(at))
                point |= point_names(f"X{suffix}", list(at)) | point_names(
                    f"Y{suffix}", values["y"]
                )
                if suffix == "A":  # hidden tensors are declared there only
                    point |= point_names("P", values["pre"]) | point_names("Q", values["post"])
        if holds(text, point):
            return True
    return False


def answer(tmp_path, text: str, files: dict[str, onnx.ModelProto], timeout: float = 10.0):
    paths = {}
    for name, model in files.items():
        paths[name] = tmp_path / f"{name}.onnx"
        onnx.save(model, paths[name])
    query = parse(text)
    networks = api.load_networks(query, paths)
    return query, api.verify(networks, query, timeout=timeout)


def demand_true_witness(text: str, witness, models: dict[str, onnx.ModelProto]) -> None:
    """The witness's own numbers satisfy the text, and are those of the networks."""
    point = {}
    for name, array in {**witness.inputs, **witness.outputs}.items():
        point |= point_names(name, [Fraction(float(v)) for v in array.reshape(-1)])
    assert holds(text, point)
    for suffix, model in models.items():
        x = [Fraction(float(v)) for v in witness.inputs[f"X{suffix}"].reshape(-1)]
        y = evaluate(model, x)["y"]
        got = witness.outputs[f"Y{suffix}"].reshape(-1)
        np.testing.assert_allclose(got, [float(v) for v in y], atol=1e-5)


CONDITIONS = (
    "(>= (- YA[0,0] YB[0,0]) {c})",
    "(or (>= (- YA[0,0] YB[0,0]) {c}) (>= (- YB[0,0] YA[0,0]) {c}))",
    "(and (> YA[0,1] (+ YB[0,0] {c})) (<= XB[0,1] XA[0,1]))",
    "(>= (+ YA[0,0] YB[0,1] (* -1.0 XA[0,0])) {c})",
)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("relation", ["independent", "isomorphic-to", "equal-to"])
def test_pairs_of_networks_against_a_grid(tmp_path, seed, relation):
    rng = np.random.default_rng([seed, len(relation)])
    ties = ("", TIED, HALF_TIED)[seed % 3]
    condition = CONDITIONS[seed % len(CONDITIONS)].format(c=float(rng.integers(-2, 9)) / 4)
    extra = "" if relation == "independent" else f"({relation} a)"
    text = HEAD + declared("a", "A") + declared("b", "B", extra)
    text += boxes("XA", "XB") + ties + f"(assert {condition})"
    first = drawn_network(rng)
    second = first if relation == "equal-to" else drawn_network(rng)
    files = {"a": first} | ({} if relation == "equal-to" else {"b": second})
    query, result = answer(tmp_path, text, files)
    assert query.input_count == {"": 4, TIED: 2, HALF_TIED: 3}[ties]
    if result.verdict is Verdict.SAT:
        demand_true_witness(text, result.witness, {"A": first, "B": second})
    elif grid_verdict(text, first, second):
        assert result.verdict is not Verdict.UNSAT, "refuted, yet a grid point satisfies it"


def test_most_pairs_are_decided(tmp_path):
    """The test above would pass if nothing were ever decided."""
    decided = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        bound = (4.0, -1.0)[seed % 2]
        text = HEAD + declared("a", "A") + declared("b", "B") + boxes("XA", "XB") + TIED
        text += f"(assert (>= (- YA[0,0] YB[0,0]) {bound}))"
        _, result = answer(tmp_path, text, {"a": drawn_network(rng), "b": drawn_network(rng)})
        decided.append(result.verdict)
    assert decided.count(Verdict.SAT) >= 2
    assert decided.count(Verdict.UNSAT) >= 2


def test_a_network_is_equal_to_itself(tmp_path):
    model = drawn_network(np.random.default_rng(5))
    text = HEAD + declared("a", "A") + declared("b", "B", "(equal-to a)") + boxes("XA", "XB") + TIED
    _, result = answer(tmp_path, text + "(assert (>= (- YA[0,0] YB[0,0]) 0.001))", {"a": model})
    assert result.verdict is Verdict.UNSAT
    _, result = answer(tmp_path, text + "(assert (== YA[0,0] YB[0,0]))", {"a": model})
    assert result.verdict is Verdict.SAT


def test_inputs_of_one_network_may_be_tied(tmp_path):
    """`x0 == x1` where it matters: the outputs depend on `x0 - x1` alone."""
    model = drawn_network(np.random.default_rng(5))
    weight = np.array([[1.0, -1.0, 0.5], [-1.0, 1.0, -0.5]], dtype=np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "W1"))
    text = HEAD + declared("a", "A") + boxes("XA") + "(assert (== XA[0,0] XA[0,1]))"
    at = [float(v) for v in evaluate(model, [Fraction(1, 2)] * 2)["y"]]
    query, result = answer(tmp_path, text + f"(assert (>= YA[0,0] {at[0] + 0.01}))", {"a": model})
    assert query.input_count == 1
    assert result.verdict is Verdict.UNSAT
    _, result = answer(tmp_path, text + f"(assert (>= YA[0,0] {at[0]}))", {"a": model})
    assert result.verdict is Verdict.SAT
    x = result.witness.inputs["XA"]
    assert x[0, 0] == x[0, 1]


HIDDEN = '(declare-hidden P float32 [1,3] "pre") (declare-hidden Q float32 [1,3] "post")'


@pytest.mark.parametrize("seed", range(6))
def test_hidden_tensors_against_a_grid(tmp_path, seed):
    rng = np.random.default_rng(seed)
    condition = (
        "(and (>= P[0,0] {c}) (<= Q[0,1] 0.25))",
        "(>= (+ Q[0,0] YA[0,0] (* -1.0 XA[0,1])) {c})",
        "(and (< P[0,2] -0.25) (> Q[0,2] 0.0))",
    )[seed % 3].format(c=float(rng.integers(-2, 7)) / 4)
    model = drawn_network(rng)
    text = HEAD + declared("a", "A", hidden=HIDDEN) + boxes("XA") + f"(assert {condition})"
    _, result = answer(tmp_path, text, {"a": model}, timeout=3.0)
    if result.verdict is Verdict.SAT:
        demand_true_witness(text, result.witness, {"A": model})
        assert result.witness.outputs["P"].shape == (1, 3)
    elif grid_verdict(text, model, None):
        assert result.verdict is not Verdict.UNSAT, "refuted, yet a grid point satisfies it"
    if seed % 3 == 2:
        assert result.verdict is not Verdict.SAT


def drawn_condition(rng: np.random.Generator, with_hidden: bool) -> str:
    """Up to three comparisons of sums and products of two elements each."""
    names = ["YA[0,0]", "YA[0,1]", "YB[0,0]", "YB[0,1]", "XA[0,0]", "XB[0,1]"]
    names += ["P[0,0]", "Q[0,1]", "P[0,2]"] if with_hidden else []
    atoms = []
    for _ in range(int(rng.integers(1, 4))):
        a, b = rng.choice(names, 2)
        forms = (f"(- {a} {b})", f"(* {a} {b})", f"(+ {a} (* -0.5 {b}))", f"(* {a} {a})")
        relation = rng.choice(["<=", ">=", "<", ">", "==", "!="])
        atoms.append(f"({relation} {rng.choice(forms)} {float(rng.integers(-6, 13)) / 4})")
    return atoms[0] if len(atoms) == 1 else f"({rng.choice(['and', 'or'])} {' '.join(atoms)})"


def test_drawn_queries_against_a_grid(tmp_path):
    verdicts = []
    for seed in range(14):
        rng = np.random.default_rng([7, seed])
        first, second = drawn_network(rng), drawn_network(rng)
        hidden = HIDDEN if seed % 2 else ""
        text = HEAD + declared("a", "A", hidden=hidden) + declared("b", "B") + boxes("XA", "XB")
        text += ("", TIED, HALF_TIED)[seed % 3] + f"(assert {drawn_condition(rng, bool(hidden))})"
        _, result = answer(tmp_path, text, {"a": first, "b": second}, timeout=1.0)
        verdicts.append(result.verdict)
        if result.verdict is Verdict.SAT:
            demand_true_witness(text, result.witness, {"A": first, "B": second})
        elif result.verdict is Verdict.UNSAT:
            assert not grid_verdict(text, first, second), text
    assert min(verdicts.count(Verdict.SAT), verdicts.count(Verdict.UNSAT)) >= 3


def test_hidden_tensors_of_two_networks_are_told_apart(tmp_path):
    rng = np.random.default_rng(1)
    first, second = drawn_network(rng), drawn_network(rng)
    text = HEAD + declared("a", "A", hidden='(declare-hidden P float32 [1,3] "post")')
    text += declared("b", "B", hidden='(declare-hidden Q float32 [1,3] "post")')
    text += boxes("XA", "XB") + TIED + "(assert (<= P[0,0] 9.0))"
    _, result = answer(tmp_path, text, {"a": first, "b": second})
    assert result.verdict is Verdict.SAT
    x = [Fraction(float(v)) for v in result.witness.inputs["XA"].reshape(-1)]
    for name, model in (("P", first), ("Q", second)):
        expected = [float(v) for v in evaluate(model, x)["post"]]
        np.testing.assert_allclose(result.witness.outputs[name][0], expected, atol=1e-6)


MISFITS = {
    "no such tensor": (HIDDEN.replace('"pre"', '"per"'), "'pre'"),
    "wrong shape": (HIDDEN.replace("P float32 [1,3]", "P float32 [3]"), r"has \[1, 3\]"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_hidden_tensors_that_do_not_fit_are_refused(tmp_path, name):
    hidden, message = MISFITS[name]
    text = HEAD + declared("a", "A", hidden=hidden) + boxes("XA")
    with pytest.raises(MismatchError, match=message):
        answer(tmp_path, text, {"a": drawn_network(np.random.default_rng(0))})


def test_a_network_without_a_model_is_named(tmp_path):
    model = drawn_network(np.random.default_rng(0))
    onnx.save(model, tmp_path / "a.onnx")
    query = parse(HEAD + declared("a", "A") + declared("b", "B") + boxes("XA", "XB"))
    with pytest.raises(MismatchError, match="'b'"):
        api.verify(api.load_model(tmp_path / "a.onnx"), query)


def test_polynomials_on_outputs_against_a_grid(tmp_path):
    verdicts = set()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        model, c = drawn_network(rng), float(rng.integers(-8, 13)) / 4
        condition = f"(>= (* YA[0,0] YA[0,1]) {c})"
        if seed % 2:
            condition = f"(<= (+ (* YA[0,0] YA[0,0]) (* XA[0,0] XA[0,0] XA[0,1])) {c})"
        text = HEAD + declared("a", "A") + boxes("XA") + f"(assert {condition})"
        _, result = answer(tmp_path, text, {"a": model}, timeout=5.0)
        verdicts.add(result.verdict)
        if result.verdict is Verdict.SAT:
            demand_true_witness(text, result.witness, {"A": model})
        elif grid_verdict(text, model, None):
            assert result.verdict is not Verdict.UNSAT, "refuted, yet a grid point satisfies it"
    assert {Verdict.SAT, Verdict.UNSAT} <= verdicts


def test_pieces_decide_what_one_linear_bound_does_not(tmp_path):
    """`y = x` and `x0 x1 (1 - x0) <= 1/4`: the whole box leaves a gap that its pieces close."""
    eye = np.eye(2, dtype=np.float32)
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "W"], ["y"])],
            "identity",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
            [numpy_helper.from_array(eye, "W")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    text = HEAD + declared("a", "A") + boxes("XA")
    product = "(* YA[0,0] YA[0,1] (- 1.0 YA[0,0]))"
    for bound, expected in ((0.3, Verdict.UNSAT), (0.24, Verdict.SAT), (0.25, Verdict.SAT)):
        _, result = answer(tmp_path, text + f"(assert (>= {product} {bound}))", {"a": model})
        assert result.verdict is expected, bound
