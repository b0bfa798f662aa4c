"""vnn_mondeq: a sound verifier for monotone-operator equilibrium networks.

    import vnn_mondeq

    model = vnn_mondeq.load_model("model.onnx")
    query = vnn_mondeq.load_query("property.vnnlib")
    result = vnn_mondeq.verify(model, query, timeout=60)
    print(result.verdict, result.reason.value)

The names below are imported when they are first used, so that `import vnn_mondeq` itself, and
with it the start of the command line, loads nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vnn_mondeq.api import check as check
    from vnn_mondeq.api import load_certificate as load_certificate
    from vnn_mondeq.api import load_model as load_model
    from vnn_mondeq.api import load_query as load_query
    from vnn_mondeq.api import save_certificate as save_certificate
    from vnn_mondeq.api import verify as verify
    from vnn_mondeq.errors import VnnMondeqError as VnnMondeqError
    from vnn_mondeq.files import verify_files as verify_files
    from vnn_mondeq.result import Reason as Reason
    from vnn_mondeq.result import Result as Result
    from vnn_mondeq.result import Verdict as Verdict

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 - functions first
    "check",
    "load_certificate",
    "load_model",
    "load_query",
    "save_certificate",
    "verify",
    "verify_files",
    "Reason",
    "Result",
    "Verdict",
    "VnnMondeqError",
]

_HOME = {
    "check": "vnn_mondeq.api",
    "load_certificate": "vnn_mondeq.api",
    "load_model": "vnn_mondeq.api",
    "load_query": "vnn_mondeq.api",
    "save_certificate": "vnn_mondeq.api",
    "verify": "vnn_mondeq.api",
    "verify_files": "vnn_mondeq.files",
    "VnnMondeqError": "vnn_mondeq.errors",
    "Reason": "vnn_mondeq.result",
    "Result": "vnn_mondeq.result",
    "Verdict": "vnn_mondeq.result",
}


if not TYPE_CHECKING:  # a type checker that knew of it would take any name for defined

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*_HOME, "__version__"])
