"""What `vnn-mondeq verify --record FILE` writes beside its answer: how the answer came about.

The verdict that counts is the one on stdout; the file only adds to it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import final


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The fields of `RunRecord` of the same names, and:

    - `engines_at`: when the first engine began, on the monotonic clock of the machine, which its
      processes share; `None` where no engine was needed. `engines_cpu`: CPU seconds until then.
    - `peak_bytes`: resident, of this process alone; `None` where the system does not tell.
    """

    verdict: str
    reason: str
    detail: str = ""
    engine: str = ""
    margin: float | None = None
    statistics: Mapping[str, float] = field(default_factory=dict)
    engines_at: float | None = None
    engines_cpu: float | None = None
    peak_bytes: int | None = None


def encode_answer(answer: Answer) -> bytes:
    """JSON. Statistics that are not finite are left out: JSON has no word for them."""
    fields = asdict(answer)
    fields["statistics"] = {k: v for k, v in answer.statistics.items() if math.isfinite(v)}
    return json.dumps(fields, indent=1, allow_nan=False).encode() + b"\n"


def decode_answer(data: bytes) -> Answer | None:
    """`None` for what is no answer: the process may have died while it wrote."""
    import msgspec

    try:
        return msgspec.json.decode(data, type=Answer)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
