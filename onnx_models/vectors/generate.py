"""Writes the test vectors of the monDEQ operators into a folder.

For each case `NAME.onnx`, one node `u -> z` (or a whole network `x -> y`), and `NAME.npz` with an
input and the exact result.

    python onnx_models/vectors/generate.py -o FOLDER
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from vnn_mondeq.onnx_io.attach import attach_solver
from vnn_mondeq.onnx_io.export_arrays import export_arrays
from vnn_mondeq.onnx_io.load import compile_model
from vnn_mondeq.onnx_io.operator import DOMAIN, IR_VERSION, OPERATORS, OPSET
from vnn_mondeq.onnx_io.save import save
from vnn_mondeq.system.solve import FixpointSolver

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Case:
    """One node with drawn weights.

    - `shape`: of `u` without the batch.
    - `weights`: how the operator's weights are scaled, in the order of its inputs behind `u`.
    - `m`: the attribute, for the factored operators; else added to the diagonal of `I - W`.
    - `rows`: scale of each row of the batch.
    - `mask_channels`: 1 for a mask `[1, H, W]`, else `[C, H, W]`.
    """

    operator: str
    shape: tuple[int, ...]
    weights: tuple[float, ...]
    m: float
    dtype: type = np.float32
    rows: tuple[float, ...] = (1.0, 1.0, 0.0)
    reach: int = 3
    mask_channels: int = 1


CASES = {
    "dense": Case("MonDEQ", (4,), (1.0,), 1.0),
    "dense_float64": Case("MonDEQ", (4,), (1.0,), 1.0, dtype=np.float64),
    "dense_scales": Case("MonDEQ", (5,), (1.0,), 0.5, rows=(1e-6, 1.0, 1e6)),
    "dense_factored": Case("MonDEQFactored", (4,), (1.0, 1.0), 0.5),
    "dense_factored_wide": Case("MonDEQFactored", (6,), (0.5, 4.0), 0.5),
    "conv": Case("MonDEQConv", (2, 4, 5), (0.1,), 1.0),
    "conv_masks": Case("MonDEQConv", (2, 5, 5), (0.04,), 1.0, reach=5, mask_channels=2),
    "conv_factored": Case("MonDEQConvFactored", (2, 4, 5), (0.3, 0.3), 0.5),
    "conv_factored_float64": Case(
        "MonDEQConvFactored", (3, 3, 4), (0.2, 0.4), 0.5, dtype=np.float64, mask_channels=3
    ),
}


def weights(case: Case, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The operator's inputs behind `u`."""
    found = {}
    for name, scale in zip(OPERATORS[case.operator].inputs[1:], case.weights, strict=False):
        if len(case.shape) == 1:
            p = case.shape[0]
            rows = p - 1 if name == "P" else p
            found[name] = scale * rng.normal(size=(rows, p))
        else:
            c = case.shape[0]
            found[name] = scale * rng.normal(size=(c, c, case.reach, case.reach))
    if case.operator == "MonDEQ":
        A, B = 0.5 * rng.normal(size=(2, *found["W"].shape))
        found["W"] = (1.0 - case.m) * np.eye(case.shape[0]) - A.T @ A + B - B.T
    if len(case.shape) == 3:
        mask = (rng.random((case.mask_channels, *case.shape[1:])) < 0.8).astype(float)
        found["mask"] = mask
    return {name: value.astype(case.dtype) for name, value in found.items()}


def model(case: Case, stored: dict[str, np.ndarray]) -> onnx.ModelProto:
    spec = OPERATORS[case.operator]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(case.dtype))
    attributes = {"m": case.m} if "m" in spec.attributes else {}
    node = helper.make_node(
        case.operator, list(spec.inputs), ["z"], "layer", domain=DOMAIN, **attributes
    )
    graph = helper.make_graph(
        [node],
        "vector",
        [helper.make_tensor_value_info("u", kind, ["N", *case.shape])],
        [helper.make_tensor_value_info("z", kind, ["N", *case.shape])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    made = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
    made.producer_name = "vnn_mondeq"
    return made


def solved(made: onnx.ModelProto, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs in float64 for a batch, and a bound on the 2-norm of each row's error."""
    system = compile_model(made).system
    flat = x.reshape(len(x), -1).astype(np.float64)
    solution = FixpointSolver(system).solve(flat)
    found = system.output(solution.value, flat)
    gain = np.linalg.norm(system.output.coefficients.on_z, 2)
    # The last term is for evaluating the output map.
    return found, solution.error_bound * gain + 1e-14 * np.linalg.norm(found, axis=1)


def write_case(folder: Path, name: str, case: Case, seed: int) -> None:
    rng = np.random.default_rng([20260101, seed])
    bare = model(case, weights(case, rng))
    made = attach_solver(bare)
    onnx.checker.check_model(made, full_check=True)
    scales = np.array(case.rows).reshape(-1, *(1,) * len(case.shape))
    u = (scales * rng.normal(size=(len(case.rows), *case.shape))).astype(case.dtype)
    z, error = solved(made, u)
    save(made, folder / f"{name}.onnx")
    np.savez(folder / f"{name}.npz", u=u, z=z.reshape(u.shape), error=error)
    if name == "dense":
        # The same without a body and its attributes: the meaning does not change.
        save(bare, folder / "dense_without_body.onnx")
        np.savez(folder / "dense_without_body.npz", u=u, z=z.reshape(u.shape), error=error)


def write_network(folder: Path) -> None:
    """A whole network: normalisation, input map, layer, output map."""
    rng = np.random.default_rng([20260101, 99])
    shapes = {"A": (5, 5), "B": (5, 5), "U": (5, 6), "u": (5,), "C": (3, 5), "c": (3,)}
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    scale = {"m": np.array(2.0), "mean": np.array([0.4]), "std": np.array([0.3])}
    made = export_arrays(arrays | scale)
    x = rng.random((3, 6)).astype(np.float32)
    y, error = solved(made, x)
    save(made, folder / "network.onnx")
    np.savez(folder / "network.npz", x=x, y=y, error=error)


def write_refused(folder: Path) -> None:
    """A file that a reader must refuse: `I - W` is not strongly monotone."""
    case = CASES["dense"]
    made = model(case, {"W": np.diag([0.5, 0.5, 0.5, 1.5]).astype(np.float32)})
    save(attach_solver(made), folder / "refused_not_monotone.onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=HERE, metavar="FOLDER")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, case) in enumerate(CASES.items()):
        write_case(folder, name, case, seed)
    write_network(folder)
    write_refused(folder)


if __name__ == "__main__":
    main()
