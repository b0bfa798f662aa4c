"""The network column of VNN-COMP: `model.onnx`, or `[('f','a.onnx'),('g','b.onnx')]`."""

import ast

from vnn_mondeq.errors import InputError


def parse_networks(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs of a network's name and its path; the name is empty for a bare path.

    **Raises** `InputError`.
    """
    text = text.strip()
    if not text.startswith("["):
        if not text:
            raise InputError("the name of the model file is empty")
        return (("", text),)
    try:
        pairs = tuple((str(name), str(path)) for name, path in ast.literal_eval(text))
    except (SyntaxError, ValueError, TypeError) as error:
        raise InputError(f"cannot read the list of networks {text!r}: {error}") from error
    if not pairs:
        raise InputError("the list of networks is empty")
    if len({name for name, _ in pairs}) != len(pairs):
        raise InputError(f"the list of networks names one network twice: {text!r}")
    return pairs
