"""The README of a benchmark's folder: what a verifier's author has to know."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vnn_mondeq.benchmark_maker.folder import Entry

_HEAD = """# Robustness of monotone-operator equilibrium networks (monDEQ)

The hidden layer of these classifiers is the fixpoint `z = ReLU(W z + U x + b)`; it is unique
because `I - W` is strongly monotone. Each property asks for an input within an L-infinity ball
around a correctly classified image, clipped to the range of pixels, that some other class scores
at least as high as the image's own class. `sat`: there is one.

| model | inputs | neurons | outputs | instances | radii | time limit (s) | images |
|---|--:|--:|--:|--:|---|--:|---|
"""

_TAIL = """
    python generate_properties.py SEED     # numpy and onnxruntime; this folder is of SEED {seed}

`1.0/` and `2.0/` hold the same instances in both versions of VNN-LIB, in the same order, each with
its own `instances.csv`, models and properties; `instances.csv` here is the list of 1.0. Bounds are
exact decimals of the images' floats. The time limits add up to {minutes} minutes.

## Reading the models

The fixpoint is one node of the domain `ai.vnn_mondeq` with a model-local function as its body: a
`Loop` of linear maps and Relu that stock onnxruntime (1.20 or newer) runs as it is, so that
counterexamples can be replayed without any extension. The exact fixpoint is what the model means;
the loop stops near it, where its attribute `tol` or `max_iter` says. A verifier that knows no
fixpoints can inline the function (`onnx.inliner.inline_local_functions`) and treat the `Loop`.
"""


def page(entries: Sequence["Entry"], seed: int) -> str:
    """Markdown."""
    rows = "".join(_row(entry) for entry in entries)
    minutes = -(-sum(entry.seconds for entry in entries) // 60)
    return _HEAD + rows + _TAIL.format(seed=seed, minutes=minutes)


def _row(entry: "Entry") -> str:
    system = entry.model.system
    cells = (
        entry.name,
        system.input_size,
        system.neurons,
        system.output_size,
        entry.count * len(entry.radii),
        ", ".join(entry.radii),
        entry.timeout,
        entry.source,
    )
    return f"| {' | '.join(map(str, cells))} |\n"
