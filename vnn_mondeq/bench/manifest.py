"""What a folder of results was made with: enough to repeat it, and to refuse to mix two things.

`manifest.json` is written once, before the first run, and never changed. A run that goes on where
an earlier one stopped must have an equal manifest, apart from the fields of `_INCIDENTAL`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import msgspec

from vnn_mondeq.errors import InputError
from vnn_mondeq.whole_file import write_whole

MANIFEST_FILE = "manifest.json"
LOCAL = "local"
FORMAT = 1
"""Of the records and the manifest."""


@final
@dataclass(frozen=True, slots=True)
class Machine:
    """Where the harness runs. `cores`: that it may use; `memory`: bytes, all of the machine's."""

    system: str
    cpu: str
    cores: int
    memory: int


@final
@dataclass(frozen=True, slots=True)
class Software:
    """`commit`: of the git checkout, empty outside one; `changed`: whether its working tree differs
    from the commit. `source_sha256`: of all of the package's files, which is what counts.
    `packages`: name → version of what the verifier imports.
    """

    vnn_mondeq: str
    commit: str
    changed: bool
    source_sha256: str
    python: str
    packages: Mapping[str, str]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user chose; the options of `vnn-mondeq bench` have the same names.

    - `timeout`: seconds for every instance; `None`: each has its own from the list.
    - `grace`: seconds after the time limit at which the watchdog kills.
    - `memory`: bytes of address space a run may use; `None`: no limit.
    - `retries`: how often a run that crashed is started again.
    - `workers`: runs at a time, 0 where a cluster decides; `scheduler`: `local` or `dask`, without
      its address, which may change when a run is resumed.
    - `seed`: always `None` now: the engines' seeds are fixed in the source, so that
      `Software.source_sha256` determines them.
    """

    backends: tuple[str, ...] = ("auto",)
    timeout: float | None = None
    grace: float = 5.0
    memory: int | None = None
    threads: int = 1
    repeats: int = 1
    retries: int = 1
    workers: int = 1
    scheduler: str = LOCAL
    seed: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`instances`: the list as the user named it; `instances_sha256`: of its instances, with the
    hashes of their files (`instances.digest`); `runs`: how many there will be in all; `created`:
    UTC, ISO 8601.
    """

    format: int = FORMAT
    software: Software
    machine: Machine
    settings: Settings
    instances: str
    instances_sha256: str
    runs: int
    created: str

    @property
    def identifier(self) -> str:
        """16 hexadecimal digits that every record repeats."""
        return hashlib.sha256(_encoded(self)).hexdigest()[:16]


_INCIDENTAL = frozenset({"created", "instances", "software.commit", "software.changed"})
"""Fields that may differ when a run is resumed; files and source are compared by content."""


def _encoded(manifest: Manifest) -> bytes:
    return msgspec.json.encode(manifest, order="sorted")


def differences(old: Manifest, new: Manifest) -> list[str]:
    """`field: old value, now new value`, for all that must not differ."""
    before, now = _flat(msgspec.to_builtins(old)), _flat(msgspec.to_builtins(new))
    incidental = _INCIDENTAL
    if old.settings.scheduler == new.settings.scheduler != LOCAL:
        # The runs are elsewhere; their records say where.
        incidental = incidental | {name for name in before if name.startswith("machine.")}
    return [
        f"{name}: {before.get(name)}, now {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if name not in incidental and before.get(name) != now.get(name)
    ]


def _flat(value: object, name: str = "") -> dict[str, object]:
    """Nested mappings as one, with dotted names."""
    if not isinstance(value, dict):
        return {name: value}
    return {
        dotted: leaf
        for key, part in value.items()
        for dotted, leaf in _flat(part, f"{name}.{key}" if name else key).items()
    }


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """**Raises** `OutputError`."""
    text = msgspec.json.format(_encoded(manifest), indent=2)
    write_whole(folder / MANIFEST_FILE, text + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """**Raises** `InputError` where there is none, or none that this version can read."""
    path = folder / MANIFEST_FILE
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}; is {folder} a folder of results that "
            "vnn-mondeq bench has written?"
        ) from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InputError(f"{path}: not a manifest of vnn-mondeq bench: {error}") from error
    if manifest.format != FORMAT:
        raise InputError(
            f"{path}: format {manifest.format}, but this version reads format {FORMAT}; use the "
            f"version that wrote it, vnn-mondeq {manifest.software.vnn_mondeq}"
        )
    return manifest
