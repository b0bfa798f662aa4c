"""A certificate and what it is about, as the bytes of a file and back."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import final

from vnn_mondeq import __version__
from vnn_mondeq.certificate_file.archive import FLOATS, INTEGERS, MAX_BYTES, Archive, pack
from vnn_mondeq.certificate_file.decode import decode, numbers_needed
from vnn_mondeq.certificate_file.encode import encode
from vnn_mondeq.certificate_file.subject import Subject
from vnn_mondeq.errors import InputError
from vnn_mondeq.result import AbstractCertificate, CheckedCertificate

FORMAT = "vnn-mondeq certificate"
VERSION = 1

_MAX_FILE = sum(MAX_BYTES.values()) + 2**20
_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEYS = {"format", "version", "writer", "margin", "subject", "nodes"}


@final
@dataclass(frozen=True, slots=True, eq=False)
class StoredCertificate:
    """What a file holds. Nothing in it is trusted before `vnn_mondeq.gate` has checked it.

    - `margin`: what the writer's check proved, in output units; `inf` where nothing was to refute.
    - `writer`: name and version of the program that wrote the file.
    """

    certificate: AbstractCertificate
    subject: Subject
    margin: float
    writer: str


def certificate_bytes(checked: CheckedCertificate, subject: Subject) -> bytes:
    """The file for a checked certificate.

    **Raises** `OutputError` for a type that the format does not know and for sizes beyond its
    limits.
    """
    encoded = encode(checked.certificate)
    structure = {
        "format": FORMAT,
        "version": VERSION,
        "writer": f"vnn-mondeq {__version__}",
        "margin": checked.margin if math.isfinite(checked.margin) else None,
        "subject": {"query": subject.query, "networks": dict(subject.networks)},
        "nodes": encoded.nodes,
    }
    text = json.dumps(structure, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return pack(text.encode("ascii"), encoded.floats, encoded.integers)


def load_certificate(path: str | Path) -> StoredCertificate:
    """Read a certificate file.

    **Raises** `InputError`, with the path, for whatever docs/certificates.md does not allow.
    """
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:
            raise InputError(f"it is larger than any certificate file ({_MAX_FILE} bytes)")
        return parse_certificate(data)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise InputError(f"{path}: does not fit into memory") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse_certificate(data: bytes) -> StoredCertificate:
    """Read the bytes of a certificate file. **Raises** `InputError`."""
    archive = Archive.open(data)
    structure = _structure(archive.structure())
    needed = numbers_needed(structure["nodes"])
    certificate = decode(
        structure["nodes"],
        archive.numbers(FLOATS, needed["floats"]),
        archive.numbers(INTEGERS, needed["integers"]),
    )
    margin = structure["margin"]
    return StoredCertificate(
        certificate,
        _subject(structure["subject"]),
        math.inf if margin is None else float(margin),
        structure["writer"],
    )


def _structure(data: bytes) -> dict:
    """The JSON object, its outermost fields checked except for the subject and the nodes."""
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(f"its structure is not the JSON of a certificate ({error})") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError("it does not say that it is a certificate of vnn-mondeq")
    if type(found.get("version")) is not int or found["version"] != VERSION:
        raise InputError(
            f"its format has version {str(found.get('version'))[:20]}, and this release reads "
            f"version {VERSION}"
        )
    if found.keys() != _KEYS:
        raise InputError(f"its structure has other fields than {', '.join(sorted(_KEYS))}")
    margin = found["margin"]
    if margin is not None and not (type(margin) is float and math.isfinite(margin)):
        raise InputError("its margin is not a finite number")
    if not isinstance(found["writer"], str):
        raise InputError("its writer is not a text")
    return found


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _subject(found: object) -> Subject:
    if isinstance(found, dict) and found.keys() == {"query", "networks"}:
        query, networks = found["query"], found["networks"]
        if isinstance(networks, dict) and all(map(_is_digest, (query, *networks.values()))):
            return Subject(query, networks)
    raise InputError("its subject is not a digest of a query and of models")


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None
