"""ONNX schemas of the monDEQ operators, for tools that want one; registered nowhere."""

from onnx.defs import OpSchema

from vnn_mondeq.onnx_io.operator import DOMAIN, OPERATORS, VERSION

_FLOATS = ["tensor(float)", "tensor(double)"]


def schema(operator: str) -> OpSchema:
    """The schema of one operator. **Raises** `KeyError` for a name that is none of the four.

    The solver attributes are optional here: an exporter adds them after it has seen the weights.
    """
    spec = OPERATORS[operator]
    numbers = [(name, OpSchema.AttrType.FLOAT) for name in (*spec.attributes, "alpha", "tol")]
    return OpSchema(
        operator,
        DOMAIN,
        VERSION,
        doc="The unique fixpoint of a monotone operator equilibrium layer; see docs/operator.md.",
        inputs=[OpSchema.FormalParameter(name, "T") for name in spec.inputs],
        outputs=[OpSchema.FormalParameter("z", "T")],
        type_constraints=[("T", _FLOATS, "float32 or float64")],
        attributes=[
            OpSchema.Attribute(name, kind, name, required=name in spec.attributes)
            for name, kind in (*numbers, ("max_iter", OpSchema.AttrType.INT))
        ],
    )
