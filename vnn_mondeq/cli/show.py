"""`vnn-mondeq show witness`: a counterexample as a picture, whichever verifier found it."""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vnn_mondeq.cli import exit_code
from vnn_mondeq.cli.extras import require
from vnn_mondeq.cli.verify import add_network, unique

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from vnn_mondeq.files import Loaded
    from vnn_mondeq.query.query import Query
    from vnn_mondeq.report.image_shape import ImageShape
    from vnn_mondeq.report.witness_picture import Part, WitnessPicture

SUBJECTS = ("witness",)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", choices=SUBJECTS, help="what to draw: a counterexample")
    parser.add_argument(
        "witness",
        metavar="WITNESS",
        help="what verify printed or a results file of VNN-COMP (1.0 or 2.0 format, may be .gz), "
        "or the folder of --serialise-assignments",
    )
    parser.add_argument("--query", required=True, metavar="QUERY.vnnlib")
    add_network(parser)
    parser.add_argument(
        "--input",
        metavar="X.npy",
        help="the unperturbed input (default: the middle of the query's input set)",
    )
    layout = parser.add_mutually_exclusive_group()
    layout.add_argument(
        "--image",
        nargs=3,
        type=int,
        metavar=("CHANNELS", "HEIGHT", "WIDTH"),
        help="how the input is an image (default: guessed from its shape)",
    )
    layout.add_argument("--bars", action="store_true", help="draw bars even if it looks like one")
    parser.add_argument(
        "-o", "--output", required=True, metavar="OUT.png", help="or .svg, .pdf (extra 'plot')"
    )


def run(arguments: argparse.Namespace) -> int:
    require("matplotlib", "show", "plot")
    from vnn_mondeq.files import load_all
    from vnn_mondeq.report.witness_picture import draw_witness, largest

    loaded = load_all(arguments.query, unique(arguments.network))
    _require_one_model(loaded)
    after = read_witness(Path(arguments.witness), loaded.query)
    picture = _picture(arguments, loaded, after)
    draw_witness(picture, arguments.output)
    print(f"{picture.reference}: {largest(picture.outputs_before)}")
    print(f"counterexample: {largest(picture.outputs_after)}")
    print(picture.verdict)
    if not arguments.quiet:
        print(f"wrote {arguments.output}", file=sys.stderr)
    return exit_code.OK if picture.confirmed else exit_code.REFUSED


def _require_one_model(loaded: "Loaded") -> None:
    """**Raises** `InputError` for a query about more than one model and its norms."""
    from vnn_mondeq.errors import InputError
    from vnn_mondeq.networks import LoadedNorm

    models = [n for n in loaded.networks.values() if not isinstance(n, LoadedNorm)]
    inputs = loaded.query.input_variables
    if len(models) != 1 or any(variable.positions for variable in inputs):
        raise InputError(
            "show draws counterexamples of queries about one network whose inputs are not tied to "
            "each other"
        )


def read_witness(path: Path, query: "Query") -> "np.ndarray":
    """All inputs of the counterexample, flattened `(d,)`. **Raises** `InputError`."""
    import numpy as np

    from vnn_mondeq.errors import InputError
    from vnn_mondeq.onnx_io.tensor_file import read_tensor
    from vnn_mondeq.vnnlib_io.assignment_text import fitting, read_assignment

    if not path.is_dir():
        found = read_assignment(path, query)
    else:
        files = {v.name: path / f"{v.name}.pb" for v in query.input_variables}
        missing = [str(file) for file in files.values() if not file.exists()]
        if missing:
            raise InputError(
                f"{missing[0]} is missing; does the counterexample belong to this query?"
            )
        found = {v.name: fitting(read_tensor(files[v.name]), v) for v in query.input_variables}
    parts = [found[v.name].reshape(-1) for v in query.input_variables]
    return np.concatenate(parts).astype(np.float64)


def _picture(
    arguments: argparse.Namespace, loaded: "Loaded", after: "np.ndarray"
) -> "WitnessPicture":
    from vnn_mondeq import api
    from vnn_mondeq.report.witness_picture import WitnessPicture
    from vnn_mondeq.result import Witness

    found = api.confirm_counterexample(loaded.networks, loaded.query, after)
    confirmed = isinstance(found, Witness)
    if confirmed and math.isinf(found.margin):
        verdict = f"confirmed by {found.replayed_by}: the query says nothing about outputs"
    elif confirmed:
        verdict = (
            f"confirmed by {found.replayed_by}: a case of the query holds, by {found.margin:.4g}"
        )
    else:
        verdict = f"not confirmed: {found.detail}"
    lower, upper = _bounds(loaded.query, after)
    before, reference = _reference(arguments, lower, upper)
    return WitnessPicture(
        parts=_parts(arguments, loaded.query, (before, after, lower, upper)),
        reference=reference,
        outputs_before=_outputs(loaded, before),
        outputs_after=_outputs(loaded, after),
        verdict=verdict,
        confirmed=confirmed,
    )


def _bounds(query: "Query", point: "np.ndarray") -> tuple["np.ndarray", "np.ndarray"]:
    """A box around the input set of the case that the point is in (the first case, if in none)."""
    import numpy as np

    sets = [case.inputs for case in query.cases]
    if not sets:
        return np.full(point.size, -np.inf), np.full(point.size, np.inf)
    return next((one for one in sets if one.contains(point)), sets[0]).bounds()


def _reference(
    arguments: argparse.Namespace, lower: "np.ndarray", upper: "np.ndarray"
) -> tuple["np.ndarray", str]:
    """The input to compare with, and what it is. **Raises** `InputError`."""
    import numpy as np

    from vnn_mondeq.cli.arrays import load_array
    from vnn_mondeq.errors import InputError

    if arguments.input is not None:
        given = load_array(arguments.input)
        if given.size != lower.size:
            raise InputError(
                f"{arguments.input}: has {given.size} numbers, but the query {lower.size} inputs"
            )
        return given.reshape(-1).astype(np.float64), "input"
    if not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
        raise InputError(
            f"{arguments.query}: its input set has no middle, since an input has no bound; give "
            "the unperturbed input with --input X.npy"
        )
    return 0.5 * lower + 0.5 * upper, "middle of the input set"


def _parts(
    arguments: argparse.Namespace, query: "Query", columns: "Sequence[np.ndarray]"
) -> "list[Part]":
    from vnn_mondeq.report.witness_picture import Part

    parts = []
    for variable in query.input_variables:
        place = slice(variable.start, variable.start + math.prod(variable.shape))
        image = _image(arguments, variable.shape)
        parts.append(Part(variable.name, *(column[place] for column in columns), image))
    return parts


def _image(arguments: argparse.Namespace, shape: tuple[int, ...]) -> "ImageShape | None":
    from vnn_mondeq.errors import InputError
    from vnn_mondeq.report.image_shape import ImageShape, guess_image_shape

    if arguments.bars:
        return None
    if arguments.image is None:
        return guess_image_shape(shape)
    image = ImageShape(*arguments.image)
    if image.size != math.prod(shape):
        raise InputError(
            f"--image {' '.join(map(str, arguments.image))} has {image.size} pixels, but the "
            f"input is {list(shape)}"
        )
    return image


def _outputs(loaded: "Loaded", x: "np.ndarray") -> "np.ndarray":
    """What onnxruntime computes at `x (d,)`, flattened `(q,)`."""
    import numpy as np

    from vnn_mondeq.onnx_io.replay import Replay

    runtime = Replay(loaded.model.model_bytes)
    inputs, start = {}, 0
    for name, shape in loaded.model.inputs.items():
        stop = start + math.prod(shape)
        inputs[name] = x[start:stop].reshape(shape).astype(loaded.model.dtype)
        start = stop
    outputs = runtime.run(inputs)
    return np.concatenate([outputs[name].reshape(-1) for name in loaded.model.outputs])
