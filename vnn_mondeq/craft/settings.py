"""Every choice that CRAFT leaves open, with the paper's values and ours (docs/craft.md)."""

import math
from dataclasses import dataclass, replace
from enum import Enum
from typing import final


class State(Enum):
    """What an abstract Peaceman-Rachford iteration carries from step to step.

    `JOINT`: the paper's `[z, u]`. `REFLECTED`: `t = 2z - u`, all that the next step reads; half
    the dimension, and no correlation between `z` and `u` to lose.
    """

    REFLECTED = "reflected"
    JOINT = "joint"


class Components(Enum):
    """What a consolidated set consists of (table 3, "no zono component", "no Box component")."""

    BOTH = "both"
    ONLY_BOX = "box"
    ONLY_ZONOTOPE = "zonotope"


class Splitting(Enum):
    """Peaceman-Rachford or forward-backward."""

    PR = "pr"
    FB = "fb"


class WideningRule(Enum):
    """Table 4: constant, growing by 1.1 (multiplier) and 1.2 (addition) at every second
    consolidation, or none."""

    CONSTANT = "const"
    EXPONENTIAL = "exp"
    NONE = "none"


@final
@dataclass(frozen=True, slots=True)
class CraftSettings:
    """All settings of the engine. The letters are those of table 4 and appendix B.

    Containment:

    - `state`, `components`, `joint_consolidation`: what is iterated and how it is consolidated.
      `joint_consolidation=False` consolidates `z` and `u` apart (needs `State.JOINT`).
    - `contain_with`: the splitting of the containment phase (table 3: "Only FwdBwd").
    - `alpha`: step size of the containment phase; `None` chooses it from `W` and retries with
      others where containment fails.
    - `consolidate_every`: `r`. `renew_basis_every`: steps between new PCA bases.
    - `stored_states`: consolidated states kept for the inclusion check.
    - `widening`, `widening_multiplier`, `widening_addition`; with `relative_widening` the addition
      is in units of the set's mean spread, so that it suits networks and inputs of any scale.
    - `max_steps`: `n_max`. `max_width`: abort when the set is wider than this anywhere.

    Tightening:

    - `tighten_with`: `PR` for table 3's "Only PR".
    - `only_contained`: stop at the contained step (table 3, "Only consider contained").
    - `further_pr_steps`: Peaceman-Rachford steps after containment before the switch.
    - `tighten_steps`: limit of the steps after the switch.
    - `alpha_tighten`: their step size, as a part of theorem 4.2's limit `2m/L²`; `None` is a line
      search over `line_search` with `line_search_steps` steps each.
    - `consolidate_tightening`: `r'`; the basis is renewed at every second one.
    - `patience`: stop after this many steps without improvement of the worst margin by more than
      `least_gain`.
    - `intersect`: keep the bounds `0 <= z <= Z`, `0 <= s <= S` proved so far and cut every later
      pre-activation with `[-αS, Z]`. Not in the paper.

    Slope optimisation:

    - `slopes`: whether to optimise them.
    - `slope_every`: tightening steps between two optimisations; one is at containment, one at the
      end. The paper has the last one only.
    - `slope_steps`: ascent steps for a worst margin above `slope_margin`; `slope_steps_close`
      above `slope_margin_close`.
    - `extrapolate`: give up where this many times the last gain would not make the worst margin
      positive; infinite: never.

    **Raises** `ValueError`, naming the field, for values that make no sense.
    """

    state: State = State.REFLECTED
    components: Components = Components.BOTH
    joint_consolidation: bool = True
    contain_with: Splitting = Splitting.PR
    alpha: float | None = None
    consolidate_every: int = 5
    renew_basis_every: int = 30
    stored_states: int = 10
    widening: WideningRule = WideningRule.CONSTANT
    widening_multiplier: float = 1.001
    widening_addition: float = 0.02
    relative_widening: bool = True
    max_steps: int = 200
    max_width: float = 1e9

    tighten_with: Splitting = Splitting.FB
    only_contained: bool = False
    further_pr_steps: int = 10
    tighten_steps: int = 60
    alpha_tighten: float | None = None
    line_search: tuple[float, ...] = (0.2, 0.4, 0.8)
    line_search_steps: int = 2
    consolidate_tightening: int = 50
    patience: int = 15
    least_gain: float = 2e-3
    intersect: bool = True

    slopes: bool = True
    slope_every: int = 10
    slope_steps: int = 60
    slope_margin: float = -math.inf
    slope_steps_close: int = 200
    slope_margin_close: float = -0.15
    extrapolate: float = 10.0

    def __post_init__(self) -> None:
        counts = (
            "consolidate_every",
            "renew_basis_every",
            "stored_states",
            "max_steps",
            "line_search_steps",
            "consolidate_tightening",
            "patience",
            "slope_every",
        )
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"CraftSettings.{name} must be at least 1")
        for name in ("further_pr_steps", "tighten_steps", "slope_steps", "slope_steps_close"):
            if getattr(self, name) < 0:
                raise ValueError(f"CraftSettings.{name} must not be negative")
        if self.widening_multiplier < 1.0 or self.widening_addition < 0.0:
            raise ValueError(
                "CraftSettings.widening_multiplier must be at least 1 and "
                "CraftSettings.widening_addition not negative"
            )
        if self.alpha is not None and not 0.0 < self.alpha < math.inf:
            raise ValueError("CraftSettings.alpha must be positive, or None")
        parts = self.line_search if self.alpha_tighten is None else (self.alpha_tighten,)
        if not parts or not all(0.0 < part < math.inf for part in parts):
            raise ValueError("CraftSettings.line_search and alpha_tighten must be positive")
        if not self.joint_consolidation and self.state is not State.JOINT:
            raise ValueError("CraftSettings.joint_consolidation=False needs state=State.JOINT")
        if not self.max_width > 0.0:
            raise ValueError("CraftSettings.max_width must be positive")

    @classmethod
    def paper(
        cls,
        alpha: float = 0.1,
        consolidate_every: int = 3,
        consolidate_tightening: int = 50,
        widening: WideningRule = WideningRule.CONSTANT,
    ) -> "CraftSettings":
        """The algorithm as printed: one row of table 4 (default: FCx87).

        Three readings are ours. "w_add = 1 + 10⁻²" is taken as `10⁻²`, because an addition of 1
        to every error term is wider than the sets it is added to. The line search goes beyond
        theorem 4.2's limit, which its proof does not use. The slopes are optimised in the
        fixpoint relaxation (`vnn_mondeq.craft.slopes`), not in an unrolled tail.
        """
        return cls(
            state=State.JOINT,
            alpha=alpha,
            consolidate_every=consolidate_every,
            widening=widening,
            widening_addition=0.01,
            relative_widening=False,
            max_steps=500,
            further_pr_steps=20,
            tighten_steps=480,
            consolidate_tightening=consolidate_tightening,
            line_search=(0.5, 0.99, 1.5, 2.0, 2.5),
            line_search_steps=5,
            patience=3 * consolidate_tightening,
            intersect=False,
            slope_every=500,
            slope_margin=-1.0,
            extrapolate=math.inf,
        )

    def ablation(self, name: str) -> "CraftSettings":
        """These settings with one row of table 3 applied (see `ABLATIONS`).

        **Raises** `ValueError` for an unknown name.
        """
        if name not in ABLATIONS:
            raise ValueError(f"unknown ablation {name!r}; choose from {', '.join(ABLATIONS)}")
        return replace(self, **ABLATIONS[name])


ABLATIONS: dict[str, dict[str, object]] = {
    "reference": {},
    "no-zonotope": {"components": Components.ONLY_BOX},
    "no-box": {"components": Components.ONLY_ZONOTOPE},
    "max-alpha": {"alpha": 0.12},
    "only-pr": {"tighten_with": Splitting.PR},
    "only-fb": {"contain_with": Splitting.FB, "alpha": None},
    "only-contained": {"only_contained": True, "slopes": False},
    "no-joint-consolidation": {"state": State.JOINT, "joint_consolidation": False},
}
"""Table 3: name → changed fields."""
