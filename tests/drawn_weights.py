"""Small monDEQs as arrays, in the layout of `vnn-mondeq export`."""

import numpy as np


def dense_weights(
    rng: np.random.Generator, neurons: int, inputs: int, classes: int, spread: float = 0.5
) -> dict[str, np.ndarray]:
    """A drawn fully connected layer with `m = 1`; `spread`: size of the entries of `A` and `B`."""
    return {
        "A": rng.normal(size=(neurons, neurons)) * spread,
        "B": rng.normal(size=(neurons, neurons)) * spread,
        "m": np.array(1.0),
        "U": rng.normal(size=(neurons, inputs)),
        "u": rng.normal(size=neurons),
        "C": rng.normal(size=(classes, neurons)),
        "c": rng.normal(size=classes),
    }
