"""What the two papers print about the networks of their evaluation, with the region they verify.

All figures are counts among the first 100 test images. **The region matters**: CRAFT intersects the
ball with the range of pixels, [0, 1]; SemiMonDEQ's certificates are about the whole ball, while the
attack printed beside them keeps to that range. Counts for different regions cannot be compared.

Sources:

- CRAFT: Müller, Fischer, Staab, Vechev, *Abstract Interpretation of Fixpoint Iterators with
  Applications to Neural Networks*, first version, tables 1 and 2 (columns Bound, Cert., Time).
- SemiMonDEQ: Chen, Lasserre, Magron, Pauwels, *Semialgebraic Representation of Monotone Deep
  Equilibrium Models*, table 2. Its `Lipschitz Model` takes 1500 s once, for all images. The public
  code of its `Robustness Model` drops the bias of the output layer.
- Pabbaraju: the Lipschitz bound of Pabbaraju et al., as SemiMonDEQ's table 2 prints it.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import final

from vnn_mondeq.report.outcome import Ball


@final
@dataclass(frozen=True, slots=True)
class Published:
    """One printed figure.

    - `certified`: images certified; `attack_leaves`: images that the paper's attack leaves, `None`
      where it prints none for this region.
    - `seconds`: mean for an image; `None` where the paper gives a time for all images together.
    - `source`: paper and table.
    """

    model: str
    ball: Ball
    method: str
    certified: int
    attack_leaves: int | None
    seconds: float | None
    source: str


_MNIST = Ball("inf", Fraction("0.05"), True)
_CIFAR = Ball("inf", Fraction(2, 255), True)

_CRAFT = (
    ("fc40_mnist", _MNIST, 36, 70, 17.2, "table 1"),
    ("fc87_mnist", _MNIST, 30, 75, 15.8, "table 1"),
    ("fc100_mnist", _MNIST, 23, 73, 11.3, "table 1"),
    ("fc200_mnist", _MNIST, 26, 83, 14.0, "table 1"),
    ("convsmall_mnist", _MNIST, 68, 80, 22.4, "table 1"),
    ("fc200_cifar10", _CIFAR, 22, 36, 16.8, "table 1"),
    ("convsmall_cifar10", _CIFAR, 29, 32, 41.1, "table 1"),
    ("fc87_mnist", Ball("inf", Fraction("0.1"), True), 0, 8, 9.75, "table 2"),
    ("fc87_mnist", Ball("inf", Fraction("0.01"), True), 99, 99, 1.40, "table 2"),
)

_SEMI = {
    Ball("2", Fraction("0.1"), False): {"Robustness": 99, "Lipschitz": 91, "Ellipsoid": 99},
    Ball("inf", Fraction("0.1"), False): {"Robustness": 0, "Lipschitz": 0, "Ellipsoid": 0},
    Ball("inf", Fraction("0.05"), False): {"Robustness": 24, "Lipschitz": 0, "Ellipsoid": 0},
    Ball("inf", Fraction("0.01"), False): {"Robustness": 99, "Lipschitz": 24, "Ellipsoid": 92},
}
_SEMI_SECONDS = {"Robustness": 1350.0, "Lipschitz": None, "Ellipsoid": 500.0}
_PABBARAJU = {"2": {"0.1": 91}, "inf": {"0.1": 0, "0.05": 0, "0.01": 0}}

PUBLISHED: tuple[Published, ...] = (
    *(
        Published(model, ball, "CRAFT", certified, attack, seconds, f"CRAFT, {table}")
        for model, ball, certified, attack, seconds, table in _CRAFT
    ),
    *(
        Published(
            *("fc87_mnist", ball, f"SemiMonDEQ {method}", certified, None),
            *(_SEMI_SECONDS[method], "SemiMonDEQ, table 2"),
        )
        for ball, methods in _SEMI.items()
        for method, certified in methods.items()
    ),
    *(
        Published(
            *("fc87_mnist", Ball(norm, Fraction(radius), False), "Pabbaraju", certified, None),
            *(None, "SemiMonDEQ, table 2"),
        )
        for norm, radii in _PABBARAJU.items()
        for radius, certified in radii.items()
    ),
)


def published(model: str, ball: Ball) -> list[Published]:
    """The printed figures for this network and ball, in this region or the other."""
    return [row for row in PUBLISHED if row.model == model and row.ball.same_size(ball)]
