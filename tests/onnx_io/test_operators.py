"""Every operator of the table against onnxruntime, with drawn shapes and attributes.

The canonical system is compared where it is exact; where an operator is relaxed, the runtime's
value must lie between those of the system with all auxiliary inputs at either end of their bounds
(each model here depends on them monotonically), and on a single point these must nearly meet.
"""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from operator_cases import CASES, Case

from vnn_mondeq.errors import UnsupportedModelError
from vnn_mondeq.onnx_io.curve import UNARY
from vnn_mondeq.onnx_io.load import LoadedModel, load
from vnn_mondeq.onnx_io.operator import DOMAIN
from vnn_mondeq.onnx_io.operator_table import TABLE
from vnn_mondeq.onnx_io.relaxation import RUNTIME_UNITS
from vnn_mondeq.rounding import UNIT32
from vnn_mondeq.system.solve import FixpointSolver

DRAWS = 3
FLOAT32 = 3e-6
"""What the float32 runtime may differ from the float64 system, relative to `1 + |y|`."""


def _runtime(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    data = model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _between(model: LoadedModel, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs with all auxiliary inputs low, and all high, sorted; `(q,)` each."""
    system = model.system
    ends = (system.auxiliary_lower, system.auxiliary_upper)
    points = np.array([np.concatenate([x.astype(np.float64).reshape(-1), end]) for end in ends])
    y = system.output(FixpointSolver(system).solve(points).value, points)
    return y.min(axis=0), y.max(axis=0)


@pytest.mark.parametrize("operator", sorted(CASES))
def test_operator_means_what_the_runtime_computes(operator, tmp_path):
    used = set()
    for number, draw in enumerate(CASES[operator] * DRAWS):
        rng = np.random.default_rng([71, number])
        case = draw(rng)
        used.update(node.op_type for node in case.nodes)
        runtime = _runtime(case.model())
        zeros = np.full([int(n) for n in case.shape], case.upper, dtype=np.float32)
        shape = list(runtime.run(None, {"x": zeros})[0].shape)
        path = tmp_path / f"{number}.onnx"
        onnx.save(case.model(shape), path)
        _compare(case, load(path), runtime, rng)
    assert operator in used


def _compare(case: Case, model: LoadedModel, runtime, rng) -> None:
    size = int(np.prod(case.shape))
    low = rng.uniform(case.lower, case.upper, size=size).astype(np.float32)
    high = np.minimum(low + rng.uniform(0.0, 3.0, size=size), case.upper).astype(np.float32)
    ends = low.astype(np.float64), high.astype(np.float64)
    grades = [model.on_box(*ends, knots=knots) for knots in (False, True)]
    for point in (low, high, *rng.uniform(low, high, size=(2, size))):
        x = np.clip(point.astype(np.float32), low, high)
        computed = runtime.run(None, {"x": x.reshape(case.shape)})[0]
        y = computed.astype(np.float64).reshape(-1)
        slip = FLOAT32 * (1.0 + np.abs(y))
        for whole in grades:
            least, most = _between(whole, x)
            assert np.all(least - slip <= y) and np.all(y <= most + slip)
        wide = x.astype(np.float64)
        least, most = _between(model.on_box(wide, wide), x)
        assert np.all(least - slip <= y) and np.all(y <= most + slip)
        assert np.all(most - least <= 1e-3 * (1.0 + np.abs(y)))
        assert tuple(computed.shape) == model.outputs["y"]


def test_every_operator_has_a_case():
    standard = {name for domain, name in TABLE if domain != DOMAIN}
    # Loops have tests of their own, test_loops.py.
    assert standard == CASES.keys() | {"Loop"}


def test_the_page_lists_the_table():
    page = (Path(__file__).parents[2] / "docs" / "operators.md").read_text()
    listed = re.findall(
        r"^\| `(\w+)` \| (linear|ReLU|linear or bounds|bounds|fixpoint) \|", page, re.M
    )
    assert [name for name, _ in listed] == sorted([*CASES, "Loop"])


@pytest.mark.parametrize("operator", sorted({*UNARY, "Elu", "Selu", "Celu", "Gelu"}))
def test_runtime_keeps_to_the_error_allowed_for_elementary_functions(operator):
    """`RUNTIME_UNITS` is an assumption; this measures it on a dense grid. Half of it is left."""
    for draw in CASES[operator]:
        case = draw(np.random.default_rng(0))
        case.shape = (1, 40_001)
        positive = operator in ("Log", "Sqrt")
        x = np.linspace(1e-3 if positive else -30.0, 30.0, case.shape[1]).astype(np.float32)
        x = np.clip(x, -80.0, 80.0)
        y = _runtime(case.model()).run(None, {"x": x[None]})[0].reshape(-1).astype(np.float64)
        exact = _reference(operator, case.nodes[0], x.astype(np.float64))
        assert np.all(np.abs(y - exact) <= 0.5 * RUNTIME_UNITS * UNIT32 * (1.0 + np.abs(exact)))


def _reference(operator: str, node: onnx.NodeProto, x: np.ndarray) -> np.ndarray:
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    from vnn_mondeq.onnx_io import curve

    if operator in UNARY:
        return UNARY[operator].value(x)
    if operator == "Gelu":
        return curve.GELU.value(x)
    alpha = given.get("alpha", 1.6732631921768188 if operator == "Selu" else 1.0)
    if operator == "Selu":
        return curve.elu(alpha, scale=given.get("gamma", 1.0507010221481323)).value(x)
    return curve.elu(alpha, stretch=alpha if operator == "Celu" else 1.0).value(x)


REFUSED = {
    "MaxPool": ("output of indices", lambda c: c.add("MaxPool", "x", outputs=2, kernel_shape=[2])),
    "Conv": ("constant of the file", lambda c: c.add("Conv", "x", "x")),
    "Resize": (
        "only mode nearest",
        lambda c: c.add("Resize", "x", "", c.weight([1, 1, 2]), mode="linear"),
    ),
    "Resize by a fraction": (
        "not whole",
        lambda c: c.add("Resize", "x", "", c.weight([1, 1, 1.5]), mode="nearest"),
    ),
    "MatMul": ("constant of the file", lambda c: c.add("MatMul", "x", "x")),
    "Gelu": ("exact Gelu", lambda c: c.add("Gelu", "x", approximate="tanh")),
    "Pow": ("constant exponent", lambda c: c.add("Pow", "x", "x")),
    "Clip": ("above max", lambda c: c.add("Clip", "x", c.weight(1.0), c.weight(0.0))),
    "Cast": ("not supported", lambda c: c.add("Cast", "x", to=TensorProto.UINT8)),
    "Det": ("unsupported operators", lambda c: c.add("Det", "x")),
    "ConvTranspose": (
        "output_shape",
        lambda c: c.add("ConvTranspose", "x", c.normal(4, 1, 3), output_shape=[5]),
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_not_understood_is_refused(name, tmp_path):
    message, build = REFUSED[name]
    case = Case(np.random.default_rng(3), (1, 4, 4), opset=20)
    build(case)
    path = tmp_path / "refused.onnx"
    onnx.save(case.model([1]), path)
    with pytest.raises(UnsupportedModelError, match=message):
        load(path)
