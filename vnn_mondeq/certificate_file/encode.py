"""From a certificate to a list of nodes and two arrays of numbers."""

import hashlib
import math
import numbers
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.certificate_file.records import FLOATS, INTEGERS, Kind, Record, records
from vnn_mondeq.errors import OutputError
from vnn_mondeq.result import AbstractCertificate


@final
@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The nodes, children before parents and the certificate last, and the numbers.

    - `nodes`: JSON objects.
    - `floats (n,)`, `integers (m,)`: float64 and int64.
    """

    nodes: list[dict]
    floats: np.ndarray
    integers: np.ndarray


def encode(certificate: AbstractCertificate) -> Encoded:
    """Write down a certificate of any depth without recursion.

    **Raises** `OutputError` for what the format has no place for.
    """
    table = {record.type: record for record in records()}
    pools = {FLOATS: _Pool("<f8"), INTEGERS: _Pool("<i8")}
    nodes: list[dict] = []
    finished: list[int] = []  # positions of nodes that wait for their parent
    waiting: list[tuple[object, bool]] = [(certificate, False)]
    while waiting:
        value, children_done = waiting.pop()
        record = table.get(type(value))
        if record is None:
            raise OutputError(
                f"a {type(value).__name__} cannot be written as a file; the type is not in "
                "vnn_mondeq.certificate_file.records"
            )
        children = list(_children(value, record))
        if not children_done:
            waiting.append((value, True))
            waiting.extend((child, False) for child in reversed(children))
            continue
        first = len(finished) - len(children)
        positions = iter(finished[first:])
        del finished[first:]
        finished.append(len(nodes))
        nodes.append({"is": record.tag} | _fields(value, record, positions, pools))
    return Encoded(nodes, pools[FLOATS].numbers(), pools[INTEGERS].numbers())


@final
@dataclass(slots=True, eq=False)
class _Pool:
    """Numbers one after the other; equal arrays are stored once."""

    dtype: str
    parts: list[np.ndarray] = field(default_factory=list)
    starts: dict[bytes, int] = field(default_factory=dict)
    size: int = 0

    def add(self, array: np.ndarray) -> list[int]:
        """Start and shape of an array."""
        flat = np.ascontiguousarray(array, dtype=self.dtype).reshape(-1)
        key = hashlib.sha256(flat.tobytes()).digest()
        if key not in self.starts:
            self.starts[key] = self.size
            self.parts.append(flat)
            self.size += flat.size
        return [self.starts[key], *array.shape]

    def numbers(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, dtype=self.dtype), *self.parts])


def _children(value: object, record: Record) -> Iterator[object]:
    """The records directly below one, in the order of its fields."""
    for name, kind in record.fields.items():
        yield from _records_in(getattr(value, name), kind)


def _records_in(value: object, kind: Kind) -> Iterator[object]:
    if isinstance(value, tuple):
        for item, kind_of_item in zip(value, kind.of_items(len(value)) or (), strict=False):
            yield from _records_in(item, kind_of_item)
    elif type(value) in kind.records:
        yield value


def _fields(
    value: object, record: Record, positions: Iterator[int], pools: dict[str, _Pool]
) -> dict[str, object]:
    found = {}
    for name, kind in record.fields.items():
        try:
            found[name] = _value(getattr(value, name), kind, positions, pools)
        except TypeError as error:
            raise OutputError(f"{record.tag}.{name} cannot be written: {error}") from error
    return found


def _value(value: object, kind: Kind, positions: Iterator[int], pools: dict[str, _Pool]) -> object:
    """**Raises** `TypeError` for a value that its field does not declare."""
    if value is None and kind.optional:
        return None
    if isinstance(value, tuple) and (kinds := kind.of_items(len(value))) is not None:
        pairs = zip(value, kinds, strict=True)
        return [_value(item, kind_of_item, positions, pools) for item, kind_of_item in pairs]
    if type(value) in kind.records:
        return {"node": next(positions)}
    if isinstance(value, np.ndarray) and kind.array is not None:
        return {kind.array: pools[kind.array].add(_plain(value, kind.array))}
    if isinstance(value, str) and kind.scalar is str:
        return str(value)
    if isinstance(value, bool | np.bool_) and kind.scalar is bool:
        return bool(value)
    if isinstance(value, numbers.Integral) and kind.scalar is int and type(value) is not bool:
        return int(value)
    if isinstance(value, numbers.Real) and kind.scalar is float and math.isfinite(value):
        return float(value)
    raise TypeError(f"it holds {value!r:.60}")


def _plain(array: np.ndarray, pool: str) -> np.ndarray:
    """The array, if the format keeps every one of its numbers. **Raises** `TypeError`."""
    kinds = "iu" if pool == INTEGERS else "f"
    if array.dtype.kind not in kinds or array.dtype.itemsize > 8 or array.ndim not in (1, 2):
        raise TypeError(f"it holds an array of {array.dtype} with {array.ndim} dimensions")
    if not np.all(np.isfinite(array)):
        raise TypeError("it holds numbers that are not finite")
    return array
