"""The container: a zip archive of one JSON text and two `.npy` arrays, read with limits.

No member is unpacked before its declared size has been found acceptable, and nothing of a member
beyond that size is ever unpacked.
"""

import io
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.errors import InputError, OutputError

STRUCTURE, FLOATS, INTEGERS = MEMBERS = ("certificate.json", "floats.npy", "integers.npy")

MAX_BYTES = {STRUCTURE: 2**26, FLOATS: 2**31, INTEGERS: 2**28}
"""Member → the largest size, unpacked, that is written or read."""

_MAGIC = b"\x93NUMPY\x01\x00"
_DTYPES = {FLOATS: "<f8", INTEGERS: "<i8"}
_HEADER = re.compile(
    rb"\{'descr': '(<[fi]8)', 'fortran_order': False, 'shape': \((\d{1,12}),\), \} *\n"
)
_LONGEST_HEADER = 1024
_EPOCH = (1980, 1, 1, 0, 0, 0)
_LEVEL = 6


def pack(structure: bytes, floats: np.ndarray, integers: np.ndarray) -> bytes:
    """The bytes of an archive; equal contents give equal bytes.

    **Raises** `OutputError` for contents beyond `MAX_BYTES`.
    """
    stream = io.BytesIO()
    contents = {STRUCTURE: structure, FLOATS: _npy(floats), INTEGERS: _npy(integers)}
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in contents.items():
            if len(data) > MAX_BYTES[name]:
                raise OutputError(
                    f"the certificate is too large for a file: {name} would hold {len(data)} "
                    f"bytes, and {MAX_BYTES[name]} is the limit"
                )
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, _LEVEL)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)
    return stream.getvalue()


@final
@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """An opened archive whose members are those expected and of acceptable size."""

    opened: zipfile.ZipFile

    @classmethod
    def open(cls, data: bytes) -> "Archive":
        """**Raises** `InputError`."""
        try:
            opened = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGE as error:
            raise InputError(f"it is not a certificate file, or it is cut off ({error})") from error
        entries = opened.infolist()
        names = [entry.filename for entry in entries]
        if sorted(names) != sorted(MEMBERS):
            shown = ", ".join(name[:60] for name in names[:6]) or "nothing"
            raise InputError(f"a certificate file holds {', '.join(MEMBERS)}; this one {shown}")
        for entry in entries:
            if entry.file_size > MAX_BYTES[entry.filename]:
                raise InputError(
                    f"{entry.filename} claims {entry.file_size} bytes, more than the limit of "
                    f"{MAX_BYTES[entry.filename]}"
                )
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise InputError(f"{entry.filename} is compressed in an unknown way")
        return cls(opened)

    def structure(self) -> bytes:
        """The JSON text. **Raises** `InputError`."""
        return self._read(STRUCTURE)

    def numbers(self, name: str, count: int) -> np.ndarray:
        """A member's `count` numbers, all finite. **Raises** `InputError` for any other content."""
        size = self.opened.getinfo(name).file_size
        if not 8 * count <= size <= 8 * count + _LONGEST_HEADER:
            raise InputError(f"{name} has {size} bytes, which are not {count} numbers")
        data = self._read(name)
        (length,) = struct.unpack_from("<H", data.ljust(10, b"\0"), 8)
        header = _HEADER.fullmatch(data[10 : 10 + length])
        if not data.startswith(_MAGIC) or header is None:
            raise InputError(f"{name} is not an array of plain numbers in numpy's format 1.0")
        dtype, found = header[1].decode(), int(header[2])
        if dtype != _DTYPES[name]:
            raise InputError(f"{name} holds {dtype}, not {_DTYPES[name]}")
        if found != count or len(data) != 10 + length + 8 * count:
            raise InputError(f"{name} holds {found} numbers where the structure needs {count}")
        array = np.frombuffer(data, dtype, count, 10 + length)
        if not np.all(np.isfinite(array)):
            raise InputError(f"{name} has entries that are not finite numbers")
        return array.astype(dtype.replace("<", "="), copy=False)

    def _read(self, name: str) -> bytes:
        try:
            data = self.opened.read(name)
        except _DAMAGE as error:
            raise InputError(f"{name} is damaged ({error})") from error
        except MemoryError as error:
            raise InputError(f"{name} does not fit into memory") from error
        if len(data) != self.opened.getinfo(name).file_size:
            raise InputError(f"{name} is not as long as the archive says")
        return data


_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,  # flags and versions that zipfile does not know
    RuntimeError,  # an encrypted member
    struct.error,
)
"""What `zipfile` raises for damaged bytes."""
