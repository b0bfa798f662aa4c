"""A counterexample as a picture: the input, what was added to it, the result, and the outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from vnn_mondeq.report.figure import BLUE, GREY, RED, STYLE, save_figure
from vnn_mondeq.report.image_shape import ImageShape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_TICKS = 10
"""More numbers than that run into each other under half a picture."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One input tensor.

    - `before`, `after`: flattened reference input and counterexample, `(n,)`.
    - `lower`, `upper`: a box around the query's input set, `(n,)`; may be infinite.
    - `image`: how to draw it, `None` for bars.
    """

    name: str
    before: np.ndarray
    after: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    image: ImageShape | None


@final
@dataclass(frozen=True, slots=True, eq=False)
class WitnessPicture:
    """What is drawn.

    - `reference`: what the counterexample is compared with, in words.
    - `outputs_before`, `outputs_after`: `(q,)`, as onnxruntime computed them.
    - `verdict`: one line that says whether the counterexample is confirmed; `confirmed` colours it.
    """

    parts: Sequence[Part]
    reference: str
    outputs_before: np.ndarray
    outputs_after: np.ndarray
    verdict: str
    confirmed: bool


def draw_witness(picture: WitnessPicture, path: str | Path) -> None:
    """Write the picture; the ending of `path` is its format.

    **Raises** `InputError` for an unknown format, `OutputError` where it cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = len(picture.parts)
    with pyplot.rc_context(STYLE):
        figure = pyplot.figure(figsize=(7.2, 2.7 * rows + 2.5), layout="constrained")
        try:
            top, bottom = figure.subfigures(2, 1, height_ratios=[2.7 * rows, 2.3])
            shelves = top.subfigures(rows, 1, squeeze=False)[:, 0]
            for shelf, part in zip(shelves, picture.parts, strict=True):
                _draw_part(shelf, part, picture)
            _draw_outputs(bottom.subplots(), picture)
            colour = "black" if picture.confirmed else RED
            figure.suptitle(picture.verdict, fontsize=9, color=colour, wrap=True)
            save_figure(figure, path)
        finally:
            pyplot.close(figure)


def largest(outputs: np.ndarray) -> str:
    """Which output is the largest, in words."""
    if outputs.size == 1:
        return f"output {outputs[0]:.4g}"
    return f"output {int(np.argmax(outputs))} is largest"


def _draw_part(shelf: "Figure", part: Part, picture: WitnessPicture) -> None:
    name = f"{part.name}: " if len(picture.parts) > 1 else ""
    change = np.max(np.abs(part.after - part.before))
    mean = ", mean of the channels" if part.image and part.image.channels > 1 else ""
    titles = (
        f"{name}{picture.reference}\n{largest(picture.outputs_before)}",
        f"{name}what was added{mean}\nlargest change {change:.4g}",
        f"{name}counterexample\n{largest(picture.outputs_after)}",
    )
    if part.image is not None:
        axes = shelf.subplots(1, 3)
        _draw_images(axes, part, part.image)
        for one, title in zip(axes, titles, strict=True):
            one.set_title(title)
        return
    left, right = shelf.subplots(1, 2)
    _draw_bars(left, right, part)
    left.set_title(f"{name}set (bar), {picture.reference} (line), counterexample (dot)")
    right.set_title(titles[1].replace("\n", ", "))


def _draw_images(axes: Sequence["Axes"], part: Part, image: ImageShape) -> None:
    low = min(part.before.min(), part.after.min())
    high = max(part.before.max(), part.after.max(), low + 1e-12)
    for one, values in ((axes[0], part.before), (axes[2], part.after)):
        shown = image.pixels((values - low) / (high - low))
        one.imshow(shown, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    change = image.pixels(part.after - part.before)
    # A sign has no colour of its own in an image of three channels: the mean is drawn.
    flat = change if change.ndim == 2 else change.mean(axis=2)
    bound = max(float(np.max(np.abs(flat))), 1e-12)
    drawn = axes[1].imshow(flat, cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="nearest")
    axes[1].figure.colorbar(drawn, ax=axes[1], shrink=0.8, format="%.2g")
    for one in axes:
        one.set_xticks([])
        one.set_yticks([])
        one.spines[:].set_visible(False)


def _draw_bars(left: "Axes", right: "Axes", part: Part) -> None:
    at = np.arange(part.before.size)
    finite = np.isfinite(part.lower) & np.isfinite(part.upper)
    span = part.upper - part.lower
    left.bar(at[finite], span[finite], bottom=part.lower[finite], width=0.7, color="#dbe7f6")
    left.hlines(part.before, at - 0.35, at + 0.35, color=BLUE, linewidth=1.2)
    left.plot(at, part.after, "o", color=RED, markersize=3.5)
    left.use_sticky_edges = False  # or the lowest bar would end in the axis
    right.bar(at, part.after - part.before, width=0.7, color=RED)
    right.axhline(0.0, color="black", linewidth=0.6)
    for one in (left, right):
        one.set_xlabel("input")
        _number_ticks(one, at.size)


def _draw_outputs(axes: "Axes", picture: WitnessPicture) -> None:
    at = np.arange(picture.outputs_after.size)
    axes.bar(at - 0.2, picture.outputs_before, width=0.38, color=GREY, label=picture.reference)
    axes.bar(at + 0.2, picture.outputs_after, width=0.38, color=RED, label="counterexample")
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.set(xlabel="output", ylabel="value")
    _number_ticks(axes, at.size)
    axes.legend(loc="best", ncols=2)


def _number_ticks(axes: "Axes", count: int) -> None:
    axes.set_xticks(np.arange(0, count, max(1, -(-count // _MOST_TICKS))))
