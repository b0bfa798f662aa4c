"""Names, shapes, types and networks of a script, checked; where each tensor element stands.

All scalars have a number each, their *slot*: the inputs of all networks come first, in declaration
order and row-major; then, network by network, outputs and after them hidden tensors. Inputs that
are tied to each other share a slot (`vnn_mondeq.vnnlib_io.ties`).
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import final

from vnn_mondeq.query.query import Variable
from vnn_mondeq.vnnlib_io.source import Source
from vnn_mondeq.vnnlib_io.syntax import Declaration, Network, Script

_FLOAT_TYPES = frozenset({"real", "float16", "float32", "float64", "bfloat16"})
_INTEGER_TYPE = re.compile(r"(u?)int(8|16|32|64)")
_OTHER_TYPES = frozenset({"bool", "string", "complex64", "complex128"})


@final
@dataclass(frozen=True, slots=True)
class Symbol:
    """A declared tensor and the slots of its elements."""

    variable: Variable
    slots: Sequence[int]

    @property
    def type_name(self) -> str:
        """The element type for comparisons: `Real` and `real` are the same."""
        return _canonical(self.variable.element_type)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """What the names of a script mean.

    - `input_count`: the input slots are `range(input_count)`.
    """

    source: Source
    version: str
    symbols: dict[str, Symbol]
    input_count: int

    def symbol(self, name: str, at: int) -> Symbol:
        """The declared tensor of this name. **Raises** `QueryError` where there is none."""
        found = self.symbols.get(name)
        if found is None:
            known = ", ".join(sorted(self.symbols)[:12])
            raise self.source.error(f"`{name}` is not declared; declared are {known}", at)
        return found

    def slot(self, symbol: Symbol, index: tuple[int, ...] | None, at: int) -> int:
        """The slot of one element. **Raises** `QueryError` for a wrong rank or index."""
        shape = symbol.variable.shape
        name = symbol.variable.name
        index = () if index is None else index
        if len(index) != len(shape):
            raise self.source.error(
                f"`{name}` has shape {list(shape)}, so it takes {len(shape)} indices, "
                f"not {len(index)}",
                at,
            )
        flat = 0
        for position, extent in zip(index, shape, strict=True):
            if position >= extent:
                raise self.source.error(self._out_of_range(name, index, shape), at)
            flat = flat * extent + position
        return symbol.slots[flat]

    def check_constant(self, value: Fraction, type_name: str, at: int) -> None:
        """**Raises** `QueryError` where `value` is not a member of the element type."""
        if type_name in _FLOAT_TYPES:
            return
        integer = _INTEGER_TYPE.fullmatch(type_name)
        if integer is None:
            raise self.source.error(f"arithmetic on `{type_name}` is not supported", at)
        unsigned, bits = bool(integer.group(1)), int(integer.group(2))
        low = 0 if unsigned else -(2 ** (bits - 1))
        high = 2**bits - 1 if unsigned else 2 ** (bits - 1) - 1
        if value.denominator != 1 or not low <= value <= high:
            raise self.source.error(f"the constant is not a member of `{type_name}`", at)

    def _out_of_range(self, name: str, index: tuple[int, ...], shape: tuple[int, ...]) -> str:
        if self.version == "1.0":
            return f"`{name}_{index[0]}` is not declared; declared are 0 to {shape[0] - 1}"
        return f"index {list(index)} is outside the shape {list(shape)} of `{name}`"


def check_declarations(script: Script, source: Source) -> None:
    """Names unique, types known and not mixed with `real`, shapes positive, twins alike.

    **Raises** `QueryError` at the first declaration that breaks a rule of the standard.
    """
    names: set[str] = set()
    networks: dict[str, Network] = {}
    reals: dict[bool, Declaration] = {}
    for network in script.networks:
        if network.name in networks:
            raise source.error(f"network `{network.name}` is declared twice", network.at)
        if network.twin is not None:
            _check_twin(network, networks.get(network.twin), source)
        networks[network.name] = network
        for declaration in network.declarations:
            if declaration.name in names:
                raise source.error(f"`{declaration.name}` is declared twice", declaration.at)
            names.add(declaration.name)
            _check_declaration(declaration, source)
            reals.setdefault(_canonical(declaration.element_type) == "real", declaration)
            if len(reals) == 2:
                raise source.error(
                    "`real` is mixed with other element types; where one variable is `real`, "
                    "all must be",
                    declaration.at,
                )


def _check_declaration(declaration: Declaration, source: Source) -> None:
    name = _canonical(declaration.element_type)
    known = name in _FLOAT_TYPES or name in _OTHER_TYPES or _INTEGER_TYPE.fullmatch(name)
    if not known:
        raise source.error(
            f"`{declaration.element_type}` is not an element type; use `real` or an ONNX type "
            "such as `float32`",
            declaration.at,
        )
    if 0 in declaration.shape:
        raise source.error(
            f"`{declaration.name}` has an extent of 0 in its shape {list(declaration.shape)}",
            declaration.at,
        )
    if math.prod(declaration.shape) > 10**9:
        raise source.error(f"`{declaration.name}` has more than 10^9 elements", declaration.at)


def _check_twin(network: Network, twin: Network | None, source: Source) -> None:
    """`equal-to` and `isomorphic-to`: an earlier network, no chains, the same signature."""
    if twin is None:
        raise source.error(
            f"`{network.name}` is {network.twin_relation} `{network.twin}`, which is not "
            "declared before it",
            network.at,
        )
    if twin.twin is not None:
        raise source.error(
            f"`{network.name}` is {network.twin_relation} `{twin.name}`, which itself is "
            f"{twin.twin_relation} `{twin.twin}`; name `{twin.twin}` instead",
            network.at,
        )
    if _signature(network) != _signature(twin):
        raise source.error(
            f"`{network.name}` is {network.twin_relation} `{twin.name}`, but their inputs and "
            "outputs differ in number, type or shape",
            network.at,
        )


def _signature(network: Network) -> list[tuple[str, str, tuple[int, ...]]]:
    return [
        (item.kind, _canonical(item.element_type), item.shape)
        for item in network.declarations
        if item.kind != "hidden"
    ]


def _canonical(element_type: str) -> str:
    return "real" if element_type == "Real" else element_type


def check_supported(networks: Iterable[Network], source: Source) -> None:
    """**Raises** `QueryError` for what parses but is not supported: `initialized`."""
    for network in networks:
        for declaration in network.declarations:
            if declaration.initialized:
                raise source.error(
                    f"`initialized` input `{declaration.name}` (a 2.1 feature) is not supported; "
                    "remove it, or fix the input's value by `==` assertions",
                    declaration.at,
                )


def build_scope(script: Script, source: Source) -> Scope:
    """The scope of a script, no inputs tied."""
    inputs = _numbered(script.networks, ("input",), 0)
    input_count = sum(len(slots) for _, slots in inputs)
    outputs = _numbered(script.networks, ("output", "hidden"), input_count)
    slots = {item.name: own for item, own in (*inputs, *outputs)}
    symbols = {}
    for network in script.networks:
        for item in network.declarations:
            first = slots[item.name].start
            start = first if item.kind == "input" else first - input_count
            variable = Variable(
                item.name,
                item.element_type,
                item.shape,
                item.kind,
                network.name,
                start,
                node=item.node or "",
            )
            symbols[item.name] = Symbol(variable, slots[item.name])
    return Scope(source, script.version, symbols, input_count)


def _numbered(
    networks: Iterable[Network], kinds: tuple[str, ...], first: int
) -> list[tuple[Declaration, range]]:
    """The tensors of these kinds with their slots: network by network, kind by kind."""
    found = []
    for network in networks:
        for kind in kinds:
            for item in network.declarations:
                if item.kind == kind:
                    size = math.prod(item.shape)
                    found.append((item, range(first, first + size)))
                    first += size
    return found


def with_tied_inputs(scope: Scope, numbers: Sequence[int]) -> Scope:
    """The scope with the slots `numbers` for the inputs; outputs move up behind them."""
    input_count = max(numbers) + 1
    shift = scope.input_count - input_count
    symbols = {}
    for name, symbol in scope.symbols.items():
        variable, slots = symbol.variable, symbol.slots
        if variable.kind != "input":
            slots = range(slots[0] - shift, slots[-1] + 1 - shift)
        else:
            slots = tuple(numbers[slot] for slot in slots)
            follows = slots == tuple(range(slots[0], slots[0] + len(slots)))
            variable = dataclasses.replace(
                variable, start=slots[0], positions=() if follows else slots
            )
        symbols[name] = Symbol(variable, slots)
    return Scope(scope.source, scope.version, symbols, input_count)
