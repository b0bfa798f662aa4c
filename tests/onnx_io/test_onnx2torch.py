"""Our operators through `onnx2torch`, where it can be imported (docs/operator.md says where)."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="onnx2torch needs PyTorch")
try:
    import onnx2torch  # noqa: F401
except (ImportError, RuntimeError) as error:
    # Beside the CPU build of torch, torchvision fails with RuntimeError (torchvision::nms).
    pytest.skip(f"onnx2torch cannot be imported here: {error}", allow_module_level=True)

from vnn_mondeq.onnx_io.export_arrays import export_arrays  # noqa: E402
from vnn_mondeq.onnx_io.onnx2torch_converter import convert, factorise, register_converters  # noqa: E402
from vnn_mondeq.onnx_io.replay import Replay  # noqa: E402


@pytest.mark.parametrize("form", ["factored", "W"])
@pytest.mark.parametrize("convolutional", [False, True])
def test_converted_module_computes_the_same(
    dense_arrays, convolutional_arrays, rng, form, convolutional
):
    if convolutional:
        model = export_arrays(convolutional_arrays(), form=form, image_size=(10, 10))
        x = rng.random((3, 1, 10, 10)).astype(np.float32)
    else:
        model = export_arrays(dense_arrays(), form=form)
        x = rng.normal(size=(3, 4)).astype(np.float32)
    module = convert(model)
    inputs = torch.from_numpy(x).requires_grad_()
    outputs = module(inputs)
    expected = Replay(model.SerializeToString()).run({"x": x})["y"]
    assert np.allclose(outputs.detach().numpy(), expected, atol=2e-5)
    outputs.sum().backward()
    assert float(inputs.grad.abs().max()) > 0.0


def test_registering_twice_is_harmless():
    register_converters()
    register_converters()


def test_factors_give_back_the_matrix(rng):
    A, B = rng.normal(size=(2, 5, 5))
    W = -2.0 * np.eye(5) - A.T @ A + B - B.T
    P, Q, m = factorise(W)
    P, Q = P.numpy(), Q.numpy()
    again = (1.0 - m) * np.eye(5) - P.T @ P + Q - Q.T
    assert np.allclose(again, W, atol=1e-10)
