"""Names, shapes, types and networks of a script, checked; where each tensor element stands.

All scalars of the model under test have one number each, their *slot*: inputs come first, in
declaration order and row-major, then the outputs, then the outputs of norm networks. Elements of
a norm network's input have the slot of the model input to which they are tied.
"""

import math
import re
from collections.abc import Iterable, Mapping
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
    """A declared tensor and the slot of its first element."""

    variable: Variable
    first_slot: int

    @property
    def type_name(self) -> str:
        """The element type for comparisons: `Real` and `real` are the same."""
        return _canonical(self.variable.element_type)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """What the names of a script mean.

    - `input_count`, `output_count`: scalars of the model under test; its input slots are
      `range(input_count)`.
    - `norm_slots`: slot of a norm network's output → the network's name and the first position
      of the model input to which it is tied.
    """

    source: Source
    version: str
    symbols: dict[str, Symbol]
    input_count: int
    output_count: int
    norm_slots: dict[int, tuple[str, int]]

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
        return symbol.first_slot + flat

    def slot_name(self, slot: int) -> str:
        """A name for messages: of the declared tensor that holds this slot."""
        for symbol in self.symbols.values():
            size = math.prod(symbol.variable.shape)
            if symbol.first_slot <= slot < symbol.first_slot + size:
                return self._element_name(symbol, slot - symbol.first_slot)
        return f"slot {slot}"

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

    def _element_name(self, symbol: Symbol, flat: int) -> str:
        name = symbol.variable.name
        if self.version == "1.0":
            return f"{name}_{flat}"
        index = []
        for extent in reversed(symbol.variable.shape):
            flat, position = divmod(flat, extent)
            index.append(str(position))
        return f"{name}[{','.join(reversed(index))}]" if index else name

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
    """**Raises** `QueryError` for what parses but is not supported: hidden, `initialized`."""
    for network in networks:
        for declaration in network.declarations:
            if declaration.kind == "hidden":
                raise source.error(
                    f"hidden node `{declaration.name}` (ONNX `{declaration.node}`): queries about "
                    "hidden nodes are not supported; state the property over inputs and outputs",
                    declaration.at,
                )
            if declaration.initialized:
                raise source.error(
                    f"`initialized` input `{declaration.name}` (a 2.1 feature) is not supported; "
                    "remove it, or fix the input's value by `==` assertions",
                    declaration.at,
                )


def build_scope(script: Script, source: Source, tied: Mapping[str, str]) -> Scope:
    """The scope of a script whose first network is the model under test.

    **Arguments:**

    - `tied`: norm network's input variable → model input variable, for every further network.

    **Raises** `QueryError` as `check_supported`.
    """
    check_supported(script.networks, source)
    model, *norms = script.networks
    symbols: dict[str, Symbol] = {}
    input_count = _add_all(symbols, model, "input", 0)
    output_count = _add_all(symbols, model, "output", input_count)
    norm_slots: dict[int, tuple[str, int]] = {}
    for network in norms:
        norm_input, norm_output = network.declarations
        start = symbols[tied[norm_input.name]].first_slot
        _add(symbols, norm_input, network.name, start, start)
        slot = input_count + output_count + len(norm_slots)
        _add(symbols, norm_output, network.name, 0, slot)
        norm_slots[slot] = (network.name, start)
    return Scope(source, script.version, symbols, input_count, output_count, norm_slots)


def _add_all(symbols: dict[str, Symbol], network: Network, kind: str, first_slot: int) -> int:
    """Add a network's tensors of one kind, one after another; the number of their scalars."""
    count = 0
    for item in network.declarations:
        if item.kind == kind:
            _add(symbols, item, network.name, count, first_slot + count)
            count += math.prod(item.shape)
    return count


def _add(
    symbols: dict[str, Symbol], item: Declaration, network: str, start: int, slot: int
) -> None:
    variable = Variable(item.name, item.element_type, item.shape, item.kind, network, start)
    symbols[item.name] = Symbol(variable, slot)
