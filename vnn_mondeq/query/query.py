"""What is asked: cases of linear constraints over a system's inputs and outputs.

A query describes the *unsafe* region, as VNN-LIB does: `sat` means that some input lies in one
of the cases. All numbers are exact rationals.
"""

from collections.abc import Mapping
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


@final
@dataclass(frozen=True, slots=True)
class NormBound:
    """A norm network's output is `<= bound` (`< bound` when `strict`) in a case.

    Stands for an Lq ball whose q, centre and coordinates are in the norm network's model file;
    `vnn_mondeq.query.norm.resolve_norms` puts the ball in its place.

    - `network`: the norm network's declared name.
    - `start`: first flattened position, among the query's inputs, of the variable to which the
      norm network's input is tied element by element.
    """

    network: str
    bound: Fraction
    strict: bool
    start: int = 0


@final
@dataclass(frozen=True, slots=True)
class Case:
    """One disjunct: an input set, and constraints that must all hold for a violation.

    - `constraints`: each involves at least one output (constraints on inputs alone belong to
      `inputs`). Empty: every input of the set is a counterexample.
    - `norm_bounds`: further constraints on the inputs, waiting for `resolve_norms`; engines
      never see a case that has any.
    """

    inputs: AbstractInputSet
    constraints: tuple[LinearConstraint, ...]
    norm_bounds: tuple[NormBound, ...] = field(default=())


@final
@dataclass(frozen=True, slots=True)
class Variable:
    """A declared tensor: VNN-LIB name, element type as declared, shape, network, position.

    - `kind`: `"input"`, `"output"` or `"hidden"`.
    - `start`: first flattened position among the query's inputs (or outputs).
    """

    name: str
    element_type: str
    shape: tuple[int, ...]
    kind: str
    network: str
    start: int


@final
@dataclass(frozen=True, slots=True)
class Query:
    """A whole property.

    - `version`: `"1.0"` or the 2.x version of the text.
    - `variables`: in declaration order; inputs and outputs count from 0 separately.
    - `cases`: the disjuncts. None at all: the constraints contradict each other, `unsat`.
    - `networks`: declared network names that need a model file each, norm networks included.
    - `norm_networks`: those of `networks` that are not the model under test but the documented
      norm gadget of an Lq ball (docs/vnnlib.md); they need their file but no engine. Their
      variables are in `variables` (a witness lists them) and in neither `input_variables` nor
      `output_variables`; the `start` of a norm network's input is that of the model input to
      which it is tied, so both hold the same numbers.
    """

    version: str
    variables: tuple[Variable, ...]
    cases: tuple[Case, ...]
    networks: tuple[str, ...] = ("f",)
    norm_networks: tuple[str, ...] = field(default=())

    @property
    def input_variables(self) -> tuple[Variable, ...]:
        """The inputs of the model under test, in the order of their positions."""
        return self._variables_of("input")

    @property
    def output_variables(self) -> tuple[Variable, ...]:
        """The outputs of the model under test, in the order of their positions."""
        return self._variables_of("output")

    def _variables_of(self, kind: str) -> tuple[Variable, ...]:
        return tuple(
            v for v in self.variables if v.kind == kind and v.network not in self.norm_networks
        )
