"""A checker of counterexamples, after the rules of the VNN-COMP 2026 scorer and VNN-LIB 2.0.

It uses onnxruntime and no code of the package under test, and answers with a word of its own:
`correct`, `malformed: …`, or `not violated: …`. The rules (the scorer's behaviour, not its code):

- 1.0: `((X_0 v)` … `(Y_j v))`, consecutive from 0, flattened row-major; Y may be missing.
- 2.0: for each declared variable in the order of declaration `name type [d1,d2]`, then one value a
  line; the type is the declared one, in any case. Or a folder with one `TensorProto` for each.
- The outputs it gives are not believed: the inputs, in the model's element type, are run on the CPU
  provider with default options, and the runtime's outputs decide, without any tolerance.
- A comparison that only concerns inputs may also be read with its constants rounded to the element
  type, as a reader does who computes in it.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import final

import numpy as np
import onnx
import onnxruntime
from vnnlib_io.text_oracle import s_expressions

DTYPES = {"real": None, "float32": np.float32, "float64": np.float64, "int64": np.int64}
"""Declared type → what a value is read as; a `real` takes the model's."""

_COMPARE = {
    "<=": lambda a, b: a <= b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


class Malformed(Exception):
    """The counterexample cannot be read."""


@final
@dataclass(frozen=True, slots=True)
class Declared:
    """A variable of a query. `target`: of a hidden one, the node's output in the model."""

    network: str
    kind: str
    name: str
    element_type: str
    shape: tuple[int, ...]
    target: str = ""


@final
@dataclass(frozen=True, slots=True)
class Instance:
    """A query's text and a model file for each of its networks, equal ones included."""

    text: str
    models: Mapping[str, Path]

    @property
    def is_version_1(self) -> bool:
        return "vnnlib-version" not in self.text

    def declared(self) -> list[Declared]:
        """The variables of a 2.0 text in their order."""
        found = []
        for statement in s_expressions(self.text):
            if statement[0] != "declare-network":
                continue
            network = statement[1]
            for item in statement[2:]:
                if item[0].startswith("declare-"):
                    kind, name, element_type, *rest = item
                    shape = "".join(word for word in rest if not word.startswith('"'))
                    target = next((w.strip('"') for w in rest if w.startswith('"')), "")
                    sizes = tuple(int(size) for size in re.findall(r"\d+", shape))
                    kind = kind.removeprefix("declare-")
                    found.append(Declared(network, kind, name, element_type, sizes, target))
        return found


def judge_text(instance: Instance, text: str) -> str:
    """What a scorer says about a results file or the standard output after `sat`."""
    first, _, rest = text.partition("\n")
    if first.strip() != "sat":
        return f"malformed: the first line is {first!r}"
    try:
        if instance.is_version_1:
            return _judge_version_1(instance, rest)
        return _judge_values(instance, _read_version_2(instance, rest))
    except Malformed as error:
        return f"malformed: {error}"


def judge_folder(instance: Instance, folder: Path) -> str:
    """The same for serialised assignments."""
    try:
        values = {v.name: _tensor(v, folder / f"{v.name}.pb") for v in instance.declared()}
        extra = {path.name for path in folder.iterdir()} - {f"{name}.pb" for name in values}
        if extra:
            raise Malformed(f"unknown files {sorted(extra)}")
        return _judge_values(instance, values)
    except Malformed as error:
        return f"malformed: {error}"


def _judge_version_1(instance: Instance, text: str) -> str:
    (model,) = instance.models.values()
    session = _session(model)
    (given,) = session.get_inputs()
    numbers = {"X": [], "Y": []}
    body = re.fullmatch(r"\s*\((.*)\)\s*", text, re.DOTALL)
    entries = re.findall(r"\(\s*([XY])_(\d+)\s+(\S+?)\s*\)", body[1] if body else "")
    if not body or re.sub(r"\(\s*[XY]_\d+\s+\S+?\s*\)|\s", "", body[1]):
        raise Malformed("not a list of (X_i value)")
    for letter, index, value in entries:
        if int(index) != len(numbers[letter]) or (letter == "X" and numbers["Y"]):
            raise Malformed(f"{letter}_{index} is out of order")
        numbers[letter].append(_number(value))
    shape = [size if isinstance(size, int) and size > 0 else 1 for size in given.shape]
    if len(numbers["X"]) != math.prod(shape):
        raise Malformed(f"{len(numbers['X'])} inputs and not {math.prod(shape)}")
    dtype = np.float64 if given.type == "tensor(double)" else np.float32
    x = np.array(numbers["X"], dtype=dtype).reshape(shape)
    y = session.run(None, {given.name: x})[0].reshape(-1)
    point = {f"X_{i}": Fraction(float(v)) for i, v in enumerate(x.reshape(-1))}
    if not np.all(np.isfinite(y)):
        return "not violated: the outputs are not finite"
    point |= {f"Y_{j}": Fraction(float(v)) for j, v in enumerate(y)}
    return _judge_assertions(instance, point, {k for k in point if k[0] == "X"}, dtype)


def _read_version_2(instance: Instance, text: str) -> dict[str, np.ndarray]:
    lines = text.removesuffix("\n").split("\n")
    values, at = {}, 0
    for variable in instance.declared():
        header = lines[at].split(" ") if at < len(lines) else []
        if len(header) != 3 or header[0] != variable.name:
            raise Malformed(f"no header for {variable.name}: {' '.join(header)!r}")
        if header[1].lower() != variable.element_type.lower():
            raise Malformed(f"{variable.name} is {variable.element_type}, not {header[1]}")
        if header[2] != f"[{','.join(map(str, variable.shape))}]":
            raise Malformed(f"{variable.name} has shape {variable.shape}, not {header[2]}")
        size = math.prod(variable.shape)
        entries = [_number(line) for line in lines[at + 1 : at + 1 + size]]
        if len(entries) != size:
            raise Malformed(f"{variable.name} has too few values")
        values[variable.name] = np.array(entries).reshape(variable.shape)
        at += 1 + size
    if at != len(lines):
        raise Malformed(f"what is {lines[at]!r}?")
    return values


def _tensor(variable: Declared, path: Path) -> np.ndarray:
    if not path.is_file():
        raise Malformed(f"{path.name} is missing")
    proto = onnx.TensorProto()
    proto.ParseFromString(path.read_bytes())
    array = onnx.numpy_helper.to_array(proto)
    expected = DTYPES[variable.element_type.lower()]
    if array.shape != variable.shape or expected not in (None, array.dtype.type):
        raise Malformed(f"{path.name} is {array.dtype} {array.shape}")
    return array


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Malformed(f"{text!r} is not a number") from None


def _judge_values(instance: Instance, values: Mapping[str, np.ndarray]) -> str:
    declared, point, free = instance.declared(), {}, set()
    dtype = np.float32
    for network, model in instance.models.items():
        own = [v for v in declared if v.network == network]
        session = _session(model, [v.target for v in own if v.kind == "hidden"])
        feed = {}
        for variable, given in zip(
            [v for v in own if v.kind == "input"], session.get_inputs(), strict=True
        ):
            dtype = np.float64 if given.type == "tensor(double)" else np.float32
            feed[given.name] = values[variable.name].astype(dtype)
            found = _elements(variable.name, feed[given.name])
            free |= found.keys()
            point |= found
        outputs = [v for v in own if v.kind == "output"] + [v for v in own if v.kind == "hidden"]
        for variable, array in zip(outputs, session.run(None, feed), strict=True):
            if not np.all(np.isfinite(array)):
                return f"not violated: {variable.name} is not finite"
            point |= _elements(variable.name, array.reshape(variable.shape))
    return _judge_assertions(instance, point, free, dtype)


def _elements(name: str, array: np.ndarray) -> dict[str, Fraction]:
    """`X[0,1]` (or the name of a scalar) → value. NaN becomes a number that fits nowhere."""
    found = {}
    for index in np.ndindex(array.shape):
        key = f"{name}[{','.join(map(str, index))}]" if index else name
        value = array[index].item()
        found[key] = Fraction(value) if math.isfinite(value) else Fraction(10) ** 400
    return found


def _session(model: Path, hidden: Sequence[str] = ()) -> onnxruntime.InferenceSession:
    proto = onnx.load(model)
    for name in hidden:
        proto.graph.output.append(onnx.ValueInfoProto(name=name))
    return onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def _judge_assertions(instance: Instance, point: dict, free: set[str], dtype: type) -> str:
    for statement in s_expressions(instance.text):
        if statement[0] == "assert" and not _truth(statement[1], point, free, dtype):
            return f"not violated: {statement[1]}"
    return "correct"


def _truth(item: list, point: dict, free: set[str], dtype: type) -> bool:
    operator, *operands = item
    if operator == "and":
        return all(_truth(o, point, free, dtype) for o in operands)
    if operator == "or":
        return any(_truth(o, point, free, dtype) for o in operands)
    readings = [Fraction]
    if all(_mentions_only(o, point, free) for o in operands):
        readings.append(lambda word: Fraction(float(dtype(word))))
    return any(
        _COMPARE[operator](*(_value(o, point, reading) for o in operands)) for reading in readings
    )


def _mentions_only(item: object, point: dict, free: set[str]) -> bool:
    if isinstance(item, str):
        return item in free or item not in point
    return all(_mentions_only(o, point, free) for o in item[1:])


def _value(item: object, point: dict, reading) -> Fraction:
    if isinstance(item, str):
        return point[item] if item in point else reading(item)
    operator, *operands = item
    first, *rest = (_value(o, point, reading) for o in operands)
    if operator == "-" and not rest:
        return -first
    for value in rest:
        first = {"+": first + value, "-": first - value, "*": first * value}[operator]
    return first
