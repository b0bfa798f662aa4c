"""Write the robustness instances in this folder, in the VNN-COMP layout.

    python specs/generate.py SEED [--only CATEGORY]

For each shipped model: a few test images drawn with SEED among those that it classifies
correctly, each with several radii, as VNN-LIB 1.0 and 2.0 (L-infinity boxes clipped to [0, 1]);
the digits also get L2 and L1 balls, in 2.0 alone. `instances.csv` has lines
`model,query,timeout in seconds`, paths relative to its own folder. `expected.csv` beside the
version folders says what is known: `sat` where the attack found a counterexample, else `open`
(`specs/expect.py` runs the verifier and replaces `open` by what it proves).

The committed files come from SEED 2026.
"""

import argparse
import csv
import gzip
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vnn_mondeq import api
from vnn_mondeq.attack import attack_set_margins
from vnn_mondeq.onnx_io import LoadedModel
from vnn_mondeq.onnx_io.norm_network import export_norm_network
from vnn_mondeq.onnx_io.save import save
from vnn_mondeq.query.norm import resolve_norms
from vnn_mondeq.system.solve import FixpointSolver
from vnn_mondeq.training.data import Split, load_test_split
from vnn_mondeq.vnnlib_io import parse, robustness_query
from vnn_mondeq.whole_file import write_whole

ROOT = Path(__file__).resolve().parent
MODELS = ROOT.parent / "onnx_models"
UP = "../../../onnx_models"
NORM_NAMES = {math.inf: "linf", 2: "l2", 1: "l1"}


@dataclass(frozen=True)
class Category:
    """The instances of one model.

    - `radii`: for each norm, the radii (as decimals) that every image gets.
    - `compressed`: whether the queries are written as `.gz`.
    """

    model: str
    data: str
    images: int
    radii: dict[float, tuple[str, ...]]
    timeout: int
    compressed: bool


CATEGORIES = (
    Category(
        "digits_fc16",
        "digits",
        4,
        {math.inf: ("0.02", "0.06", "0.15"), 2: ("0.2", "0.7"), 1: ("0.4", "2.0")},
        60,
        False,
    ),
    Category("mnist_fc40", "mnist", 4, {math.inf: ("0.02", "0.05", "0.12")}, 120, True),
    Category("mnist_fc87", "mnist", 4, {math.inf: ("0.02", "0.05", "0.12")}, 120, True),
    Category("mnist_convsmall", "mnist", 4, {math.inf: ("0.02", "0.05", "0.12")}, 300, True),
)


@dataclass(frozen=True)
class Instance:
    """One line of `instances.csv`: the models, the query's file name and its text."""

    model_column: str
    file_name: str
    text: str
    verdict: str
    margin: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seed", type=int)
    parser.add_argument("--only", choices=[category.model for category in CATEGORIES])
    arguments = parser.parse_args()
    for category in CATEGORIES:
        if arguments.only in (None, category.model):
            write_category(category, np.random.default_rng([arguments.seed, category.images]))


def write_category(category: Category, generator: np.random.Generator) -> None:
    model = api.load_model(MODELS / f"{category.model}.onnx")
    solver = FixpointSolver(model.system)
    test = load_test_split(category.data)
    chosen = choose_images(solver, test, category.images, generator)
    expected: dict[str, Instance] = {}
    for version in ("1.0", "2.0"):
        instances = [
            make_instance(category, model, solver, test, index, norm, radius, version)
            for norm in sorted(category.radii, reverse=True)
            if norm == math.inf or version == "2.0"
            for index in chosen
            for radius in category.radii[norm]
        ]
        write_version(category, version, instances)
        expected |= {instance.file_name.split(".vnnlib")[0]: instance for instance in instances}
    rows = [(name, i.verdict, f"{i.margin:.4f}") for name, i in sorted(expected.items())]
    write_csv(ROOT / category.model / "expected.csv", [("query", "verdict", "margin"), *rows])
    counts = {v: sum(i.verdict == v for i in expected.values()) for v in ("sat", "open")}
    print(f"{category.model}: {counts}")


def choose_images(
    solver: FixpointSolver, test: Split, count: int, generator: np.random.Generator
) -> list[int]:
    """Positions of `count` correctly classified images, of different classes."""
    chosen: dict[int, int] = {}
    for index in generator.permutation(len(test)):
        x = test.images[index].reshape(1, -1).astype(np.float64)
        scores = solver.system.output(solver.solve(x).value, x)[0]
        label = int(test.labels[index])
        if label not in chosen and scores.argmax() == label:
            chosen[label] = int(index)
        if len(chosen) == count:
            break
    return sorted(chosen.values())


def make_instance(
    category: Category,
    model: LoadedModel,
    solver: FixpointSolver,
    test: Split,
    index: int,
    norm: float,
    radius: str,
    version: str,
) -> Instance:
    (shape,) = model.inputs.values()
    (output_shape,) = model.outputs.values()
    image, label = test.images[index].reshape(shape), int(test.labels[index])
    text = robustness_query(
        image,
        label,
        norm,
        radius,
        classes=model.system.output_size,
        clip=("0", "1"),
        version=version,
        input_shape=shape,
        output_shape=output_shape,
        norm_output_shape=(1, 1),
    )
    name = f"image{index}_{NORM_NAMES[norm]}_{radius}"
    column = f"{UP}/{category.model}.onnx"
    query, norms = parse(text), {}
    if norm == 1:
        norm_file = ROOT / category.model / "2.0" / "onnx" / f"l1_image{index}.onnx"
        norm_file.parent.mkdir(parents=True, exist_ok=True)
        save(export_norm_network(1, image, shape, dtype=model.dtype), norm_file)
        column = f"[('f','{column}'),('norm','onnx/{norm_file.name}')]"
        norms = {"norm": api.load_norm(norm_file).network}
    inputs = resolve_norms(query, norms).cases[0].inputs
    margin = float(attack_set_margins(solver, inputs, label).min())
    # A violation this large survives the float32 arithmetic of a runtime.
    verdict = "sat" if margin < -1e-3 else "open"
    suffix = ".vnnlib.gz" if category.compressed else ".vnnlib"
    return Instance(column, name + suffix, text, verdict, margin)


def write_version(category: Category, version: str, instances: list[Instance]) -> None:
    folder = ROOT / category.model / version
    (folder / "vnnlib").mkdir(parents=True, exist_ok=True)
    for old in (folder / "vnnlib").iterdir():
        old.unlink()
    rows = []
    for instance in instances:
        content = instance.text.encode()
        if category.compressed:
            content = gzip.compress(content, mtime=0)
        write_whole(folder / "vnnlib" / instance.file_name, content)
        rows.append((instance.model_column, f"vnnlib/{instance.file_name}", category.timeout))
    write_csv(folder / "instances.csv", rows)


def write_csv(path: Path, rows: list[tuple]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_whole(path, text.getvalue().encode())


if __name__ == "__main__":
    main()
