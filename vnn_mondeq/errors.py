"""The exceptions of the package.

    VnnMondeqError                  anything a caller may want to catch; carries one clear message
    ├── InputError                  something the user gave cannot be used
    │   ├── ModelError              the ONNX file
    │   │   ├── UnsupportedModelError   operators we do not know (all of them listed)
    │   │   └── NotMonotoneError    no proof that the fixpoint is unique
    │   ├── QueryError              the VNN-LIB text (carries line, column and a caret line)
    │   └── MismatchError           a query and a model that do not fit each other
    ├── OutputError                 a result cannot be written
    └── DeadlineExceeded            the time limit struck; engines turn it into `Reason.TIMED_OUT`

Every message names the place (file, node, line) and what to do next.
"""


class VnnMondeqError(Exception):
    """Base of all errors raised on purpose by this package."""


class InputError(VnnMondeqError):
    """Something the user gave cannot be used."""


class ModelError(InputError):
    """An ONNX file that cannot be read as a network of this package."""


class UnsupportedModelError(ModelError):
    """Operators, types or shapes outside the supported set; the message lists every one."""


class NotMonotoneError(ModelError):
    """Strong monotonicity of `I - W` could not be proved, so the fixpoint may not be unique."""


class QueryError(InputError):
    """A VNN-LIB text that is malformed or means something we do not support.

    **Arguments:**

    - `message`: one sentence.
    - `line`, `column`: 1-based position in the text, when known.
    - `context`: the source line and a caret under the place, when known.
    """

    def __init__(
        self,
        message: str,
        *,
        line: int | None = None,
        column: int | None = None,
        context: str | None = None,
    ):
        self.line = line
        self.column = column
        self.context = context
        place = "" if line is None else f"line {line}, column {column}: "
        tail = "" if context is None else f"\n{context}"
        super().__init__(f"{place}{message}{tail}")


class MismatchError(InputError):
    """A query and a model that do not fit: names, shapes, element types or number of networks."""


class OutputError(VnnMondeqError):
    """A result could not be written."""


class DeadlineExceeded(VnnMondeqError):
    """The time limit struck inside a loop."""
