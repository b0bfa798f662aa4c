"""`vnn-mondeq inspect`: what a model file means to this package."""

import argparse
from typing import TYPE_CHECKING

from vnn_mondeq.cli import exit_code

if TYPE_CHECKING:
    from vnn_mondeq.system.implicit import ImplicitSystem


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL.onnx")


def run(arguments: argparse.Namespace) -> int:
    from vnn_mondeq import api

    model = api.load_model(arguments.model)
    print(f"model: {arguments.model}")
    print(f"element type: {model.element_type}")
    print("\n".join(describe(model.system)))
    return exit_code.OK


def describe(system: "ImplicitSystem") -> list[str]:
    """Tensors, layers and proved constants, a line each."""
    from vnn_mondeq.system.lipschitz import lipschitz_bound

    lines = [f"input: {name} {list(shape)}" for name, shape in system.inputs.items()]
    lines += [f"output: {name} {list(shape)}" for name, shape in system.outputs.items()]
    for block in system.blocks:
        kind = "equilibrium layer" if block.feedback else "ReLU layer"
        kind += " (a plain loop that comes near it)" if block.plain_loop else ""
        dropped = block.size - (block.stop - block.start)
        note = f" ({dropped} of {block.size} are identically zero)" if dropped else ""
        lines.append(f"{kind}: {block.name}, {block.stop - block.start} neurons{note}")
    lines.append(f"neurons: {system.neurons}")
    lines.append(
        "strong monotonicity of I - W: proved, modulus at least "
        f"{system.proof.modulus:.6g}, so every input has exactly one fixpoint"
    )
    lines.append(f"norm of I - W: at most {system.proof.norm:.6g}")
    if system.auxiliary_size:
        lines.append(
            f"known by bounds on a query's box only: {system.auxiliary_size} entries, of "
            "operators that are not piecewise linear (docs/operators.md)"
        )
        return lines
    lines.append(
        f"L2 Lipschitz constant: at most {lipschitz_bound(system):.6g} (closed form, not tight)"
        + (" of the fixpoint" if any(block.plain_loop for block in system.blocks) else "")
    )
    return lines
