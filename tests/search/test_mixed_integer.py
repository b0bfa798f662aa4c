"""Verdicts against a mixed-integer program: drawn deep networks, and trained ReLU networks.

ReLU networks are systems without feedback, so the same engines verify them.
"""

import math
import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import onnx
import pytest
from milp_oracle import MixedIntegerOracle
from onnx import helper, numpy_helper
from oracle import LinearOracle
from strategies import raw_system
from tolerances import ORACLE_RELATIVE

from vnn_mondeq import vnnlib_io
from vnn_mondeq.api import load_model, verify
from vnn_mondeq.result import Verdict

LEAST_MARGIN = 1e-3
"""In logits; well above what float32 evaluation and HiGHS' feasibility tolerance may move."""


@pytest.mark.parametrize("kind", ("plain", "strongly", "feed_forward", "mixed", "integer"))
def test_both_oracles_agree(kind):
    lower, upper = np.array([-1.0, -0.75]), np.array([1.0, 1.25])
    for seed in range(4):
        raw = raw_system(np.random.default_rng([111, seed]), kind, 3 + seed, 2, 1)
        row = (raw.G[0], raw.H[0], float(raw.g[0]))
        truth = LinearOracle(raw.W, raw.U, raw.b, lower, upper).minimum(*row).value
        found = MixedIntegerOracle(raw.W, raw.U, raw.b, lower, upper).minimum(*row)
        assert found == pytest.approx(truth, rel=10 * ORACLE_RELATIVE, abs=10 * ORACLE_RELATIVE)


class Layers:
    """A feed-forward ReLU network: `affine` maps `(matrix (m, n), offset (m,))`, float32."""

    def __init__(self, affine):
        self.affine = [(A.astype(np.float32), c.astype(np.float32)) for A, c in affine]

    def system(self):
        """`W, U, b` of the hidden layers and `G, g`; unscaled, by hand."""
        *hidden, (last, g) = [(A.astype(float), c.astype(float)) for A, c in self.affine]
        sizes = [c.size for _, c in hidden]
        ends = np.cumsum([0, *sizes])
        p, d = ends[-1], hidden[0][0].shape[1]
        W, U, b = np.zeros((p, p)), np.zeros((p, d)), np.concatenate([c for _, c in hidden])
        U[: sizes[0]] = hidden[0][0]
        for k in range(1, len(sizes)):
            W[ends[k] : ends[k + 1], ends[k - 1] : ends[k]] = hidden[k][0]
        G = np.zeros((g.size, p))
        G[:, ends[-2] :] = last
        return W, U, b, G, g

    def output(self, x):
        for A, c in self.affine[:-1]:
            x = np.maximum(A @ x + c, 0.0)
        return self.affine[-1][0] @ x + self.affine[-1][1]

    def dense_model(self, path):
        """Gemm and Relu."""
        return self._saved(path, [], [], "x", self.affine)

    def convolution_model(self, path, kernel, bias, stride):
        """The first map as a Conv of the image `[1, 1, n, n]`."""
        side = math.isqrt(self.affine[0][0].shape[1])
        constants = [
            numpy_helper.from_array(kernel.astype(np.float32), "kernel"),
            numpy_helper.from_array(bias.astype(np.float32), "bias"),
            numpy_helper.from_array(np.array([1, 1, side, side]), "image"),
        ]
        nodes = [
            helper.make_node("Reshape", ["x", "image"], ["picture"]),
            helper.make_node(
                "Conv", ["picture", "kernel", "bias"], ["maps"], strides=[stride, stride]
            ),
            helper.make_node("Relu", ["maps"], ["positive"]),
            helper.make_node("Flatten", ["positive"], ["flat"]),
        ]
        return self._saved(path, nodes, constants, "flat", self.affine[1:])

    def _saved(self, path, nodes, constants, at, affine):
        for k, (A, c) in enumerate(affine):
            constants += [
                numpy_helper.from_array(A.T.copy(), f"A{k}"),
                numpy_helper.from_array(c, f"c{k}"),
            ]
            is_last = k == len(affine) - 1
            nodes.append(
                helper.make_node("Gemm", [at, f"A{k}", f"c{k}"], ["y" if is_last else f"v{k}"])
            )
            if not is_last:
                at = f"z{k}"
                nodes.append(helper.make_node("Relu", [f"v{k}"], [at]))
        d, q = self.affine[0][0].shape[1], self.affine[-1][1].size
        graph = helper.make_graph(
            nodes,
            "layers",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, d])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, q])],
            constants,
        )
        opsets = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
        return load_model(path)


def decided(model, layers, x, epsilon, clip, timeout=20.0) -> Verdict | None:
    """The verdict, compared with the oracle's; none where the margin is too small to tell."""
    x = x.astype(np.float32).astype(float)
    label = int(np.argmax(layers.output(x)))
    q = layers.affine[-1][1].size
    text = vnnlib_io.robustness_query(
        x, label, math.inf, Fraction(epsilon), classes=q,
        clip=(Fraction(0), Fraction(1)) if clip else None,
        input_shape=(1, x.size), output_shape=(1, q), element_type=model.element_type,
    )  # fmt: skip
    result = verify(model, vnnlib_io.parse(text), timeout=timeout)
    W, U, b, G, g = layers.system()
    lower, upper = x - float(Fraction(epsilon)), x + float(Fraction(epsilon))
    if clip:
        lower, upper = np.maximum(lower, 0.0), np.minimum(upper, 1.0)
    oracle = MixedIntegerOracle(W, U, b, lower, upper)
    margin = min(
        oracle.minimum(G[label] - G[k], np.zeros(x.size), g[label] - g[k])
        for k in range(q)
        if k != label
    )
    if abs(margin) < LEAST_MARGIN * (1.0 + np.abs(g).max()):
        return None
    assert result.verdict is (Verdict.UNSAT if margin > 0.0 else Verdict.SAT), (margin, result)
    return result.verdict


def test_drawn_deep_networks(tmp_path):
    """Up to 12 neurons in two or three layers, small and large regions, random weights."""
    verdicts = []
    for seed, sizes in enumerate([(6, 6), (4, 4, 4), (2, 8, 2)] * 4):
        rng = np.random.default_rng([112, seed])
        widths = (3, *sizes, 3)
        affine = [
            (rng.normal(size=(m, n)) * 1.5 / np.sqrt(n), 0.3 * rng.normal(size=m))
            for n, m in pairwise(widths)
        ]
        layers = Layers(affine)
        model = layers.dense_model(tmp_path / f"{seed}.onnx")
        x = rng.uniform(-1.0, 1.0, size=3)
        verdicts += [decided(model, layers, x, e, clip=False) for e in ("0.1", "1.5")]
    assert verdicts.count(Verdict.SAT) >= 4
    assert verdicts.count(Verdict.UNSAT) >= 8


@pytest.fixture(scope="module")
def digits():
    data = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    loaded = data.load_digits()
    return loaded.data / 16.0, loaded.target


def trained(features, labels, hidden):
    """Weights of a small classifier; a fixed number of steps, converged or not."""
    from sklearn.neural_network import MLPClassifier

    classifier = MLPClassifier(hidden, random_state=0, max_iter=40, alpha=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifier.fit(features, labels)
    return [(A.T, c) for A, c in zip(classifier.coefs_, classifier.intercepts_, strict=True)]


def test_a_dense_network_trained_on_digits(digits, tmp_path):
    images, labels = digits
    layers = Layers(trained(images[:800], labels[:800], (14, 12)))
    model = layers.dense_model(tmp_path / "dense.onnx")
    verdicts = [
        decided(model, layers, images[1200 + i], e, clip=True)
        for i in range(3)
        for e in ("0.02", "0.06")
    ]
    assert {Verdict.SAT, Verdict.UNSAT} <= set(verdicts)


def test_a_convolutional_network_trained_on_digits(digits, tmp_path):
    """Drawn filters, a trained classifier on them."""
    images, labels = digits
    rng = np.random.default_rng(113)
    kernel, bias = rng.normal(size=(3, 1, 4, 4)) / 2.0, 0.1 * rng.normal(size=3)
    first = as_matrix(kernel, stride=2), np.repeat(bias, 9)
    features = np.maximum(images @ first[0].T + first[1], 0.0)
    layers = Layers([first, *trained(features[:800], labels[:800], (10,))])
    model = layers.convolution_model(tmp_path / "conv.onnx", kernel, bias, 2)
    verdicts = [
        decided(model, layers, images[1200 + i], e, clip=True)
        for i in range(3)
        for e in ("0.02", "0.06")
    ]
    assert {Verdict.SAT, Verdict.UNSAT} <= set(verdicts)


def as_matrix(kernel, stride):
    """The convolution of an 8x8 image without padding, `(channels * m * m, 64)`, by definition."""
    channels, _, size, _ = kernel.shape
    steps = range(0, 8 - size + 1, stride)
    rows = []
    for channel in range(channels):
        for top in steps:
            for left in steps:
                image = np.zeros((8, 8))
                image[top : top + size, left : left + size] = kernel[channel, 0]
                rows.append(image.ravel())
    return np.array(rows)
