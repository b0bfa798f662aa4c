"""The syntax tree of a VNN-LIB text, the same for 1.0 and 2.x.

Every node carries `at`, the offset of its first character. Nodes compare by identity, because
comparing deep trees would recurse.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol, final, runtime_checkable


@final
class Relation(Enum):
    """A comparison operator (`=` is read as `==`)."""

    LESS = "<"
    LESS_EQUAL = "<="
    GREATER = ">"
    GREATER_EQUAL = ">="
    EQUAL = "=="
    NOT_EQUAL = "!="


@final
@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """A literal as written; `number.read_number` gives its exact value."""

    lexeme: str
    at: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A variable or one of its elements; `index` is `None` for a name without brackets."""

    name: str
    index: tuple[int, ...] | None
    at: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """`(+ a ...)`, `(- a ...)` or `(* a ...)` with at least one operand."""

    operator: str
    operands: tuple["Term", ...]
    at: int


Term = Number | Reference | Operation


@final
@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """`(relation left right)`."""

    relation: Relation
    left: Term
    right: Term
    at: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class Connective:
    """`(and c ...)` or `(or c ...)` with at least one operand."""

    is_and: bool
    operands: tuple["Condition", ...]
    at: int


Condition = Comparison | Connective


@final
@dataclass(frozen=True, slots=True, eq=False)
class Assertion:
    """`(assert condition)`."""

    condition: Condition
    at: int


@final
class Bound(NamedTuple):
    """`(assert (relation variable number))`, still as text.

    - `index`: what stands between the brackets; `None` without brackets.
    - `at`, `number_at`: where the variable and the number stand.
    """

    relation: str
    name: str
    index: str | None
    number: str
    at: int
    number_at: int


@runtime_checkable
class BoundRun(Protocol):
    """Consecutive simple bounds, kept as text and read when they are needed.

    Means exactly what the same statements mean as `Assertion`s; it exists because a large query
    has hundreds of thousands of them.
    """

    def bounds(self) -> Iterator[Bound]:
        """The bounds in their order."""
        ...


@final
@dataclass(frozen=True, slots=True, eq=False)
class Declaration:
    """One declared tensor. `kind` is `"input"`, `"hidden"` or `"output"`.

    - `node`: the ONNX name of a hidden tensor, without quotes.
    """

    kind: str
    name: str
    element_type: str
    shape: tuple[int, ...]
    at: int
    initialized: bool = False
    node: str | None = None


@final
@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A `declare-network`. `twin` is the network named by `equal-to` or `isomorphic-to`."""

    name: str
    twin_relation: str | None
    twin: str | None
    declarations: tuple[Declaration, ...]
    at: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """A whole text."""

    version: str
    networks: tuple[Network, ...]
    assertions: tuple[Assertion | BoundRun, ...]
