"""Counterexamples as text: the formats of VNN-LIB 1.0 and 2.x, and tensor files.

Numbers are printed as `repr(float(v))`: the shortest decimal that gives the same float64 back, so
that a reader who takes the text for an exact rational, and one who rounds it to float32, both see
the number that onnxruntime was given.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vnn_mondeq.errors import OutputError
from vnn_mondeq.whole_file import write_whole

if TYPE_CHECKING:
    import numpy as np

    from vnn_mondeq.query.query import Query, Variable
    from vnn_mondeq.result import Witness


def value_of(witness: "Witness", variable: "Variable") -> "np.ndarray":
    """A variable's part of a counterexample, in the declared shape."""
    table = witness.inputs if variable.kind == "input" else witness.outputs
    return table[variable.name]


def _numbers(array: "np.ndarray") -> list[str]:
    number = float if array.dtype.kind == "f" else int
    return [repr(number(value)) for value in array.reshape(-1)]


def format_assignment(query: "Query", witness: "Witness") -> str:
    """The assignment in the format of the query's own version, without a final line end."""
    if query.version.startswith("1"):
        return _format_version_1(query, witness)
    return _format_version_2(query, witness)


def _format_version_1(query: "Query", witness: "Witness") -> str:
    """`((X_0 0.5)` … `(Y_9 1.25))`, one flattened number a line."""
    lines = []
    for letter, variables in (("X", query.input_variables), ("Y", query.output_variables)):
        numbers = [text for v in variables for text in _numbers(value_of(witness, v))]
        lines.extend(f"({letter}_{index} {text})" for index, text in enumerate(numbers))
    return "(" + "\n".join(lines) + ")"


def _format_version_2(query: "Query", witness: "Witness") -> str:
    """For each declared variable `name type [d1,d2]`, then its numbers, row-major, one a line."""
    lines = []
    for variable in query.variables:
        shape = ",".join(str(size) for size in variable.shape)
        lines.append(f"{variable.name} {variable.element_type} [{shape}]")
        lines.extend(_numbers(value_of(witness, variable)))
    return "\n".join(lines)


def prepare_folder(folder: str | Path) -> Path:
    """Create the folder and make sure that files can be written into it, before any work.

    **Raises** `OutputError`.
    """
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror}; give a folder that can"
        ) from error
    return path


def serialise_assignment(query: "Query", witness: "Witness", folder: Path) -> None:
    """Write `folder/NAME.pb`, a `TensorProto`, for each declared variable.

    **Raises** `OutputError`.
    """
    from vnn_mondeq.onnx_io.tensor_file import tensor_bytes

    for variable in query.variables:
        data = tensor_bytes(variable.name, value_of(witness, variable))
        write_whole(folder / f"{variable.name}.pb", data)
