"""`vnn-mondeq supports`: what the tool can do, from static tables (VNN-LIB 2.0, section 1.2).

Nothing heavy is imported here: drivers ask these questions before every run. A test keeps the
operator table equal to the importer's.

Theories are listed with every member they include, since drivers compute no closure.
"""

import argparse

from vnn_mondeq.cli import exit_code

OPERATORS: tuple[str, ...] = (
    *("Abs", "Add", "And", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Celu", "Clip"),
    *("Concat", "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "Div", "Dropout"),
    *("Elu", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather", "Gelu", "Gemm"),
    *("GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual", "HardSigmoid"),
    *("HardSwish", "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log", "Loop", "MatMul"),
    *("Max", "MaxPool", "Mean", "Min", "Mul", "Neg", "Not", "Or", "PRelu", "Pad", "Pow", "Range"),
    *("Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape"),
    *("Resize", "Round", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Slice", "Softmax"),
    *("Softplus", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze"),
    *("Upsample", "Where", "Xor"),
    *("MonDEQ", "MonDEQConv", "MonDEQConvFactored", "MonDEQFactored"),
)
"""ONNX operators by bare name (the standard has no column for the domain): those of the standard
domain, then our own."""

CAPABILITIES: dict[str, tuple[str, ...]] = {
    "onnx-opset-versions": ("7", "25"),
    "onnx-element-types": ("float32", "float64", "real"),
    "onnx-operators": OPERATORS,
    "vnnlib-versions": ("1.0", "2.1"),
    "hidden-node-theories": ("NH", "H"),
    "multiple-input-output-theories": ("SIO", "MIO"),
    "multiple-network-theories": ("SNET", "MENET", "MINET", "MNET"),
    "multiple-node-comparison-theories": ("SNC", "MNC"),
    "arithmetic-complexity-theories": ("BND", "OUTC", "LIN", "POLY"),
    "optimised-disjunctive-reasoning": ("false",),
    "serialise-assignments": ("true",),
}
"""Query → the lines of its answer."""

ALIASES: dict[str, str] = {"multiple-inputs-output-theories": "multiple-input-output-theories"}
"""Spellings that the standard's own examples use."""


def configure(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    for name in (*CAPABILITIES, *ALIASES):
        canonical = ALIASES.get(name, name)
        which.add_argument(
            f"--{name}",
            dest="capability",
            action="store_const",
            const=canonical,
            help=argparse.SUPPRESS if name in ALIASES else None,
        )


def run(arguments: argparse.Namespace) -> int:
    print("\n".join(CAPABILITIES[arguments.capability]))
    return exit_code.OK
