"""Writing a benchmark's folder: models, images, parameters, the generator and its properties."""

import io
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from vnn_mondeq.benchmark_maker.generate_properties import VERSIONS, BenchmarkError, generate
from vnn_mondeq.benchmark_maker.page import page
from vnn_mondeq.errors import InputError, OutputError
from vnn_mondeq.training.data import Split

if TYPE_CHECKING:
    from vnn_mondeq.onnx_io import LoadedModel

MAX_SECONDS = 6 * 3600
"""VNN-COMP: the time limits of a benchmark's instances add up to at most six hours."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One model of a benchmark and its instances.

    - `count`: images, each with every one of `radii`; numbers as the decimals they are written as.
    - `clip`: range of the pixels; inputs outside are not considered.
    - `timeout`: whole seconds for one instance.
    - `source`: where the images come from, for the page.
    """

    model: "LoadedModel"
    images: Split
    radii: tuple[str, ...]
    count: int
    timeout: int
    clip: tuple[str, str] = ("0", "1")
    source: str = ""

    @property
    def name(self) -> str:
        return self.model.path.name.removesuffix(".gz").removesuffix(".onnx")

    @property
    def seconds(self) -> int:
        """The time limits of all instances together."""
        return self.count * len(self.radii) * self.timeout


def write_benchmark(folder: Path, entries: Sequence[Entry], seed: int) -> int:
    """Make a folder, whole or not at all; `generate_properties.py` in it needs nothing beside it.

    **Returns** the number of instances.

    **Raises** `InputError` for entries that make no benchmark, `OutputError` where the folder is
    there and not empty, or cannot be written.
    """
    _check(entries)
    try:
        if folder.exists() and any(folder.iterdir()):
            raise OutputError(f"{folder}: is not empty; give a new folder")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as place:
            made = Path(place) / "benchmark"
            _fill(made, entries, seed)
            if folder.exists():
                folder.rmdir()
            made.rename(folder)
    except BenchmarkError as error:
        raise InputError(f"{error}; take fewer with --count, or other images") from error
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return sum(entry.count * len(entry.radii) for entry in entries)


def _fill(folder: Path, entries: Sequence[Entry], seed: int) -> None:
    for part in ("images", *(f"{version}/onnx" for version in VERSIONS)):
        (folder / part).mkdir(parents=True)
    for entry in entries:
        for version in VERSIONS:
            path = folder / version / "onnx" / f"{entry.name}.onnx"
            path.write_bytes(entry.model.model_bytes)
        (folder / "images" / f"{entry.name}.npz").write_bytes(_archive(entry.images))
    parameters = {"models": [_parameters(entry) for entry in entries]}
    (folder / "parameters.json").write_text(json.dumps(parameters, indent=1) + "\n")
    script = resources.files(__package__).joinpath("generate_properties.py").read_bytes()
    (folder / "generate_properties.py").write_bytes(script)
    (folder / "README.md").write_text(page(entries, seed), encoding="utf-8")
    generate(folder, seed)


def _check(entries: Sequence[Entry]) -> None:
    """**Raises** `InputError`."""
    names = [entry.name for entry in entries]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"two models are called {sorted(twice)[0]}; rename a file")
    for entry in entries:
        system = entry.model.system
        if len(entry.model.inputs) != 1 or len(entry.model.outputs) != 1:
            raise InputError(f"{entry.model.path}: a benchmark needs one input and one output")
        size = math.prod(entry.images.images.shape[1:])
        if size != system.input_size:
            raise InputError(
                f"{entry.model.path}: takes {system.input_size} numbers, but an image has {size}"
            )
        top = int(entry.images.labels.max())
        if top >= system.output_size or entry.images.labels.min() < 0 or system.output_size < 2:
            raise InputError(
                f"{entry.model.path}: has {system.output_size} outputs, but a label is {top}"
            )
    seconds = sum(entry.seconds for entry in entries)
    if seconds > MAX_SECONDS:
        raise InputError(
            f"the time limits add up to {seconds} s, and VNN-COMP allows {MAX_SECONDS}; lower "
            "--count, --timeout or the number of radii"
        )


def _archive(images: Split) -> bytes:
    stream = io.BytesIO()
    flat = images.images.reshape(len(images), -1)
    np.savez_compressed(stream, images=flat, labels=images.labels)
    return stream.getvalue()


def _parameters(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.name,
        "radii": list(entry.radii),
        "count": entry.count,
        "timeout": entry.timeout,
        "clip": list(entry.clip),
    }
