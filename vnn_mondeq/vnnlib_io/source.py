"""VNN-LIB text: reading it from a file, telling its version, pointing into it.

Positions are 0-based character offsets into `Source.text`; they become line and column only when
an error is raised.
"""

import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import final

from vnn_mondeq.errors import QueryError

_GZIP_MAGIC = b"\x1f\x8b"
_LEADING_BLANKS = re.compile(r"(?:\s|;[^\n]*)*+")
_VERSION_HEADER = re.compile(r"\(\s*vnnlib-version(?![^\s()<>;])")
_WORD = re.compile(r'"[^"\n]*"?|[()\[\],<>]|[^\s()\[\],;"]+')
_CONTEXT_WIDTH = 100


@final
@dataclass(frozen=True, slots=True)
class Source:
    """A VNN-LIB text with `\\n` line ends and no byte order mark.

    - `name`: what to call it in messages (a path, or `<text>`).
    """

    text: str
    name: str = "<text>"

    @classmethod
    def from_text(cls, text: str, name: str = "<text>") -> "Source":
        """Normalise line ends and drop a byte order mark."""
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return cls(text.removeprefix("\ufeff"), name)

    @classmethod
    def from_file(cls, path: str | Path) -> "Source":
        """Read a file, gunzipped when its content (not its name) says that it is gzip.

        **Raises** `QueryError` naming the file where it cannot be read or is not UTF-8.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise QueryError(f"cannot read {path}: {error.strerror}; check the path") from error
        if content.startswith(_GZIP_MAGIC):
            try:
                content = gzip.decompress(content)
            except (OSError, EOFError, zlib.error) as error:
                raise QueryError(
                    f"{path} starts like a gzip file but cannot be unpacked ({error}); "
                    "it may be truncated"
                ) from error
        try:
            return cls.from_text(content.decode("utf-8-sig"), str(path))
        except UnicodeDecodeError as error:
            raise QueryError(
                f"{path} is not a text in UTF-8 (byte {error.start} is not); is it a VNN-LIB file?"
            ) from error

    def version_family(self) -> int:
        """2 where the first token after comments opens a `(vnnlib-version`, else 1."""
        start = _LEADING_BLANKS.match(self.text)
        header = _VERSION_HEADER.match(self.text, start.end() if start else 0)
        return 1 if header is None else 2

    def word_at(self, at: int) -> str:
        """The token that starts at `at`, for messages; empty at the end of the text."""
        found = _WORD.match(self.text, at)
        return found.group(0) if found else self.text[at : at + 1]

    def error(self, message: str, at: int) -> QueryError:
        """A `QueryError` for the place `at`, with its source line and a caret."""
        at = min(at, len(self.text))
        line_start = self.text.rfind("\n", 0, at) + 1
        line_end = self.text.find("\n", at)
        line = self.text[line_start : len(self.text) if line_end < 0 else line_end]
        column = at - line_start
        # A long line (some tools write a whole query in one) is cut to the place of the error.
        cut = max(0, column - _CONTEXT_WIDTH // 2)
        shown = line[cut : cut + _CONTEXT_WIDTH].replace("\t", " ")
        return QueryError(
            message,
            line=self.text.count("\n", 0, at) + 1,
            column=column + 1,
            context=f"    {shown}\n    {' ' * (column - cut)}^",
        )
