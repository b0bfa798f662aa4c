"""VNN-LIB 1.0 and 2.x: texts read into `Query`s, robustness queries written.

Nothing heavy is imported before a text is read.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from vnn_mondeq.query.query import Query
    from vnn_mondeq.vnnlib_io.source import Source


def load(path: str | Path, *, max_cases: int | None = None) -> "Query":
    """Read a VNN-LIB file, plain or gzipped, 1.0 or 2.x by its content.

    **Raises** `QueryError` as `parse`, and where the file cannot be read.
    """
    from vnn_mondeq.vnnlib_io.source import Source

    return _read(Source.from_file(path), max_cases)


def parse(text: str, *, name: str = "<text>", max_cases: int | None = None) -> "Query":
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


def _read(source: "Source", max_cases: int | None) -> "Query":
    from vnn_mondeq.vnnlib_io.elaborate import elaborate
    from vnn_mondeq.vnnlib_io.grammar import parse_script
    from vnn_mondeq.vnnlib_io.normal_form import MAX_CASES

    script = parse_script(source)
    return elaborate(script, source, MAX_CASES if max_cases is None else max_cases)


def robustness_query(
    x: "np.ndarray",
    label: int,
    norm: float,
    eps: float | str | Fraction,
    *,
    classes: int,
    clip: Sequence[float | str | Fraction] | None = None,
    version: str = "2.0",
    input_shape: tuple[int, ...] | None = None,
    output_shape: tuple[int, ...] | None = None,
    element_type: str = "float32",
    norm_output_shape: tuple[int, ...] = (),
) -> str:
    """The text of a local robustness query; arguments as `robustness.robustness_around`.

    - `version`: `"1.0"` or `"2.0"`.
    - `norm_output_shape`: see `write.write_v2`; matters for the L1 norm only.

    **Raises** `InputError` where the arguments make no property, or one that the version cannot
    state.
    """
    from vnn_mondeq.errors import InputError
    from vnn_mondeq.vnnlib_io.robustness import robustness_around
    from vnn_mondeq.vnnlib_io.write import write_v1, write_v2

    property_ = robustness_around(
        x,
        label,
        norm,
        eps,
        classes=classes,
        clip=clip,
        input_shape=input_shape,
        output_shape=output_shape,
        element_type=element_type,
    )
    if version == "1.0":
        return write_v1(property_)
    if version == "2.0":
        return write_v2(property_, norm_output_shape)
    raise InputError(f"queries are written in version 1.0 or 2.0, not {version}")
