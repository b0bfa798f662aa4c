"""Lists of instances: the `instances.csv` of VNN-COMP, with an optional fourth column.

    onnx/net.onnx,vnnlib/property.vnnlib,60
    "[('f','onnx/net.onnx'),('norm','onnx/l1.onnx')]",vnnlib/other.vnnlib,60,unsat

Paths are relative to the list's folder; a `.gz` that the list has and the disk has not, or the
other way round, is made up for, as the competition does. The fourth column is the expected verdict.
"""

import csv
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import final

import msgspec

from vnn_mondeq.bench.network_list import parse_networks
from vnn_mondeq.bench.records import DECIDED, HashedFile, stem
from vnn_mondeq.errors import InputError
from vnn_mondeq.result import Verdict

_HEADER = ("onnx", "vnnlib", "timeout")
_UNDECIDED = frozenset({"", "open", "unknown", "timeout", "timed-out"})
"""Words for "no verdict is expected"."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One row.

    - `identifier`: `net:vnnlib/property`, from file names so that it outlives a reordering of the
      list; several networks are joined by `+`, a second row with the same files gets `#2`.
    - `timeout`: seconds, positive.
    """

    identifier: str
    networks: tuple[HashedFile, ...]
    query: HashedFile
    timeout: float
    expected: Verdict | None = None


@final
@dataclass(frozen=True, slots=True)
class InstanceList:
    """A list and the folder (absolute) that its paths are relative to."""

    name: str
    folder: Path
    instances: tuple[Instance, ...]

    def digest(self) -> str:
        """SHA-256 of all that the list says, the content of its files included."""
        return hashlib.sha256(msgspec.json.encode(self.instances)).hexdigest()


def find_file(folder: Path, path: str) -> Path:
    """The file that a list means by `path`. **Raises** `InputError` where there is none."""
    packed = path.removesuffix(".gz") if path.endswith(".gz") else f"{path}.gz"
    for candidate in (folder / path, folder / packed):
        if candidate.is_file():
            return candidate
    raise InputError(
        f"{folder / path} does not exist; paths are relative to the folder of the instance list"
    )


def read_instances(path: str | Path, expected: str | Path | None = None) -> InstanceList:
    """Read a list and hash its files.

    **Arguments:**

    - `expected`: a table of expected verdicts that adds to the list's own (`read_expected`).

    **Raises** `InputError` that names file and line.
    """
    path = Path(path)
    folder = path.resolve().parent
    table = {} if expected is None else read_expected(expected)
    rows = [_instance(row, f"{path}, line {line}", folder) for line, row in _rows(path)]
    if not rows:
        raise InputError(f"{path}: no instances; each line is onnx,vnnlib,timeout")
    instances = _distinct(rows)
    if table:
        instances = _with_expected(instances, table, str(expected))
    return InstanceList(str(path), folder, tuple(instances))


def read_expected(path: str | Path) -> Mapping[str, Verdict | None]:
    """A CSV table whose header has `verdict` and, as its first column, what names an instance:
    an identifier, or the query's file name without suffixes (`specs/*/expected.csv`).

    **Raises** `InputError`.
    """
    path = Path(path)
    (_, header), *rows = _rows(path, header=True) or [(1, [])]
    if "verdict" not in header[1:]:
        raise InputError(f"{path}: the first line names no column 'verdict'")
    column = header.index("verdict")
    table: dict[str, Verdict | None] = {}
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(f"{path}, line {line}: {len(row)} columns, not {len(header)}")
        if row[0] in table:
            raise InputError(f"{path}, line {line}: {row[0]} stands there twice")
        table[row[0]] = _expected(row[column], f"{path}, line {line}")
    return table


def _rows(path: Path, header: bool = False) -> list[tuple[int, list[str]]]:
    """Line number and stripped cells of every line that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read: {reason}") from error
    reader = csv.reader(text.splitlines(), skipinitialspace=True)
    rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(row)]
    if not header and rows and tuple(c.lower() for c in rows[0][1][:3]) == _HEADER:
        return rows[1:]
    return rows


def _instance(row: list[str], place: str, folder: Path) -> Instance:
    if len(row) not in (3, 4):
        raise InputError(f"{place}: {len(row)} columns; it must be onnx,vnnlib,timeout[,expected]")
    try:
        networks = parse_networks(row[0])
        files = tuple(_hashed(folder, network, name) for name, network in networks)
        query = _hashed(folder, row[1])
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
    names = "+".join(stem(network) for _, network in networks)
    return Instance(
        identifier=f"{names}:{row[1].removesuffix('.gz').removesuffix('.vnnlib')}",
        networks=files,
        query=query,
        timeout=_seconds(row[2], place),
        expected=_expected(row[3], place) if len(row) == 4 else None,
    )


def _seconds(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise InputError(f"{place}: the time limit {text!r} is not a positive number of seconds")
    return value


def _expected(text: str, place: str) -> Verdict | None:
    word = text.lower()
    if word in _UNDECIDED:
        return None
    for verdict in DECIDED:
        if word == verdict.value:
            return verdict
    raise InputError(f"{place}: the expected verdict {text!r} is neither sat, unsat nor open")


def _hashed(folder: Path, path: str, name: str = "") -> HashedFile:
    return HashedFile(path, _sha256(find_file(folder, path)), name)


@cache
def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _distinct(rows: list[Instance]) -> list[Instance]:
    seen: dict[str, int] = {}
    distinct = []
    for row in rows:
        count = seen[row.identifier] = seen.get(row.identifier, 0) + 1
        name = row.identifier if count == 1 else f"{row.identifier}#{count}"
        distinct.append(replace(row, identifier=name))
    return distinct


def _with_expected(
    instances: list[Instance], table: Mapping[str, Verdict | None], name: str
) -> list[Instance]:
    """**Raises** `InputError` where a file name would stand for queries about different networks,
    where the list itself says otherwise, or where nothing matches."""
    owners: dict[str, set[tuple[HashedFile, ...]]] = {}
    for instance in instances:
        owners.setdefault(stem(instance.query.path), set()).add(instance.networks)
    filled, matches = [], 0
    for instance in instances:
        short = stem(instance.query.path)
        key = instance.identifier if instance.identifier in table else short
        if key == short and key in table and len(owners[short]) > 1:
            raise InputError(
                f"{name}: {short} is a query about several models of the list; name the instances "
                f"as {instance.identifier}, or use the list's fourth column"
            )
        matches += key in table
        verdict = table.get(key)
        if verdict and instance.expected and verdict is not instance.expected:
            raise InputError(
                f"{name}: {key} is {verdict.value}, but the instance list expects "
                f"{instance.expected.value}"
            )
        filled.append(replace(instance, expected=verdict or instance.expected))
    if not matches:
        raise InputError(f"{name}: none of its names is an instance of the list")
    return filled
