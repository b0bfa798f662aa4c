"""What is asked: cases of linear constraints over a system's inputs and outputs.

A query describes the *unsafe* region, as VNN-LIB does: `sat` means that some input lies in one
of the cases. All numbers are exact rationals.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import final

from vnn_mondeq.query.input_set import AbstractInputSet


@final
@dataclass(frozen=True, slots=True)
class LinearConstraint:
    """`x · inputs + y · outputs + offset <= 0`, or `< 0` when `strict`; sparse coefficients.

    - `x`: flattened position among all inputs → coefficient.
    - `y`: flattened position among all outputs → coefficient.
    """

    x: Mapping[int, Fraction]
    y: Mapping[int, Fraction]
    offset: Fraction
    strict: bool

    def value(self, inputs: Mapping[int, Fraction], outputs: Mapping[int, Fraction]) -> Fraction:
        """The left-hand side at exact points."""
        total = self.offset
        for position, coefficient in self.x.items():
            total += coefficient * inputs[position]
        for position, coefficient in self.y.items():
            total += coefficient * outputs[position]
        return total


Monomial = tuple[tuple[int, ...], tuple[int, ...]]
"""A product of inputs and outputs: their positions, each ascending, a factor that occurs twice
listed twice."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class PolynomialConstraint:
    """`Σ coefficient · product + offset <= 0`, or `< 0` when `strict`.

    - `terms`: no constant among them.
    """

    terms: Mapping[Monomial, Fraction]
    offset: Fraction
    strict: bool

    @property
    def x(self) -> frozenset[int]:
        """The inputs that occur."""
        return frozenset(i for inputs, _ in self.terms for i in inputs)

    @property
    def y(self) -> frozenset[int]:
        """The outputs that occur."""
        return frozenset(i for _, outputs in self.terms for i in outputs)

    def value(self, inputs: Mapping[int, Fraction], outputs: Mapping[int, Fraction]) -> Fraction:
        """The left-hand side at exact points."""
        total = self.offset
        for (x, y), coefficient in self.terms.items():
            for position in x:
                coefficient *= inputs[position]
            for position in y:
                coefficient *= outputs[position]
            total += coefficient
        return total


Constraint = LinearConstraint | PolynomialConstraint


@final
@dataclass(frozen=True, slots=True)
class Case:
    """One disjunct: an input set, and constraints that must all hold for a violation.

    - `constraints`: each involves at least one output (constraints on inputs alone belong to
      `inputs`).
    - `checked`: further constraints that a counterexample must satisfy. Engines know of them what
      `inputs` says, and the rows that `vnn_mondeq.statement` derives from them.

    Without either, every input of the set is a counterexample.
    """

    inputs: AbstractInputSet
    constraints: tuple[LinearConstraint, ...]
    checked: tuple[Constraint, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class Variable:
    """A declared tensor: VNN-LIB name, element type as declared, shape, network, position.

    - `kind`: `"input"`, `"output"` or `"hidden"`.
    - `start`: flattened position of its first element among the query's inputs (or outputs).
    - `positions`: of all elements, where they do not follow one another: inputs that the query
      ties by `==` share a position.
    - `node`: the ONNX name of a hidden tensor.
    """

    name: str
    element_type: str
    shape: tuple[int, ...]
    kind: str
    network: str
    start: int
    positions: tuple[int, ...] = ()
    node: str = ""

    @property
    def places(self) -> Sequence[int]:
        """The flattened position of each element, row-major."""
        return self.positions or range(self.start, self.start + math.prod(self.shape))


@final
@dataclass(frozen=True, slots=True)
class Query:
    """A whole property.

    Inputs are numbered from 0, elements that are tied to each other once. *Outputs* are what a
    network computes, hidden tensors included; they are numbered from 0, network by network,
    outputs before hidden tensors.

    - `version`: `"1.0"` or the 2.x version of the text.
    - `variables`: in declaration order.
    - `cases`: the disjuncts. None at all: the constraints contradict each other, `unsat`.
    - `networks`: declared network names that need a model file each.
    - `twins`: further networks, by name, and the one of `networks` whose file they share
      (`equal-to`).
    """

    version: str
    variables: tuple[Variable, ...]
    cases: tuple[Case, ...]
    networks: tuple[str, ...] = ("f",)
    twins: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_networks(self) -> tuple[str, ...]:
        """Networks and twins in declaration order."""
        return tuple(dict.fromkeys(variable.network for variable in self.variables))

    @property
    def input_variables(self) -> tuple[Variable, ...]:
        """The inputs, without those all of whose elements are tied to earlier ones."""
        found, seen = [], set()
        for variable in self.variables:
            if variable.kind == "input" and not seen.issuperset(variable.places):
                seen.update(variable.places)
                found.append(variable)
        return tuple(found)

    @property
    def output_variables(self) -> tuple[Variable, ...]:
        """The outputs of all networks, hidden tensors left out."""
        return tuple(variable for variable in self.variables if variable.kind == "output")

    @property
    def input_count(self) -> int:
        """How many inputs are numbered."""
        inputs = [variable for variable in self.variables if variable.kind == "input"]
        return 1 + max((max(variable.places) for variable in inputs), default=-1)

    @property
    def is_about_one_model(self) -> bool:
        """Whether inputs and outputs are those of one model, one after another, and no more."""
        inputs = [v for v in self.variables if v.kind == "input"]
        return (
            len(self.all_networks) <= 1
            and all(v.kind != "hidden" for v in self.variables)
            and not any(v.positions for v in inputs)
        )
