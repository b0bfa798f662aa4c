"""Which files a certificate is about, by their digests."""

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from vnn_mondeq.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"


@final
@dataclass(frozen=True, slots=True)
class Subject:
    """SHA-256 digests, in hexadecimal, of the query's text and of each network's model file.

    They serve clear messages only: what a certificate proves is decided by checking it against
    the query and the model, whatever the digests say. Data that an ONNX file keeps in other files
    are not part of its digest.
    """

    query: str
    networks: Mapping[str, str]

    @classmethod
    def of(cls, query: str | Path, networks: Mapping[str, str | Path]) -> "Subject":
        """Digest files: the query, and network name → model. **Raises** `InputError`."""
        return cls(_digest(query), {name: _digest(path) for name, path in networks.items()})

    def differences(self, recorded: "Subject") -> list[str]:
        """In which parts these files differ from those that a certificate records."""
        found = []
        for name in sorted(self.networks.keys() | recorded.networks.keys()):
            ours, theirs = self.networks.get(name), recorded.networks.get(name)
            if ours != theirs:
                label = f"network {name}" if name else "the network"
                found.append(f"the model of {label} ({_compared(theirs, ours)})")
        if self.query != recorded.query:
            found.append(f"the query ({_compared(recorded.query, self.query)})")
        return found


def _compared(recorded: str | None, given: str | None) -> str:
    shown = [digest[:12] + "…" if digest else "none" for digest in (recorded, given)]
    return f"sha256 recorded {shown[0]}, given {shown[1]}"


def _digest(path: str | Path) -> str:
    """Of a file's content, unpacked where it is gzipped, so that compressing changes nothing."""
    try:
        data = Path(path).read_bytes()
        if data.startswith(_GZIP_MAGIC):
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read: {reason}") from error
    return hashlib.sha256(data).hexdigest()
