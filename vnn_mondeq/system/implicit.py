"""The canonical form: every supported graph is one implicit system.

    z = ReLU(W z + U x + b),        y = G z + H x + g

(algorithms.md, section 2; El Ghaoui et al., "Implicit deep learning".) A feed-forward layer is a
block of `W` without feedback, an equilibrium layer a block with feedback, and the importer scales
blocks by powers of two (`z -> D z`, exact) so that the whole `I - W` is strongly monotone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.errors import ModelError, UnsupportedModelError
from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.monotone import MonotonicityProof


@final
@dataclass(frozen=True, slots=True)
class Block:
    """A consecutive run of neurons that came from one node of the graph.

    - `name`: the ONNX output name.
    - `start`, `stop`: the slice of `z`.
    - `feedback`: whether the block is an equilibrium layer.
    - `scale`: the neurons of `z` are `scale` times those of the graph (a power of two).
    - `kept`: positions of the block's neurons in the flattened ONNX tensor of `size` entries;
      the other entries are identically zero and dropped out.
    - `solver_error`: 2-norm bound (graph units) on the distance between what the attached body
      returns and the exact fixpoint of the values it was given; 0 for a plain ReLU.
    - `plain_loop`: whether the file holds a finite loop, which comes near the fixpoint: how near is
      in the `radius` and `runtime` of the maps that read the block, for each input anew, so a
      property of the fixpoint as a *function* (a Lipschitz constant) is none of the file's.
    - `modulus`: proved modulus of strong monotonicity of the block's own `I - W`; 0 for none.
    """

    name: str
    start: int
    stop: int
    feedback: bool
    scale: float
    size: int
    kept: np.ndarray
    solver_error: float = 0.0
    plain_loop: bool = False
    modulus: float = 0.0


@final
@dataclass(frozen=True, slots=True, eq=False)
class ImplicitSystem:
    """One strongly monotone implicit system with an affine output.

    - `preactivation`: the map `v = W z + U x + b`, `p` rows.
    - `output`: the map `y = G z + H x + g`, `q` rows, the flattened ONNX outputs one after another.
    - `proof`: `I - W` (radius included) is strongly monotone; without it the system has no meaning.
    - `inputs`, `outputs`: name → shape of the ONNX tensors, in the file's order.
    - `auxiliary_lower`, `auxiliary_upper`: bounds `(k,)` of the last `k` inputs, which are none of
      the file's: quantities that it defines in a way that is not piecewise linear, and about which
      only these bounds are known, for the box of inputs that the system was compiled for. What
      holds for all their values holds for the file; the converse does not.
    """

    preactivation: AffineMap
    output: AffineMap
    blocks: tuple[Block, ...]
    proof: MonotonicityProof
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    auxiliary_lower: np.ndarray = field(default_factory=lambda: np.zeros(0))
    auxiliary_upper: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        p, d = self.neurons, self.input_size
        for name, part in (("pre-activation", self.preactivation), ("output", self.output)):
            c = part.coefficients
            if c.on_z.shape != (part.rows, p) or c.on_x.shape != (part.rows, d):
                raise ValueError(
                    f"the {name} map has shapes {c.on_z.shape} and {c.on_x.shape}; expected "
                    f"{part.rows} rows over {p} neurons and {d} inputs"
                )
            if not all(np.all(np.isfinite(a)) for a in (c.on_z, c.on_x, c.offset)):
                raise ModelError(f"the {name} map has weights that are not finite numbers")

    @property
    def W(self) -> np.ndarray:
        return self.preactivation.coefficients.on_z

    @property
    def U(self) -> np.ndarray:
        return self.preactivation.coefficients.on_x

    @property
    def b(self) -> np.ndarray:
        return self.preactivation.coefficients.offset

    @property
    def neurons(self) -> int:
        return self.W.shape[0]

    @property
    def input_size(self) -> int:
        return self.U.shape[1]

    @property
    def auxiliary_size(self) -> int:
        """How many of the inputs are auxiliary."""
        return self.auxiliary_lower.size

    @property
    def file_input_size(self) -> int:
        """How many of the inputs are the file's."""
        return self.input_size - self.auxiliary_size

    @property
    def output_size(self) -> int:
        return self.output.rows

    def require_piecewise_linear(self, what: str) -> None:
        """**Raises** `UnsupportedModelError` for a system with auxiliary inputs, of which no
        derivative is known. `what` begins the message."""
        if self.auxiliary_size:
            raise UnsupportedModelError(
                f"{what} needs a piecewise-linear model, and this one has operators that are known "
                "by bounds only (docs/operators.md)"
            )

    def require_fixpoint(self, what: str) -> None:
        """**Raises** `UnsupportedModelError` for a system with plain loops, whose results are known
        to be near a fixpoint and no more. `what` begins the message."""
        loops = [block.name for block in self.blocks if block.plain_loop]
        if loops:
            raise UnsupportedModelError(
                f"{what} is about fixpoints, and {', '.join(loops)} is the end of a plain loop, "
                "which comes near one but changes with the input in its own way; export the layer "
                "with the operators of ai.vnn_mondeq"
            )


def dense_system(
    W: np.ndarray,
    U: np.ndarray,
    b: np.ndarray,
    G: np.ndarray,
    g: np.ndarray,
    H: np.ndarray | None = None,
) -> ImplicitSystem:
    """A system from raw arrays, taken as exact; for tests, research and the raw Python API.

    `W (p, p)`, `U (p, d)`, `b (p,)`, `G (q, p)`, `g (q,)`, `H (q, d)` or none.

    **Raises** `NotMonotoneError` when strong monotonicity cannot be proved.
    """
    from vnn_mondeq.system.monotone import prove_strong_monotonicity

    W, U, b, G, g = (np.asarray(a, dtype=np.float64) for a in (W, U, b, G, g))
    H = np.zeros((G.shape[0], U.shape[1])) if H is None else np.asarray(H, dtype=np.float64)
    p = W.shape[0]
    return ImplicitSystem(
        preactivation=AffineMap(Coefficients(W, U, b)),
        output=AffineMap(Coefficients(G, H, g)),
        blocks=(Block("z", 0, p, True, 1.0, p, np.arange(p)),) if p else (),
        proof=prove_strong_monotonicity(W),
        inputs={"x": (U.shape[1],)},
        outputs={"y": (G.shape[0],)},
    )
