"""Write the properties and instance lists of this benchmark, anew and the same for every SEED.

    python generate_properties.py SEED

Needs Python 3.8 or newer, numpy and onnxruntime, and the files beside it: `parameters.json`,
`images/` and the models in `1.0/onnx/`. Writes `1.0/` and `2.0/` (`vnnlib/*.vnnlib` and
`instances.csv`, with paths relative to that folder; the same instances in the same order), and
`instances.csv` here, which is the list of 1.0 seen from here.

Each property asks for an input within an L-infinity ball around an image, clipped to the range of
pixels, that some other class scores at least as high as the image's own. SEED chooses the images,
among those that the model classifies correctly. Bounds are exact decimals.
"""

import csv
import decimal
import itertools
import json
import math
import shutil
import sys
from pathlib import Path
from typing import final

import numpy as np
import onnxruntime

VERSIONS = ("1.0", "2.0")
ELEMENT_TYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}

EXACT = decimal.Context(prec=2000)
"""More digits than the difference of two floats can have."""


class BenchmarkError(Exception):
    """The folder does not hold what the properties need; the message says what."""


@final
class Model:
    """A model as onnxruntime sees it.

    - `shape`, `output_shape`: with symbolic batch sizes as 1.
    - `element_type`: `float32` or `float64`.
    """

    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        (self._input,), (output,) = self._session.get_inputs(), self._session.get_outputs()
        self.shape = whole_shape(self._input.shape)
        self.output_shape = whole_shape(output.shape)
        self.element_type = ELEMENT_TYPES[self._input.type]

    def predict(self, image):
        x = image.astype(self.element_type).reshape(self.shape)
        return int(np.argmax(self._session.run(None, {self._input.name: x})[0]))


def whole_shape(sizes):
    return tuple(size if isinstance(size, int) else 1 for size in sizes)


def generate(folder, seed):
    """Write everything that follows from SEED into `folder`. **Raises** `BenchmarkError`."""
    parameters = json.loads((folder / "parameters.json").read_text(encoding="utf-8"))
    instances = []
    for number, entry in enumerate(parameters["models"]):
        instances += model_instances(folder, entry, np.random.default_rng([seed, number]))
    for version in VERSIONS:
        texts = folder / version / "vnnlib"
        shutil.rmtree(str(texts), ignore_errors=True)
        texts.mkdir(parents=True)
        for name, _, bounds, model, label in instances:
            text = WRITERS[version](bounds, model, label)
            (texts / (name + ".vnnlib")).write_bytes(text.encode("ascii"))
        write_list(folder / version / "instances.csv", instances, "")
    write_list(folder / "instances.csv", instances, VERSIONS[0] + "/")


def model_instances(folder, entry, random):
    """Name, entry, bounds, model and label of each instance of one model."""
    model = Model(folder / VERSIONS[0] / "onnx" / (entry["name"] + ".onnx"))
    with np.load(str(folder / "images" / (entry["name"] + ".npz"))) as data:
        images, labels = data["images"], data["labels"]
    if images[0].size != math.prod(model.shape):
        raise BenchmarkError(
            "{}: an image has {} numbers, but the model takes {}".format(
                entry["name"], images[0].size, list(model.shape)
            )
        )
    chosen = []
    for index in random.permutation(len(labels)):
        if len(chosen) == entry["count"]:
            break
        if model.predict(images[index]) == labels[index]:
            chosen.append(int(index))
    if len(chosen) < entry["count"]:
        raise BenchmarkError(
            "{}: {} images are asked for, but the model classifies only {} of {} correctly".format(
                entry["name"], entry["count"], len(chosen), len(labels)
            )
        )
    return [
        (
            "{}_{}_{}".format(entry["name"], index, radius),
            entry,
            exact_bounds(images[index].astype(model.element_type), radius, entry["clip"]),
            model,
            int(labels[index]),
        )
        for index in sorted(chosen)
        for radius in entry["radii"]
    ]


def exact_bounds(image, radius, clip):
    """Decimal texts of the lower and upper bound of each pixel."""
    low, high = (decimal.Decimal(end) for end in clip)
    bounds = []
    for value in image.reshape(-1).tolist():
        middle = decimal.Decimal(value)
        lower = max(EXACT.subtract(middle, decimal.Decimal(radius)), low)
        upper = min(EXACT.add(middle, decimal.Decimal(radius)), high)
        bounds.append((decimal_text(lower), decimal_text(upper)))
    return bounds


def decimal_text(value):
    """With a point and without an exponent, as VNN-LIB 2.0 wants numbers."""
    text = format(value, "f")
    return text if "." in text else text + ".0"


def unsafe_lines(label, classes, name):
    """Some other class scores at least as high."""
    yield "(assert (or"
    for other in range(classes):
        if other != label:
            yield f"    (and (<= {name(label)} {name(other)}))"
    yield "))"


def text_version_1(bounds, model, label):
    classes = math.prod(model.output_shape)
    lines = [f"; unsafe: a class scores at least as high as class {label}"]
    lines += [f"(declare-const X_{i} Real)" for i in range(len(bounds))]
    lines += [f"(declare-const Y_{i} Real)" for i in range(classes)]
    for i, (lower, upper) in enumerate(bounds):
        lines += [f"(assert (>= X_{i} {lower}))", f"(assert (<= X_{i} {upper}))"]
    lines += unsafe_lines(label, classes, "Y_{}".format)
    return "\n".join(lines) + "\n"


def text_version_2(bounds, model, label):
    lines = [
        "(vnnlib-version <2.0>)",
        f"; unsafe: a class scores at least as high as class {label}",
        "(declare-network f",
        f"(declare-input X {model.element_type} [{comma(model.shape)}])",
        f"(declare-output Y {model.element_type} [{comma(model.output_shape)}])",
        ")",
    ]
    name_x, name_y = element_names("X", model.shape), element_names("Y", model.output_shape)
    for i, (lower, upper) in enumerate(bounds):
        name = name_x[i]
        lines += [f"(assert (>= {name} {lower}))", f"(assert (<= {name} {upper}))"]
    lines += unsafe_lines(label, len(name_y), lambda i: name_y[i])
    return "\n".join(lines) + "\n"


WRITERS = {"1.0": text_version_1, "2.0": text_version_2}


def comma(sizes):
    return ",".join(str(size) for size in sizes)


def element_names(name, shape):
    """Of a tensor's elements, row-major: `X[0,0]`, `X[0,1]`, …"""
    return [f"{name}[{comma(at)}]" for at in itertools.product(*map(range, shape))]


def write_list(path, instances, prefix):
    with path.open("w", newline="", encoding="ascii") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        for name, entry, _, _, _ in instances:
            network = "{}onnx/{}.onnx".format(prefix, entry["name"])
            rows.writerow([network, f"{prefix}vnnlib/{name}.vnnlib", entry["timeout"]])


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].isdigit():
        raise SystemExit("usage: python generate_properties.py SEED")
    generate(Path(__file__).resolve().parent, int(sys.argv[1]))
