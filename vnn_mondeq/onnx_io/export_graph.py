"""A float32 graph around one monDEQ node, under construction: what all exporters share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from vnn_mondeq.errors import ModelError
from vnn_mondeq.onnx_io.function_body import function_body
from vnn_mondeq.onnx_io.operator import DEFAULT_TOLERANCE, DOMAIN, IR_VERSION, OPSET, VERSION
from vnn_mondeq.onnx_io.step_size import choose_alpha, step_limit


@final
@dataclass(slots=True)
class ExportGraph:
    """Nodes, weights (rounded to float32) and declared shapes, in the order of their addition."""

    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    values: list[ValueInfoProto] = field(default_factory=list)

    def weight(self, name: str, value: np.ndarray) -> str:
        """Store a tensor; floats as float32. **Raises** `ModelError` where one is not finite."""
        array = np.asarray(value)
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                array = array.astype(np.float32)
            if not np.all(np.isfinite(array)):
                raise ModelError(f"array {name!r} has entries that are not finite in float32")
        self.weights[name] = array
        return name

    def integers(self, name: str, *values: int) -> str:
        return self.weight(name, np.array(values, dtype=np.int64))

    def wide(self, name: str) -> str:
        """A tensor in double precision."""
        return self.add("Cast", [name], f"{name}_wide", to=TensorProto.DOUBLE)

    def add(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        name = f"{operator}_{output}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name, **attributes))
        return output

    def normalise(
        self, x: str, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], *, wide: bool
    ) -> str:
        """`(x - mean) / std` where `arrays` holds both, in double precision if `wide`.

        `shape`: of one input without the batch.
        """
        if wide:
            x = self.wide(x)
        if ("mean" in arrays) != ("std" in arrays):
            raise ModelError("the weights have only one of mean and std; give both or neither")
        if "mean" not in arrays:
            return x
        mean, std = np.atleast_1d(arrays["mean"]), np.atleast_1d(arrays["std"])
        channels, size = mean.size, shape[0]
        fits = channels > 0 and mean.shape == std.shape and mean.ndim == 1 and size % channels == 0
        if not fits:
            raise ModelError(
                f"mean {list(mean.shape)} and std {list(std.shape)} do not fit inputs {list(shape)}"
            )
        if not np.all(std.astype(np.float32) > 0.0):
            raise ModelError("std has entries that are not positive")
        repeat = 1 if len(shape) > 1 else size // channels
        target = (1, -1) + (1,) * (len(shape) - 1)
        names = []
        for name, values in (("mean", mean), ("std", std)):
            self.weight(name, np.repeat(values, repeat).reshape(target))
            names.append(self.wide(name) if wide else name)
        self.add("Sub", [x, names[0]], "x_centred")
        return self.add("Div", ["x_centred", names[1]], "x_normalised")

    def wide_gemm(self, x: str, weight: str, bias: str, output: str) -> None:
        """`output = weight x + bias` in double precision, for a double `x`, rounded to float32."""
        inputs = [x, self.wide(weight), self.wide(bias)]
        self.add("Gemm", inputs, f"{output}_double", transB=1)
        self.add("Cast", [f"{output}_double"], output, to=TensorProto.FLOAT)

    def pad_circularly(self, x: str) -> None:
        """`x_padded`: one wrapped row and column on every side, as slices put together, because
        `Pad` wraps only since opset 19."""
        for name, value in (("first", 0), ("second", 1), ("last", -1), ("end", 2**62)):
            self.integers(name, value)
        for axis, before, after in ((2, x, "x_tall"), (3, "x_tall", "x_padded")):
            self.integers(f"axis_{axis}", axis)
            top = self.add("Slice", [before, "last", "end", f"axis_{axis}"], f"{after}_before")
            low = self.add("Slice", [before, "first", "second", f"axis_{axis}"], f"{after}_after")
            self.add("Concat", [top, before, low], after, axis=axis)

    def mondeq(
        self,
        operator: str,
        inputs: list[str],
        attributes: Mapping[str, float],
        W: np.ndarray,
        shape: tuple[int, ...],
    ) -> str:
        """The equilibrium layer `z [N, *shape]`, with a step size for the feedback matrix `W` of
        its kept neurons."""
        alpha = choose_alpha(W)
        self.add(
            operator,
            inputs,
            "z",
            domain=DOMAIN,
            alpha=alpha,
            tol=DEFAULT_TOLERANCE,
            max_iter=step_limit(W, alpha, DEFAULT_TOLERANCE),
            **attributes,
        )
        self.values.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", *shape]))
        return "z"

    def model(self, operator: str, input_shape: tuple[int, ...], outputs: int) -> onnx.ModelProto:
        """The model `x [N, *input_shape]` to `y [N, outputs]` with the operator's body."""
        proto = helper.make_graph(
            self.nodes,
            "mondeq",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *input_shape])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", outputs])],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
            value_info=self.values,
        )
        return helper.make_model(
            proto,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)],
            functions=[function_body(operator)],
            ir_version=IR_VERSION,
            producer_name="vnn_mondeq",
        )
