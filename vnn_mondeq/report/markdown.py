"""A report as Markdown, with its pictures in files beside it."""

from collections.abc import Iterator
from pathlib import Path

from vnn_mondeq.report.document import Document, Section, Table
from vnn_mondeq.whole_file import write_whole


def write_markdown(document: Document, path: Path) -> list[Path]:
    """Write `path`, and `path` with `.NAME.svg` for each picture, which come first.

    **Returns** the files. **Raises** `OutputError`.
    """
    written = []
    for section in document.sections:
        for picture in section.pictures:
            place = path.with_name(f"{path.stem}.{picture.name}.svg")
            write_whole(place, picture.svg)
            written.append(place)
    text = "\n".join(_lines(document, path)) + "\n"
    write_whole(path, text.encode())
    return [*written, path]


def _lines(document: Document, path: Path) -> Iterator[str]:
    yield f"# {_plain(document.title)}"
    yield ""
    yield _plain(document.summary)
    for section in document.sections:
        yield ""
        yield f"## {_plain(section.title)}"
        yield from _section(section, path)


def _section(section: Section, path: Path) -> Iterator[str]:
    for text in section.paragraphs:
        yield from ("", _plain(text))
    if section.items:
        yield ""
        yield from (f"- {_plain(item)}" for item in section.items)
    for picture in section.pictures:
        alt = _plain(picture.alt).replace("[", "(").replace("]", ")")
        yield from ("", f"![{alt}]({path.stem}.{picture.name}.svg)", "", _plain(picture.caption))
    for table in section.tables:
        yield from ("", _plain(table.caption), "", *_table(table))


def _table(table: Table) -> Iterator[str]:
    yield _row(table.headers)
    yield _row(["--:" if numeric else "---" for numeric in table.numeric])
    yield from map(_row, table.rows)


def _row(cells) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """On one line, with nothing that Markdown or HTML would take for its own."""
    text = " ".join(text.split())
    for mark in "\\`*_<>|[]":
        text = text.replace(mark, f"\\{mark}")
    return text
