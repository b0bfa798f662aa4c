"""A report as a value: sections of text, tables and pictures. `markdown` and `html` render it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final


@final
@dataclass(frozen=True, slots=True)
class Table:
    """- `caption`: what a reader needs before the numbers. `headers`: one for each column.
    - `rows`: texts; the first cell of a row names it.
    - `numeric`: whether each column holds numbers, which are set flush right.
    """

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]


@final
@dataclass(frozen=True, slots=True)
class Picture:
    """- `name`: of its file, without an ending. `alt`: what it shows, for those who do not see it.
    - `svg`: the picture itself."""

    name: str
    caption: str
    alt: str
    svg: bytes


@final
@dataclass(frozen=True, slots=True)
class Section:
    """- `urgent`: something is wrong; it is to be seen first."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    items: Sequence[str] = ()
    urgent: bool = False


@final
@dataclass(frozen=True, slots=True)
class Document:
    title: str
    summary: str
    sections: Sequence[Section] = field(default=())
