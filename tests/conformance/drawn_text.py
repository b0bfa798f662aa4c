"""VNN-LIB 2.0 texts drawn from the standard's grammar: networks, hidden nodes, any nesting.

Only what the standard and its reference parser agree on: no `=`, no exponents, decimal literals,
one element type for all, a variable in each comparison, no chains of equal networks.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import final

import numpy as np

KINDS = ("input", "hidden", "output")
TYPES = ("real", "float32", "float64")


@final
@dataclass(frozen=True, slots=True)
class Drawn:
    """A text, and the names of all elements of its variables."""

    text: str
    elements: tuple[str, ...]

    def point(self, rng: np.random.Generator) -> dict[str, Fraction]:
        """Halves near zero: equalities and ties occur."""
        return {name: Fraction(int(rng.integers(-3, 4)), 2) for name in self.elements}


def draw(
    rng: np.random.Generator, networks: int = 3, hidden: bool = True, operators: str = "+-*"
) -> Drawn:
    """A text with up to `networks` networks."""
    element_type = TYPES[rng.integers(len(TYPES))]
    parts, elements, shapes = ["(vnnlib-version <2.0>)"], [], []
    for number in range(int(rng.integers(1, networks + 1))):
        twin = int(rng.integers(number)) if number and rng.random() < 0.6 else None
        if twin is not None and shapes[twin] is None:
            twin = None  # a twin of a twin
        counts = (rng.integers(1, 3), rng.integers(0, 3) if hidden else 0, rng.integers(1, 3))
        own = (
            shapes[twin] if twin is not None else [[_shape(rng) for _ in range(n)] for n in counts]
        )
        shapes.append(own if twin is None else None)
        relation = ("equal-to", "isomorphic-to")[int(rng.integers(2))]
        lines = [f"(declare-network n{number}"]
        lines += [f"({relation} n{twin})"] if twin is not None else []
        for kind, of_kind in zip(KINDS, own, strict=True):
            for index, shape in enumerate(of_kind):
                name = f"{kind[0].upper()}{number}_{index}"
                node = f' "a/b:{index}"' if kind == "hidden" else ""
                dims = ",".join(map(str, shape))
                lines.append(f"(declare-{kind} {name} {element_type} [{dims}]{node})")
                elements += [
                    f"{name}[{','.join(map(str, at))}]" if at else name for at in np.ndindex(*shape)
                ]
        parts.append("\n\t".join(lines) + "\n)")
    for _ in range(int(rng.integers(1, 5))):
        parts.append(f"(assert {_condition(rng, elements, int(rng.integers(0, 4)), operators)})")
    blank = ("\n", "\n; a comment (with (parentheses\n", "\n\n", "\r\n")[int(rng.integers(4))]
    return Drawn(blank.join(parts) + blank, tuple(elements))


def _shape(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(size) for size in rng.integers(1, 4, size=int(rng.integers(0, 3))))


def _condition(rng: np.random.Generator, elements: list[str], depth: int, operators: str) -> str:
    if depth == 0:
        relation = ("<=", "<", ">=", ">", "==", "!=")[int(rng.integers(6))]
        sides = [
            _term(rng, elements, int(rng.integers(0, 3)), operators),
            elements[rng.integers(len(elements))],
        ]
        rng.shuffle(sides)
        return f"({relation} {sides[0]} {sides[1]})"
    word = ("and", "or")[int(rng.integers(2))]
    inner = [
        _condition(rng, elements, depth - 1, operators) for _ in range(int(rng.integers(1, 4)))
    ]
    return f"({word} {' '.join(inner)})"


def _term(rng: np.random.Generator, elements: list[str], depth: int, operators: str) -> str:
    if depth == 0:
        if rng.random() < 0.4:
            return f"{rng.integers(-3, 4)}.{(0, 5)[int(rng.integers(2))]}"
        return elements[rng.integers(len(elements))]
    operator = operators[int(rng.integers(len(operators)))]
    least = 1 if operator == "-" else 2
    inner = [_term(rng, elements, depth - 1, operators) for _ in range(int(rng.integers(least, 4)))]
    return f"({operator} {' '.join(inner)})"
