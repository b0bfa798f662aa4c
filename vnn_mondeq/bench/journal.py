"""The folder of results as a run writes it: locked, appended to, never rewritten.

A record is on the disk before the next run's is taken up (`fsync`), and it is whole or absent: what
a kill leaves of a line is cut off when the folder is opened again. So a run that was killed repeats
at most what was running, and records nothing twice.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self, final

from vnn_mondeq.bench.manifest import (
    MANIFEST_FILE,
    Manifest,
    differences,
    read_manifest,
    write_manifest,
)
from vnn_mondeq.bench.records import RUNS_FILE, RunKey, RunRecord, decode_runs, encode_run
from vnn_mondeq.errors import InputError, OutputError

LOCK_FILE = "lock"


@final
class Journal:
    """An open folder of results; `open_journal` makes it.

    - `manifest`: the one on the disk. `recorded`: what earlier runs have left, in their order.
    """

    def __init__(self, manifest: Manifest, recorded: tuple[RunRecord, ...], file: int, path: Path):
        self.manifest = manifest
        self.recorded = recorded
        self._file = file
        self._path = path
        self._keys = {run.key for run in recorded}

    def has(self, key: RunKey) -> bool:
        return key in self._keys

    def append(self, run: RunRecord) -> bool:
        """Put a record on the disk. **Returns** `False`, having done nothing, for a run that is
        recorded already. **Raises** `OutputError`."""
        if run.key in self._keys:
            return False
        line = memoryview(encode_run(run))
        try:
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)
        except OSError as error:
            raise OutputError(
                f"{self._path}: cannot be written: {error.strerror}; the same command goes on "
                "from here once it can"
            ) from error
        self._keys.add(run.key)
        return True


@contextmanager
def open_journal(folder: Path, manifest: Manifest) -> Iterator[Journal]:
    """Lock the folder, or make it, and read what it holds.

    **Raises** `InputError` where another process holds it, where its manifest differs, or where it
    is damaged; `OutputError` where it cannot be written.
    """
    path = folder / RUNS_FILE
    with _Lock.of(folder):
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            data = _cut_to_whole_lines(file)
            known = _agreed_manifest(folder, manifest, is_empty=not data)
            recorded = decode_runs(data, str(path))
            foreign = [run for run in recorded if run.manifest != known.identifier]
            if foreign:
                raise InputError(
                    f"{path}: the record of {foreign[0].instance} belongs to another manifest "
                    f"({foreign[0].manifest}, not {known.identifier}); begin in a new folder"
                )
            _sync(folder)
            yield Journal(known, recorded, file, path)
        finally:
            os.close(file)


def _cut_to_whole_lines(file: int) -> bytes:
    """Cut off what a kill has left of a line. **Returns** the rest."""
    with os.fdopen(os.dup(file), "rb") as stream:
        stream.seek(0)
        data = stream.read()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.ftruncate(file, len(whole))
    return whole


def _agreed_manifest(folder: Path, manifest: Manifest, is_empty: bool) -> Manifest:
    """The manifest on the disk, if it agrees; the given one, written, where nothing is recorded
    yet: a first call may have failed because of what the second has changed."""
    for left in folder.glob(f".{MANIFEST_FILE}.*"):  # of a run killed while it wrote
        left.unlink(missing_ok=True)
    if is_empty:
        write_manifest(folder, manifest)
        _sync(folder / MANIFEST_FILE)
        return manifest
    if not (folder / MANIFEST_FILE).exists():
        raise InputError(f"{folder}: has {RUNS_FILE} but no {MANIFEST_FILE}; use a new folder")
    known = read_manifest(folder)
    changed = differences(known, manifest)
    if changed:
        listed = "".join(f"\n    {line}" for line in changed)
        raise InputError(
            f"{folder}: holds results made in another way:{listed}\n"
            "Go on with the old software, list and options, or give a new folder to -o."
        )
    return known


def _sync(path: Path) -> None:
    """Make a file's content, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@final
class _Lock:
    """An advisory lock (`flock`) that ends with the process, however it ends."""

    def __init__(self, file: int):
        self._file = file

    @classmethod
    def of(cls, folder: Path) -> Self:
        path = folder / LOCK_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(file, 100).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise InputError(
                f"{folder}: another benchmark writes there (process {holder}); wait for it, or "
                "give another folder to -o"
            ) from error
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        return cls(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
