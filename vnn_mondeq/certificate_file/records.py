"""Which classes a certificate file may describe, and what their fields may hold.

The annotations of the dataclasses are the schema: a field is read only as what it is declared to
be. A new class is one line in `record_types`.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

FLOATS, INTEGERS = "floats", "integers"
"""The two arrays of a file: float64 and int64, little-endian."""


def record_types() -> Mapping[type, tuple[str, ...]]:
    """Class → its fields that are arrays of integers (all other arrays are of floats)."""
    from vnn_mondeq.bounds import certificate as bounds
    from vnn_mondeq.craft import certificate as craft
    from vnn_mondeq.gate import NothingToRefute
    from vnn_mondeq.sdp import certificate as shor
    from vnn_mondeq.sdp import ellipsoid_certificate as ellipsoid
    from vnn_mondeq.sdp import lipschitz_certificate as lipschitz
    from vnn_mondeq.search import certificate as search
    from vnn_mondeq.search import input_certificate as cuts

    return {
        NothingToRefute: (),
        bounds.BoxRound: (),
        bounds.Refutation: (),
        bounds.ObligationProof: (),
        bounds.InductiveBoxCertificate: (),
        craft.Containment: (),
        craft.TighteningStep: (),
        craft.RowClaim: (),
        craft.ObligationTrace: (),
        craft.CraftCertificate: (),
        shor.ShorRefutation: (),
        shor.PairRefutation: ("left", "right"),
        shor.ShorProof: (),
        shor.ShorCertificate: (),
        lipschitz.LipschitzRefutation: (),
        lipschitz.LipschitzProof: (),
        lipschitz.LipschitzCertificate: (),
        search.Vacant: (),
        search.Split: (),
        search.Node: (),
        search.TreeProof: (),
        search.TreeCertificate: (),
        cuts.BoxClaim: (),
        cuts.Cut: (),
        cuts.Refuted: (),
        cuts.Empty: (),
        cuts.Region: (),
        cuts.InputSplitCertificate: (),
        ellipsoid.EllipsoidProof: ("kept", "family", "left", "right"),
        ellipsoid.RowsByOutputs: (),
        ellipsoid.EllipsoidCertificate: (),
    }


@final
@dataclass(frozen=True, slots=True)
class Kind:
    """What one value may be; several may apply.

    - `optional`: nothing. `scalar`: a number, a text or a truth value of this type.
    - `array`: an array in the file's `FLOATS` or `INTEGERS`.
    - `records`: an object of one of these classes. `items`: a tuple of values of this kind.
    - `parts`: a tuple of as many values, each of its own kind.
    """

    optional: bool = False
    scalar: type | None = None
    array: str | None = None
    records: frozenset[type] = frozenset()
    items: "Kind | None" = None
    parts: "tuple[Kind, ...]" = ()

    def of_items(self, count: int) -> "tuple[Kind, ...] | None":
        """The kinds of the values of a tuple of this length; `None` where it cannot be one."""
        if self.items is not None:
            return (self.items,) * count
        return self.parts if self.parts and len(self.parts) == count else None


@final
@dataclass(frozen=True, slots=True)
class Record:
    """One class: the tag that stands for it, and its fields in order."""

    type: type
    fields: Mapping[str, Kind]

    @property
    def tag(self) -> str:
        return self.type.__name__


def records() -> tuple[Record, ...]:
    """The whole list, annotations resolved.

    **Raises** `TypeError` for a field whose annotation the format cannot express.
    """
    known = record_types()
    return tuple(Record(cls, _fields(cls, integers, known)) for cls, integers in known.items())


def _fields(cls: type, integers: tuple[str, ...], known: Mapping[type, object]) -> dict[str, Kind]:
    hints = typing.get_type_hints(cls)
    return {
        field.name: _kind(hints[field.name], INTEGERS if field.name in integers else FLOATS, known)
        for field in dataclasses.fields(cls)
    }


def _kind(hint: object, array: str, known: Mapping[type, object]) -> Kind:
    kind = Kind()
    union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    for part in typing.get_args(hint) if union else (hint,):
        if part is types.NoneType:
            kind = dataclasses.replace(kind, optional=True)
        elif part is np.ndarray:
            kind = dataclasses.replace(kind, array=array)
        elif part in (int, float, str, bool):
            kind = dataclasses.replace(kind, scalar=part)
        elif part in known:
            kind = dataclasses.replace(kind, records=kind.records | {part})
        elif typing.get_origin(part) is tuple and typing.get_args(part)[1:] == (Ellipsis,):
            kind = dataclasses.replace(kind, items=_kind(typing.get_args(part)[0], array, known))
        elif typing.get_origin(part) is tuple:
            parts = tuple(_kind(item, array, known) for item in typing.get_args(part))
            kind = dataclasses.replace(kind, parts=parts)
        else:
            raise TypeError(f"a certificate file has no place for {part}")
    return kind
