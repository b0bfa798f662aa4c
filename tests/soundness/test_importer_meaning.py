"""Drawn ONNX graphs: what onnxruntime computes lies within the error that the statement allows.

`Rows.error` is the only place with model error, and a proof adds nothing to it. So for every point
of the box: |onnxruntime's output - row at the exact fixpoint| <= error. The graphs chain every
operator family of the importer in random order with random attributes; the importer's own tests
look at operators one by one.
"""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from strategies import constraint, plain_feedback, query_of

from vnn_mondeq.onnx_io.load import load
from vnn_mondeq.onnx_io.operator import DEFAULT_TOLERANCE, DOMAIN, IR_VERSION, VERSION
from vnn_mondeq.onnx_io.save import save
from vnn_mondeq.onnx_io.step_size import choose_alpha, step_limit
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.statement import build_problem
from vnn_mondeq.system.solve import FixpointSolver

OPSET = 18
INPUTS = 12
"""Factors into images 1 x 3 x 4 and 3 x 2 x 2."""


class Graph:
    """A chain of nodes under construction; `shape` is that of the last tensor."""

    def __init__(self, rng: np.random.Generator):
        self.rng, self.nodes, self.weights = rng, [], {}
        self.last, self.shape, self.count = "x", (1, INPUTS), 0

    def weight(self, array, dtype=np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(array, dtype=dtype)
        return name

    def add(self, operator: str, inputs: list[str], outputs: int = 1, **attributes) -> str:
        names = [f"t{self.count + i}" for i in range(outputs)]
        self.count += outputs
        self.nodes.append(helper.make_node(operator, inputs, names, f"n{self.count}", **attributes))
        self.last = names[0]
        return names[0] if outputs == 1 else names

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def normal(self, *shape) -> np.ndarray:
        return self.rng.normal(size=shape) / np.sqrt(max(shape[-1], 1))


def gemm(g: Graph) -> None:
    out, transposed = int(g.rng.integers(2, 13)), int(g.rng.integers(2))
    B = g.weight(g.normal(*((out, g.size) if transposed else (g.size, out))))
    bias = g.weight(g.normal(out) if g.rng.random() < 0.5 else g.normal(1, 1))
    alpha, beta = float(g.rng.choice([1.0, 0.7])), float(g.rng.choice([1.0, -0.3]))
    g.add("Gemm", [g.last, B, bias], alpha=alpha, beta=beta, transB=transposed)
    g.shape = (1, out)


def matmul_add(g: Graph) -> None:
    out = int(g.rng.integers(2, 13))
    g.add("MatMul", [g.last, g.weight(g.normal(g.size, out))])
    g.add("Add", [g.weight(g.normal(out)), g.last])
    g.shape = (1, out)


def relu(g: Graph) -> None:
    g.add("Relu", [g.last])


def arithmetic(g: Graph) -> None:
    constant = g.weight(g.rng.uniform(0.5, 2.0, size=int(g.rng.choice([1, g.size]))))
    operator = str(g.rng.choice(["Mul", "Div", "Sub", "Add", "Neg", "reverse Sub", "reverse Mul"]))
    if operator == "Neg":
        g.add("Neg", [g.last])
    elif operator.startswith("reverse"):
        g.add(operator.split()[1], [constant, g.last])
    else:
        g.add(operator, [g.last, constant])


def residual(g: Graph) -> None:
    """Two paths that meet: correlations, and a sum of non-constants."""
    start = g.last
    g.add("MatMul", [start, g.weight(g.normal(g.size, g.size))])
    if g.rng.random() < 0.5:
        g.add("Relu", [g.last])
    g.add(str(g.rng.choice(["Add", "Sub"])), [start, g.last])


def concat(g: Graph) -> None:
    start = g.last
    g.add("MatMul", [start, g.weight(g.normal(g.size, 3))])
    g.add("Concat", [start, g.last], axis=int(g.rng.choice([1, -1])))
    g.shape = (1, g.size + 3)


def slice_back(g: Graph) -> None:
    """Backwards through all entries, then a gather in random order."""
    parts = [g.weight([v], np.int64) for v in (-1, -(10**6), 1, -1)]
    g.add("Slice", [g.last, *parts])
    g.add("Gather", [g.last, g.weight(g.rng.permutation(g.size), np.int64)], axis=1)


def split_sum(g: Graph) -> None:
    first = g.size // 2
    sizes = g.weight([first, g.size - first], np.int64)
    left, right = g.add("Split", [g.last, sizes], outputs=2, axis=1)
    g.add("Concat", [right, left], axis=1)


def reduce(g: Graph) -> None:
    mean = str(g.rng.choice(["ReduceMean", "ReduceSum"]))
    axis = g.weight([1], np.int64)
    start = g.last
    g.add(mean, [start, axis], keepdims=1)
    g.add("Sub", [start, g.last])


def image(g: Graph) -> None:
    """Into an image, something spatial, and flat again."""
    if g.size != INPUTS:
        g.add("MatMul", [g.last, g.weight(g.normal(g.size, INPUTS))])
    channels, height, width = [(1, 3, 4), (3, 2, 2), (2, 3, 2)][int(g.rng.integers(3))]
    g.add("Reshape", [g.last, g.weight([1, channels, height, width], np.int64)])
    kind = str(g.rng.choice(["Conv", "AveragePool", "BatchNormalization", "Pad", "Transpose",
                             "GlobalAveragePool"]))  # fmt: skip
    shape = (channels, height, width)
    if kind == "Conv":
        shape = _convolve(g, shape)
    elif kind == "AveragePool":
        include = int(g.rng.integers(2))
        g.add("AveragePool", [g.last], kernel_shape=[2, 2], strides=[1, 2], pads=[1, 0, 0, 1],
              count_include_pad=include)  # fmt: skip
        shape = (channels, height, (width + 1 - 2) // 2 + 1)
    elif kind == "BatchNormalization":
        parts = [g.weight(g.rng.uniform(0.5, 2.0, size=channels)) for _ in range(4)]
        g.add("BatchNormalization", [g.last, *parts], epsilon=float(g.rng.choice([1e-5, 1e-2])))
    elif kind == "Pad":
        mode = str(g.rng.choice(["constant", "reflect", "edge"]))
        g.add("Pad", [g.last, g.weight([0, 0, 1, 0, 0, 0, 0, 1], np.int64)], mode=mode)
        shape = (channels, height + 1, width + 1)
    elif kind == "Transpose":
        g.add("Transpose", [g.last], perm=[0, 2, 3, 1])
    else:
        g.add("GlobalAveragePool", [g.last])
        shape = (channels, 1, 1)
    g.add("Flatten", [g.last], axis=1)
    g.shape = (1, int(np.prod(shape)))


def _convolve(g: Graph, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    channels, height, width = shape
    group = channels if g.rng.random() < 0.5 else 1
    outputs = 2 * channels
    kernel = g.weight(g.rng.normal(size=(outputs, channels // group, 2, 2)) * 0.4)
    pads = [int(v) for v in g.rng.integers(0, 2, size=4)]
    dilation = int(g.rng.integers(1, 3)) if min(height + pads[0] + pads[2], width) > 2 else 1
    g.add("Conv", [g.last, kernel, g.weight(g.normal(outputs))], pads=pads, strides=[1, 2],
          dilations=[dilation, 1], group=group)  # fmt: skip
    rows = height + pads[0] + pads[2] - dilation
    columns = (width + pads[1] + pads[3] - 2) // 2 + 1
    return outputs, rows, columns


def mondeq(g: Graph) -> None:
    W = plain_feedback(g.rng, g.size).astype(np.float32)
    alpha = choose_alpha(W.astype(np.float64))
    limit = step_limit(W.astype(np.float64), alpha, DEFAULT_TOLERANCE)
    g.add(
        "MonDEQ",
        [g.last, g.weight(W)],
        domain=DOMAIN,
        alpha=alpha,
        tol=DEFAULT_TOLERANCE,
        max_iter=limit,
    )


PARTS = (gemm, matmul_add, relu, arithmetic, residual, concat, slice_back, split_sum, reduce, image)


def drawn_model(rng: np.random.Generator) -> onnx.ModelProto:
    g = Graph(rng)
    parts = [PARTS[int(i)] for i in rng.integers(len(PARTS), size=int(rng.integers(2, 7)))]
    for _ in range(int(rng.integers(0, 3))):
        parts.insert(int(rng.integers(len(parts) + 1)), mondeq)
    for part in parts:
        part(g)
    g.add("Identity", [g.last])
    graph = helper.make_graph(
        g.nodes,
        "drawn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, INPUTS])],
        [helper.make_tensor_value_info(g.last, TensorProto.FLOAT, list(g.shape))],
        [numpy_helper.from_array(value, name) for name, value in g.weights.items()],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)],
        ir_version=IR_VERSION,
    )


@pytest.mark.parametrize("first", range(0, 60, 15))
def test_runtime_output_lies_within_the_error_that_the_statement_allows(first, tmp_path):
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    allowed = []
    for seed in range(first, first + 15):
        rng = np.random.default_rng([81, seed])
        path = tmp_path / f"{seed}.onnx"
        save(drawn_model(rng), path)
        model = load(path)
        q = model.system.output_size
        box = Box.from_floats(np.full(INPUTS, -1.0), np.full(INPUTS, 1.0))
        cases = [(box, [constraint({j: 1.0}, 0.0)]) for j in range(q)]
        query = query_of(cases, INPUTS, q, version="1.0")
        (obligation,) = build_problem(model.system, query, model.element_type).obligations
        session = onnxruntime.InferenceSession(
            model.model_bytes, quiet, providers=["CPUExecutionProvider"]
        )
        x = rng.uniform(-1.0, 1.0, size=(4, INPUTS)).astype(np.float32)
        x[0], x[1] = 1.0, np.sign(x[1])
        computed = [session.run(None, {"x": row[None]})[0].reshape(-1) for row in x]
        solution = FixpointSolver(model.system).solve(x.astype(np.float64))
        c = obligation.rows.coefficients
        for row, y, z, off in zip(x, computed, solution.value, solution.error_bound, strict=True):
            exact = c.on_z @ z + c.on_x @ row + c.offset
            # The float64 evaluation here, and the solver's own distance to the fixpoint.
            own = np.linalg.norm(c.on_z, axis=1) * off + 1e-13 * (1 + np.abs(exact))
            distance = np.abs(y.astype(np.float64) - exact)
            assert np.all(distance <= obligation.rows.error + own), f"seed {seed}"
        allowed.append(obligation.rows.error.max() / (1 + np.abs(computed).max()))
    # The allowance must not be so wide that the law is empty.
    assert np.median(allowed) <= 1e-3
