"""Systems that several test modules draw: random ones, layered ones, reference networks."""

import numpy as np

from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.implicit import Block, ImplicitSystem, dense_system
from vnn_mondeq.system.monotone import prove_strong_monotonicity

REFERENCES = {
    "fc40_mnist": "mnist_test_first1000",
    "fc87_mnist": "mnist_test_first1000",
    "fc200_mnist": "mnist_test_first1000",
    "fc200_cifar10": "cifar10_test_first100",
    "fc100_hcas": "hcas_sample2000",
}


def draw_system(generator, neurons=12, inputs=5, modulus=1.0, outputs=3):
    """A random strongly monotone system with the given modulus."""
    A = generator.standard_normal((neurons, neurons))
    B = generator.standard_normal((neurons, neurons))
    W = (1.0 - modulus) * np.eye(neurons) - A.T @ A / neurons + B - B.T
    return dense_system(
        W,
        generator.standard_normal((neurons, inputs)),
        generator.standard_normal(neurons),
        generator.standard_normal((outputs, neurons)),
        generator.standard_normal(outputs),
    )


def layered_system(generator, sizes=((4, False), (6, True), (3, False), (5, True)), inputs=4):
    """Feed-forward and equilibrium blocks one after another, every block seeing all before it."""
    p = sum(size for size, _ in sizes)
    W, blocks, start = np.zeros((p, p)), [], 0
    for index, (size, feedback) in enumerate(sizes):
        stop = start + size
        W[start:stop, :start] = 0.1 * generator.standard_normal((size, start))
        if feedback:
            B = generator.standard_normal((size, size))
            W[start:stop, start:stop] = -np.eye(size) + B - B.T
        blocks.append(Block(str(index), start, stop, feedback, 1.0, size, np.arange(size)))
        start = stop
    U, b = generator.standard_normal((p, inputs)), generator.standard_normal(p)
    return ImplicitSystem(
        AffineMap(Coefficients(W, U, b)),
        AffineMap(Coefficients(np.eye(p), np.zeros((p, inputs)), np.zeros(p))),
        tuple(blocks),
        prove_strong_monotonicity(W),
        {"x": (inputs,)},
        {"y": (p,)},
    )


def load_reference(folder, name):
    """System and the first 100 normalised inputs of a reference network."""
    data = np.load(folder / f"{name}.npz")
    m, A, B = float(data["m"]), data["A"], data["B"]
    W = (1.0 - m) * np.eye(A.shape[0]) - A.T @ A + B - B.T
    system = dense_system(W, data["U"], data["u"], data["C"], data["c"])
    inputs = np.load(folder / f"{REFERENCES[name]}.npz")
    if "images" in inputs.files:
        pixels = inputs["images"][:100].reshape(100, data["mean"].size, -1) / 255.0
    else:
        pixels = inputs["inputs"][:100, :, None]
    x = (pixels - data["mean"][:, None]) / data["std"][:, None]
    return system, x.reshape(100, -1), data
