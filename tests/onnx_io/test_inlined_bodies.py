"""Our function bodies after `onnx.inliner`: read as the operators that they were."""

import numpy as np
import onnx
import pytest
from onnx import compose, inliner, numpy_helper

from vnn_mondeq.errors import UnsupportedModelError
from vnn_mondeq.onnx_io.export_arrays import export_arrays
from vnn_mondeq.onnx_io.load import compile_model
from vnn_mondeq.onnx_io.replay import Replay


@pytest.fixture(params=["dense", "dense W", "convolution", "convolution K"])
def model(request, dense_arrays, convolutional_arrays) -> onnx.ModelProto:
    form = "factored" if " " not in request.param else "W"
    if request.param.startswith("dense"):
        return export_arrays(dense_arrays(), form=form)
    return export_arrays(convolutional_arrays(), form=form, image_size=(10, 10))


def test_an_inlined_model_means_the_same(model):
    inlined = inliner.inline_local_functions(model)
    assert not inlined.functions
    assert any(node.op_type == "Loop" for node in inlined.graph.node)
    before, after = compile_model(model), compile_model(inlined)
    for left, right in zip(_arrays(before.system), _arrays(after.system), strict=True):
        assert np.array_equal(left, right)
    assert before.system.blocks[0].solver_error == after.system.blocks[0].solver_error
    # The runtime still gets the file's own graph.
    assert not onnx.load_model_from_string(after.model_bytes).functions
    (shape,) = after.inputs.values()
    x = {"x": np.random.default_rng(0).random(shape).astype(np.float32)}
    runs = [Replay(loaded.model_bytes).run(x)["y"] for loaded in (before, after)]
    assert np.array_equal(*runs)


def _arrays(system):
    parts = (system.preactivation, system.output)
    sets = [c for p in parts for c in (p.coefficients, p.radius, p.runtime) if c is not None]
    return [array for c in sets for array in (c.on_z, c.on_x, c.offset)]


@pytest.mark.parametrize("form", ["factored", "W"])
def test_two_layers_are_found(dense_arrays, form):
    model = export_arrays(dense_arrays(), form=form)
    second = onnx.ModelProto()
    second.CopyFrom(model)
    for tensor in second.graph.initializer:
        if tensor.name == "U":
            U = numpy_helper.to_array(tensor)[:, :3]
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(U), "U"))
    second.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    both = compose.merge_models(model, second, io_map=[("y", "x")], prefix1="a_", prefix2="b_")
    inlined = inliner.inline_local_functions(both)
    assert [b.feedback for b in compile_model(inlined).system.blocks] == [True, True]


def test_the_order_of_nodes_and_their_names_do_not_matter(model):
    inlined = inliner.inline_local_functions(model)
    for node in inlined.graph.node:
        node.name = ""
    reference = compile_model(model).system
    # Constants first: another order that is still topological.
    nodes = sorted(inlined.graph.node, key=lambda n: n.op_type != "Constant")
    del inlined.graph.node[:]
    inlined.graph.node.extend(nodes)
    assert np.array_equal(compile_model(inlined).system.W, reference.W)


@pytest.mark.parametrize("hidden", ["scaled_input", "step_transposed"])
def test_a_body_whose_input_hides_an_outer_tensor_is_another_body(dense_arrays, hidden):
    """The checker and onnxruntime admit it: what reads the outer tensor then reads the state."""
    inlined = inliner.inline_local_functions(export_arrays(dense_arrays()))
    loop = next(node for node in inlined.graph.node if node.op_type == "Loop")
    body = loop.attribute[0].g
    names = {o for node in inlined.graph.node for o in node.output}
    outer = next(name for name in names if name.startswith(hidden))
    state = body.input[2].name
    body.input[2].name = outer
    for node in body.node:
        node.input[:] = [outer if name == state else name for name in node.input]
    onnx.checker.check_model(inlined)
    with pytest.raises(UnsupportedModelError):
        compile_model(inlined)


def _mutations(graph: onnx.GraphProto):
    """Changes of one place each, to the loop and around it."""
    loop = next(node for node in graph.node if node.op_type == "Loop")
    body = loop.attribute[0].g
    for target in body.node:
        if target.op_type in ("Add", "Max"):
            yield lambda t=target: setattr(t, "op_type", {"Add": "Sub", "Max": "Min"}[t.op_type])
            break
    greater = next(n for n in body.node if n.op_type == "Greater")
    yield lambda: setattr(greater, "op_type", "Less")
    where = next(n for n in body.node if n.op_type == "Where")
    yield lambda: where.input.__setitem__(
        slice(0, 3), [where.input[0], where.input[2], where.input[1]]
    )
    one = next(
        n
        for n in graph.node
        if n.op_type == "Constant"
        and n.attribute[0].name == "value"
        and n.attribute[0].t.dims == []
        and n.attribute[0].t.data_type == onnx.TensorProto.DOUBLE
    )
    yield lambda: one.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array(1.5)))
    relu = next(n for n in body.node if n.op_type == "Relu")
    yield lambda: setattr(relu, "op_type", "Abs")


def test_an_omitted_input_is_not_taken_for_the_bodys(convolutional_arrays):
    """Without its steps a `Slice` does not flip the kernel."""
    model = export_arrays(convolutional_arrays(), image_size=(10, 10))
    inlined = inliner.inline_local_functions(model)
    flip = next(n for n in inlined.graph.node if n.op_type == "Slice" and len(n.input) == 5)
    flip.input[4] = ""
    onnx.checker.check_model(inlined)
    with pytest.raises(UnsupportedModelError):
        compile_model(inlined)


@pytest.mark.parametrize("which", range(5))
def test_a_changed_body_is_not_taken_for_ours(dense_arrays, which):
    inlined = inliner.inline_local_functions(export_arrays(dense_arrays()))
    list(_mutations(inlined.graph))[which]()
    with pytest.raises(UnsupportedModelError):
        compile_model(inlined)
