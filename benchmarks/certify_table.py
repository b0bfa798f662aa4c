"""Verdicts and times on reference networks, through the whole road: ONNX file, VNN-LIB text, gate.

    OPENBLAS_NUM_THREADS=1 python benchmarks/certify_table.py DATA_FOLDER fc87_mnist \
        [--epsilon 0.05] [--norm inf|2] [--region clipped|unclipped] [--backend auto] \
        [--images 100] [--timeout 60] [--records FOLDER]

`DATA_FOLDER` holds `.npz` networks (the layout that `vnn-mondeq export` reads) and images. Epsilon
is in pixel units; `clipped` means the ball intersected with [0, 1]. An image becomes a VNN-LIB 2.0
query about the exported ONNX file. One JSON line for each image goes to `FOLDER/<run>.jsonl`, after
a first line with the manifest; a run that was stopped goes on where it was. Misclassified images
are counted, not verified. Seconds are wall-clock and include the gate, not loading the model.
"""

import argparse
import hashlib
import json
import math
import os
import platform
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

import vnn_mondeq
from vnn_mondeq import vnnlib_io
from vnn_mondeq.api import load_model, verify
from vnn_mondeq.onnx_io.export_arrays import export_arrays
from vnn_mondeq.onnx_io.save import save
from vnn_mondeq.system.solve import FixpointSolver

IMAGES = {"mnist": "mnist_test_first1000.npz", "cifar10": "cifar10_test_first100.npz"}


def manifest(arguments: argparse.Namespace, weights: Path) -> dict[str, object]:
    """What is needed to repeat the run."""
    import onnxruntime
    import scipy

    return {
        "manifest": True,
        "vnn_mondeq": vnn_mondeq.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "threads": os.environ.get("OPENBLAS_NUM_THREADS", "all"),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "settings": {
            key: str(value)
            for key, value in vars(arguments).items()
            if key not in ("data", "records", "images")
        },
    }


def exported_model(weights: Path):
    """The network as users have it: exported to ONNX, read back."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        with np.load(weights) as arrays:
            save(export_arrays(dict(arrays)), path)
        return load_model(path)


def query_text(model, x: np.ndarray, label: int, arguments: argparse.Namespace) -> str:
    """The property of one image."""
    (input_shape,) = model.system.inputs.values()
    (output_shape,) = model.system.outputs.values()
    clip = (Fraction(0), Fraction(1)) if arguments.region == "clipped" else None
    return vnnlib_io.robustness_query(
        x,
        label,
        {"inf": math.inf, "2": 2}[arguments.norm],
        arguments.epsilon,
        classes=model.system.output_size,
        clip=clip,
        input_shape=input_shape,
        output_shape=output_shape,
        element_type=model.element_type,
    )


def verify_image(model, x: np.ndarray, label: int, arguments: argparse.Namespace) -> dict:
    """One record."""
    query = vnnlib_io.parse(query_text(model, x, label, arguments))
    began = time.perf_counter()
    result = verify(model, query, timeout=arguments.timeout, backend=arguments.backend)
    seconds = time.perf_counter() - began
    margin = result.certificate.margin if result.certificate else None
    return {
        "verdict": result.verdict.value,
        "engine": result.engine,
        "seconds": round(seconds, 4),
        "margin": margin,
        "reason": result.reason.name,
        "detail": result.detail,
        "statistics": {k: round(v, 4) for k, v in result.statistics.items() if np.isfinite(v)},
    }


def known_records(path: Path, head: dict[str, object]) -> dict[int, dict]:
    """Records of an earlier run with the same settings; the file is begun anew otherwise."""
    if path.exists():
        first, *lines = [json.loads(line) for line in path.read_text().splitlines()]
        if first == head:
            return {line["image"]: line for line in lines}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(head) + "\n")
    return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--epsilon", default="0.05", help="a decimal")
    parser.add_argument("--norm", default="inf", choices=("inf", "2"))
    parser.add_argument("--region", default="clipped", choices=("clipped", "unclipped"))
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--records", type=Path, default=Path("benchmarks/records"))
    arguments = parser.parse_args()
    weights = arguments.data / f"{arguments.model}.npz"
    name = "-".join(
        (
            arguments.model,
            f"l{arguments.norm}",
            arguments.epsilon,
            arguments.region,
            arguments.backend,
            f"{arguments.timeout:g}s",
        )
    )
    head = manifest(arguments, weights)
    arguments.epsilon = Fraction(arguments.epsilon)
    records = known_records(arguments.records / f"{name}.jsonl", head)
    model = exported_model(weights)
    source = np.load(arguments.data / IMAGES[arguments.model.split("_")[1]])
    pixels = source["images"][: arguments.images].reshape(arguments.images, -1) / 255.0
    labels = source["labels"][: arguments.images]
    logits = model.system.output(FixpointSolver(model.system).solve(pixels).value, pixels)
    for index, predicted in enumerate(logits.argmax(axis=1)):
        if index in records:
            continue
        if predicted != labels[index]:
            record = {"verdict": "misclassified"}
        else:
            record = verify_image(model, pixels[index], int(predicted), arguments)
        records[index] = {"image": index, **record}
        with (arguments.records / f"{name}.jsonl").open("a") as stream:
            stream.write(json.dumps(records[index]) + "\n")
    print(summary(name, [records[index] for index in range(arguments.images)]))


def summary(name: str, records: list[dict]) -> str:
    """One line for a table, and the images without a verdict."""
    verdicts = [record["verdict"] for record in records]
    tried = [record for record in records if record["verdict"] != "misclassified"]
    seconds = np.array([record["seconds"] for record in tried])
    engines: dict[str, int] = {}
    for record in tried:
        if record["verdict"] == "unsat":
            engines[record["engine"]] = engines.get(record["engine"], 0) + 1
    still_open = [r["image"] for r in tried if r["verdict"] not in ("sat", "unsat")]
    return (
        f"{name}: unsat {verdicts.count('unsat')} {engines}, sat {verdicts.count('sat')}, "
        f"misclassified {verdicts.count('misclassified')}, open {still_open}; seconds median "
        f"{np.median(seconds):.3g}, mean {seconds.mean():.3g}, max {seconds.max():.3g}"
    )


if __name__ == "__main__":
    main()
