"""From nodes and numbers back to a certificate: whatever is not expected is refused."""

import math
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.certificate_file.records import FLOATS, INTEGERS, Kind, Record, records
from vnn_mondeq.errors import InputError
from vnn_mondeq.result import AbstractCertificate

MAX_DIMENSION = 2**31
"""Of one array; larger ones are no certificates, even where another dimension is zero."""


def numbers_needed(nodes: object) -> dict[str, int]:
    """How long the two arrays must be for these nodes, before any of them is unpacked.

    **Raises** `InputError` for nodes that no certificate has.
    """
    decoder = _Decoder({FLOATS: None, INTEGERS: None})
    decoder.certificate(nodes)
    return decoder.needed


def decode(nodes: object, floats: np.ndarray, integers: np.ndarray) -> AbstractCertificate:
    """Build the certificate that the nodes describe; its arrays are views that cannot be written.

    Nodes come children before parents, and each but the last belongs to exactly one parent, so no
    depth costs recursion and no sharing can make a small file stand for a huge tree.

    **Raises** `InputError`.
    """
    return _Decoder({FLOATS: floats, INTEGERS: integers}).certificate(nodes)


@final
@dataclass(slots=True, eq=False)
class _Decoder:
    """- `pools`: the file's arrays, or `None` for a dry run that only counts.
    - `needed`: for each, the length that the nodes ask for."""

    pools: dict[str, np.ndarray | None]
    needed: dict[str, int] = field(default_factory=lambda: {FLOATS: 0, INTEGERS: 0})
    built: list[object] = field(default_factory=list)

    def certificate(self, nodes: object) -> AbstractCertificate:
        if not isinstance(nodes, list) or not nodes:
            raise InputError("there are no nodes")
        table = {record.tag: record for record in records()}
        for position, node in enumerate(nodes):
            try:
                self.built.append(self._node(node, table))
            except _Unfit as error:
                raise InputError(f"node {position}: {error}") from error
        certificate = self.built.pop()
        left = [position for position, value in enumerate(self.built) if value is not None]
        if left:
            raise InputError(f"node {left[0]} belongs to no other node")
        if not isinstance(certificate, AbstractCertificate):
            raise InputError("the last node is not a certificate")
        return certificate

    def _node(self, node: object, table: dict[str, Record]) -> object:
        if not isinstance(node, dict) or not isinstance(node.get("is"), str):
            raise _Unfit("it has no type")
        record = table.get(node["is"])
        if record is None:
            raise _Unfit(f"its type {node['is'][:60]!r} is unknown to this release")
        if node.keys() != {"is", *record.fields}:
            raise _Unfit(
                f"a {record.tag} has the fields {', '.join(record.fields) or '(none)'}, not "
                f"{', '.join(sorted(key[:60] for key in node.keys() - {'is'})) or '(none)'}"
            )
        values = {}
        for name, kind in record.fields.items():
            try:
                values[name] = self._value(node[name], kind)
            except _Unfit as error:
                raise _Unfit(f"{record.tag}.{name} {error}") from error
        return record.type(**values)

    def _value(self, value: object, kind: Kind) -> object:
        if value is None and kind.optional:
            return None
        if isinstance(value, list) and (kinds := kind.of_items(len(value))) is not None:
            return tuple([self._value(item, k) for item, k in zip(value, kinds, strict=True)])
        if isinstance(value, dict) and value.keys() == {"node"} and kind.records:
            return self._child(value["node"], kind)
        if isinstance(value, dict) and kind.array is not None:
            if value.keys() != {kind.array}:
                raise _Unfit(f"is not an array of {kind.array}")
            return self._array(value[kind.array], kind.array)
        if kind.scalar is float and type(value) in (int, float):
            return _finite(value)
        if kind.scalar in (int, str, bool) and type(value) is kind.scalar:
            return value
        raise _Unfit("is not what this field holds")

    def _child(self, position: object, kind: Kind) -> object:
        if type(position) is not int or not 0 <= position < len(self.built):
            raise _Unfit("refers to a node that does not come before")
        child = self.built[position]
        if child is None:
            raise _Unfit(f"refers to node {position}, which belongs to another node already")
        if type(child) not in kind.records:
            raise _Unfit(f"refers to a {type(child).__name__}, which cannot stand there")
        self.built[position] = None
        return child

    def _array(self, reference: object, name: str) -> np.ndarray:
        if not isinstance(reference, list) or not all(type(n) is int for n in reference):
            raise _Unfit("is not an array: start and dimensions are whole numbers")
        start, *shape = reference or [-1]
        if start < 0 or len(shape) not in (1, 2) or not all(0 <= n <= MAX_DIMENSION for n in shape):
            raise _Unfit(f"is not an array: its start and dimensions are {str(reference)[:60]}")
        stop = start + math.prod(shape)
        self.needed[name] = max(self.needed[name], stop)
        pool = self.pools[name]
        if pool is None:
            return np.zeros(0)
        if stop > pool.size:
            raise _Unfit(f"ends at number {stop} of {pool.size} {name}")
        return pool[start:stop].reshape(shape)


class _Unfit(Exception):
    """A value that does not fit its place; the caller says which place."""


def _finite(value: int | float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _Unfit("is not a finite number")
    return number
