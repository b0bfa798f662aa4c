"""Syntax tree to `Query`: names resolved, constraints sorted, cases made."""

from dataclasses import dataclass, field
from typing import final

from vnn_mondeq.query.query import (
    Case,
    Constraint,
    LinearConstraint,
    Monomial,
    PolynomialConstraint,
    Query,
)
from vnn_mondeq.vnnlib_io.atom import (
    Disjunction,
    InputBound,
    LinearAtom,
    PolynomialAtom,
    read_comparison,
)
from vnn_mondeq.vnnlib_io.normal_form import (
    cross_product,
    read_condition,
    too_many_cases,
)
from vnn_mondeq.vnnlib_io.number import read_number
from vnn_mondeq.vnnlib_io.region import InputAtom, Interval, RegionBuilder
from vnn_mondeq.vnnlib_io.scope import (
    Scope,
    build_scope,
    check_declarations,
    check_supported,
    with_tied_inputs,
)
from vnn_mondeq.vnnlib_io.source import Source
from vnn_mondeq.vnnlib_io.syntax import (
    Bound,
    BoundRun,
    Comparison,
    Number,
    Reference,
    Relation,
    Script,
)
from vnn_mondeq.vnnlib_io.ties import number_tied_inputs

_UPPER = {"<=": True, "<": True, ">=": False, ">": False}
_STRICT = {"<=": False, "<": True, ">=": False, ">": True}


def elaborate(script: Script, source: Source, max_cases: int) -> Query:
    """What a script means.

    **Raises** `QueryError` for whatever breaks a rule of the standard or is not supported, and
    for more than `max_cases` cases.
    """
    check_declarations(script, source)
    check_supported(script.networks, source)
    scope = build_scope(script, source)
    numbers = number_tied_inputs(script, scope)
    if numbers is not None:
        scope = with_tied_inputs(scope, numbers)
    gathered = _Gathered([Interval()] * scope.input_count)
    for assertion in script.assertions:
        if isinstance(assertion, BoundRun):
            _gather_run(assertion, scope, gathered)
        else:
            at = assertion.at
            alternatives = read_condition(assertion.condition, scope, at, max_cases)
            gathered.add(alternatives, scope, at, max_cases)
    shares = {n.name: n.twin for n in script.networks if n.twin_relation == "equal-to"}
    return Query(
        version=script.version,
        variables=tuple(symbol.variable for symbol in scope.symbols.values()),
        cases=tuple(_cases(gathered, scope)),
        networks=tuple(n.name for n in script.networks if n.name not in shares),
        twins=shares,
    )


@final
@dataclass(slots=True, eq=False)
class _Gathered:
    """What the assertions read so far say.

    - `common`: bounds of every case, one interval for each input.
    - `choices`: all else, one disjunction for each assertion that is not a common bound.
    - `case_count`: product of the choices' sizes.
    """

    common: list[Interval]
    choices: list[Disjunction] = field(default_factory=list)
    case_count: int = 1

    def add(self, alternatives: Disjunction, scope: Scope, at: int, max_cases: int) -> None:
        """Conjoin the assertion at `at`."""
        if len(alternatives) != 1:
            self.case_count *= len(alternatives)
            if self.case_count > max_cases:
                raise too_many_cases(self.case_count, scope, at, max_cases)
            self.choices.append(alternatives)
            return
        rest = []
        for atom in alternatives[0]:
            if isinstance(atom, InputBound):
                self.bound(atom)
            else:
                rest.append(atom)
        if rest:
            self.choices.append((tuple(rest),))

    def bound(self, atom: InputBound) -> None:
        """Conjoin a bound of every case."""
        interval = self.common[atom.position]
        self.common[atom.position] = interval.bounded(atom.value, atom.is_upper, atom.strict)


def _gather_run(run: BoundRun, scope: Scope, gathered: _Gathered) -> None:
    """Conjoin simple bounds, as `read_condition` would have read them."""
    common = gathered.common
    previous: tuple[str, str | None] | None = None
    for bound in run.bounds():
        if (bound.name, bound.index) != previous:
            symbol = scope.symbol(bound.name, bound.at)
            slot = scope.slot(symbol, _index_of(bound), bound.at)
            type_name = symbol.type_name
            previous = bound.name, bound.index
        if slot < scope.input_count:
            value = read_number(bound.number, scope.source, bound.number_at)
            scope.check_constant(value, type_name, bound.number_at)
            relation = bound.relation
            common[slot] = common[slot].bounded(value, _UPPER[relation], _STRICT[relation])
        else:
            gathered.choices.append(read_comparison(_comparison_of(bound), scope))


def _index_of(bound: Bound) -> tuple[int, ...] | None:
    return None if bound.index is None else tuple(map(int, bound.index.split(",")))


def _comparison_of(bound: Bound) -> Comparison:
    return Comparison(
        Relation(bound.relation),
        Reference(bound.name, _index_of(bound), bound.at),
        Number(bound.number, bound.number_at),
        bound.at,
    )


def _cases(gathered: _Gathered, scope: Scope) -> list[Case]:
    """The cross product of the choices, without empty boxes and repetitions."""
    regions = RegionBuilder(gathered.common)
    constraints: dict[LinearAtom | PolynomialAtom, Constraint] = {}
    cases: dict[tuple, Case] = {}
    for conjunction in cross_product(gathered.choices):
        inputs: list[InputAtom] = []
        outputs: list[LinearAtom] = []
        others: list[PolynomialAtom] = []
        for atom in conjunction:
            if isinstance(atom, PolynomialAtom):
                others.append(atom)
            elif not isinstance(atom, LinearAtom) or _is_input_only(atom, scope):
                inputs.append(atom)
            else:
                outputs.append(atom)
        region = regions.build(inputs)
        if region is None:
            continue
        for atom in (*outputs, *others):
            if atom not in constraints:
                constraints[atom] = _constraint(atom, scope)
        key = (id(region), frozenset(outputs), frozenset(others))
        if key not in cases:
            cases[key] = Case(
                region,
                tuple(constraints[atom] for atom in outputs),
                tuple(constraints[atom] for atom in others),
            )
    return list(cases.values())


def _is_input_only(atom: LinearAtom, scope: Scope) -> bool:
    return atom.terms[-1][0] < scope.input_count


def _constraint(atom: LinearAtom | PolynomialAtom, scope: Scope) -> Constraint:
    first = scope.input_count
    if isinstance(atom, PolynomialAtom):
        terms = {_split(monomial, first): c for monomial, c in atom.terms}
        return PolynomialConstraint(terms, atom.offset, atom.strict)
    return LinearConstraint(
        x={slot: c for slot, c in atom.terms if slot < first},
        y={slot - first: c for slot, c in atom.terms if slot >= first},
        offset=atom.offset,
        strict=atom.strict,
    )


def _split(slots: tuple[int, ...], first: int) -> Monomial:
    """The inputs and the outputs of a product."""
    inputs = tuple(slot for slot in slots if slot < first)
    return inputs, tuple(slot - first for slot in slots if slot >= first)
