"""Models whose equilibrium layer is a plain `Loop`, written as other exporters write them."""

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STEP, TOL = 0.1, 1e-4


@dataclass(frozen=True)
class LoopCase:
    """A loop around a drawn layer.

    - `body`: lines of the body, `OUTPUT = OPERATOR(INPUTS)` with `W`, `u`, `z`, …; the last of them
      yields `z_new`.
    - `condition`: lines that yield `go_on`; `None` for no condition of the body's own.
    - `trips`: trip count or `None`.
    """

    body: tuple[str, ...] = ("w = MatMul(z, Wt)", "a = Add(w, u)", "d = Sub(a, z)")
    tail: tuple[str, ...] = ("s = Mul(d, step)", "m = Add(z, s)", "z_new = Relu(m)")
    condition: tuple[str, ...] | None = None
    trips: int | None = 30
    dtype: type = np.float32
    shape: tuple[int, ...] = (5,)
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    invariant: bool = False


def weights(case: LoopCase, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = int(np.prod(case.shape))
    A, B = 0.5 * rng.normal(size=(2, p, p))
    W = (1 - 1.0) * np.eye(p) - A.T @ A + B - B.T
    found = {"Wt": W.T, "U": rng.normal(size=(4, p)), "u0": rng.normal(size=p)}
    found |= {"C": rng.normal(size=(p, 3)), "step": np.array(STEP), "tol": np.array(TOL)}
    found |= {"one_minus": np.array(1.0) - np.float32(STEP), "half": np.array(0.5)}
    found |= {"zero_like": np.zeros((1, p)), **case.extra}
    return {
        k: v.astype(case.dtype) if np.asarray(v).dtype.kind == "f" else v for k, v in found.items()
    }


def _nodes(lines: tuple[str, ...]) -> list[onnx.NodeProto]:
    nodes = []
    for line in lines:
        output, call = line.split(" = ")
        operator, inputs = call.rstrip(")").split("(")
        attributes = {}
        if "{" in operator:
            operator, text = operator.split("{")
            attributes = eval("dict(" + text.rstrip("}") + ")")
        names = [name.strip() for name in inputs.split(",") if name.strip()]
        nodes.append(helper.make_node(operator, names, output.split(";"), **attributes))
    return nodes


def loop_model(case: LoopCase, seed: int = 0) -> onnx.ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(case.dtype))
    value = helper.make_tensor_value_info
    lines = (*case.body, *case.tail)
    states = [("z", "z_new", "z0", kind, None)]
    if case.condition is not None:
        states.append(("count", "count_new", "zero", TensorProto.INT64, []))
        lines += ("count_new = Add(count, one)",)
    lines += ("go_on = Identity(cond_in)",) if case.condition is None else case.condition
    if case.invariant:
        states.append(("u", "u", "u_outer", kind, None))
    outer = "u_outer" if case.invariant else "u"
    body = helper.make_graph(
        _nodes(lines),
        "body",
        [value("iteration", TensorProto.INT64, []), value("cond_in", TensorProto.BOOL, [])]
        + [value(name, k, shape) for name, _, _, k, shape in states],
        [value("go_on", TensorProto.BOOL, None)]
        + [value(name, k, shape) for _, name, _, k, shape in states],
    )
    results = (
        ["z_end", "count_end", "u_end"][: len(states)] if case.condition else ["z_end", "u_end"]
    )
    loop = helper.make_node(
        "Loop",
        ["" if case.trips is None else "trips", "true", *(start for _, _, start, _, _ in states)],
        results[: len(states)],
        "the_loop",
        body=body,
    )
    before = _nodes(("ux = MatMul(x, U)", f"{outer} = Add(ux, u0)", f"z0 = Mul({outer}, none)"))
    after = _nodes(("y = MatMul(z_end, C)",))
    stored = weights(case, seed)
    stored |= {"none": np.zeros((), case.dtype), "true": np.array(True)}
    stored |= {"zero": np.array(0), "one": np.array(1), "limit": np.array(25)}
    if case.trips is not None:
        stored["trips"] = np.array(case.trips)
    graph = helper.make_graph(
        [*before, loop, *after],
        "main",
        [value("x", kind, ["N", 4])],
        [value("y", kind, ["N", 3])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model
