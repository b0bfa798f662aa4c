"""VNN-LIB 1.0 and 2.x: texts read into `Query`s, robustness queries and witnesses written.

Nothing heavy is imported before a text is read.
"""

from pathlib import Path

from vnn_mondeq.query.query import Query


def load(path: str | Path, *, max_cases: int | None = None) -> Query:
    """Read a VNN-LIB file, plain or gzipped, 1.0 or 2.x by its content.

    **Raises** `QueryError` as `parse`, and where the file cannot be read.
    """
    from vnn_mondeq.vnnlib_io.source import Source

    return _read(Source.from_file(path), max_cases)


def parse(text: str, *, name: str = "<text>", max_cases: int | None = None) -> Query:
    """Read a VNN-LIB text.

    **Arguments:**

    - `name`: what to call the text in messages.
    - `max_cases`: cap on the cases in disjunctive normal form; by default
      `normal_form.MAX_CASES`.

    **Raises** `QueryError`, with line, column and a caret, at the first thing that is malformed
    or not supported (docs/vnnlib.md says what is).
    """
    from vnn_mondeq.vnnlib_io.source import Source

    return _read(Source.from_text(text, name), max_cases)


def _read(source, max_cases: int | None) -> Query:
    from vnn_mondeq.vnnlib_io.elaborate import elaborate
    from vnn_mondeq.vnnlib_io.grammar import parse_script
    from vnn_mondeq.vnnlib_io.normal_form import MAX_CASES

    script = parse_script(source)
    return elaborate(script, source, MAX_CASES if max_cases is None else max_cases)
