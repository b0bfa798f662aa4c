"""Counterexamples of queries about several networks and hidden nodes, judged by `witness.py`."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from conformance.test_witness import command
from conformance.witness import Instance, judge_folder, judge_text
from onnx import TensorProto, helper, numpy_helper

INPUTS, HIDDEN, OUTPUTS = 3, 4, 2


def layered_model(path: Path, seed: int) -> Path:
    """`y = V ReLU(U x + b)`; the tensor before the ReLU is `before`, after it `after`."""
    rng = np.random.default_rng(seed)
    weights = {
        "U": rng.normal(size=(INPUTS, HIDDEN)),
        "b": rng.normal(size=HIDDEN),
        "V": rng.normal(size=(HIDDEN, OUTPUTS)),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "U", "b"], ["before"]),
            helper.make_node("Relu", ["before"], ["after"]),
            helper.make_node("MatMul", ["after", "V"], ["y"]),
        ],
        "layered",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, OUTPUTS])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    return {
        name: layered_model(folder / f"{name}.onnx", seed) for name, seed in (("f", 1), ("g", 2))
    }


def network(name: str, letter: str, kind: str, relation: str = "", hidden: str = "") -> str:
    node = f'(declare-hidden H{letter} {kind} [1,{HIDDEN}] "{hidden}")' if hidden else ""
    return (
        f"(declare-network {name} {relation}\n"
        f"(declare-input X{letter} {kind} [1,{INPUTS}])\n{node}\n"
        f"(declare-output Y{letter} {kind} [1,{OUTPUTS}])\n)\n"
    )


def box(rng: np.random.Generator, *letters: str) -> str:
    """The same bounds on the inputs of each network."""
    text = ""
    for i, centre in enumerate(rng.uniform(-1, 1, size=INPUTS)):
        for letter in letters:
            text += f"(assert (>= X{letter}[0,{i}] {centre - 0.7:.6f}))\n"
            text += f"(assert (<= X{letter}[0,{i}] {centre + 0.7:.6f}))\n"
    return text


def equal(rng: np.random.Generator, kind: str) -> str:
    """Near inputs of one network with outputs that are far from each other."""
    text = network("f", "f", kind) + network("g", "g", kind, "(equal-to f)") + box(rng, "f", "g")
    for i in range(INPUTS):
        text += f"(assert (<= (- Xf[0,{i}] Xg[0,{i}]) 0.5))\n"
        text += f"(assert (<= (- Xg[0,{i}] Xf[0,{i}]) 0.5))\n"
    return text + "(assert (>= (- Yf[0,0] Yg[0,0]) 0.1))\n"


def isomorphic(rng: np.random.Generator, kind: str) -> str:
    """One input, two networks that disagree."""
    text = network("f", "f", kind) + network("g", "g", kind, "(isomorphic-to f)") + box(rng, "f")
    text += "".join(f"(assert (== Xf[0,{i}] Xg[0,{i}]))\n" for i in range(INPUTS))
    return text + "(assert (or (> (- Yf[0,0] Yg[0,0]) 0.25) (< (- Yf[0,1] Yg[0,1]) -0.25)))\n"


def unrelated(rng: np.random.Generator, kind: str) -> str:
    text = network("f", "f", kind) + network("g", "g", kind) + box(rng, "f") + box(rng, "g")
    return text + "(assert (or (<= Yf[0,0] Yg[0,0]) (>= (+ Yf[0,1] Yg[0,1]) 0.25)))\n"


def hidden_before(rng: np.random.Generator, kind: str) -> str:
    text = network("f", "f", kind, hidden="before") + box(rng, "f")
    return text + "(assert (>= Hf[0,0] Hf[0,1]))\n(assert (<= Yf[0,0] (+ Yf[0,1] 0.5)))\n"


def hidden_after(rng: np.random.Generator, kind: str) -> str:
    text = network("f", "f", kind) + network("g", "g", kind, hidden="after")
    text += box(rng, "f") + box(rng, "g")
    return text + "(assert (or (>= Hg[0,2] 0.125) (<= (+ Hg[0,1] Yf[0,0]) 0.0)))\n"


QUERIES = {
    "equal-to": equal,
    "isomorphic-to": isomorphic,
    "unrelated": unrelated,
    "hidden, before a ReLU": hidden_before,
    "hidden, after a ReLU, beside a second network": hidden_after,
}
DRAWN = 3


@pytest.mark.parametrize("kind", ["float32", "real"])
@pytest.mark.parametrize("name", QUERIES)
def test_counterexamples_are_correct(name, kind, models, tmp_path):
    rng = np.random.default_rng(7)
    violated = 0
    for number in range(DRAWN):
        text = "(vnnlib-version <2.0>)\n" + QUERIES[name](rng, kind)
        query = tmp_path / f"{number}.vnnlib"
        query.write_text(text)
        needed = {n: p for n, p in models.items() if f"(declare-network {n}" in text}
        given = {n: p for n, p in needed.items() if f"(declare-network {n} (equal-to" not in text}
        options = [f"--network={n}={p}" for n, p in given.items()]
        files = needed if given == needed else dict.fromkeys(needed, models["f"])
        instance = Instance(text, files)
        code, out = command("-q", "verify", query, *options)
        assert code == 0
        if not out.startswith("sat"):
            continue
        violated += 1
        printed = json.loads(command("-q", "verify", "--json", query, *options)[1])
        variables = {v["name"]: v for v in printed["witness"]["variables"]}
        for declared in instance.declared():
            shown = variables[declared.name]
            assert (shown["network"], shown["kind"]) == (declared.network, declared.kind)
            assert str(float(shown["values"][-1])) in out
        assert judge_text(instance, out) == "correct"
        folder = tmp_path / f"folder{number}"
        serialised = command("-q", "verify", query, *options, "--serialise-assignments", folder)
        assert serialised == (0, "sat\n")
        assert judge_folder(instance, folder) == "correct"
    assert violated


def test_a_wrong_order_of_networks_is_malformed(models):
    text = "(vnnlib-version <2.0>)\n" + unrelated(np.random.default_rng(0), "real")
    lines = {letter: f"X{letter} real [1,{INPUTS}]\n" + "0.0\n" * INPUTS for letter in ("f", "g")}
    lines = {k: v + f"Y{k} real [1,{OUTPUTS}]\n" + "0.0\n" * OUTPUTS for k, v in lines.items()}
    instance = Instance(text, models)
    assert not judge_text(instance, "sat\n" + lines["f"] + lines["g"]).startswith("malformed")
    assert judge_text(instance, "sat\n" + lines["g"] + lines["f"]).startswith("malformed")
