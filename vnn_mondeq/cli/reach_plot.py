"""The picture of `vnn-mondeq reach --plot`: figure 1 of Chen et al. 2021, from any model."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from vnn_mondeq.errors import InputError
from vnn_mondeq.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE = {
    "font.size": 9.0,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 200,
}

PROVED = "#1f4e9c"
INSIDE = "#dbe7f6"
DRAWN = "#c23b22"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What is drawn, in the plane of two outputs; arrays of points `(N, 2)`.

    - `shadow`: boundary of the projected ellipsoid; `alone`: of the smallest ellipse of the two
      outputs by themselves, or `None`.
    - `drawn`, `sought`: outputs that are attained.
    """

    pair: tuple[int, int]
    shadow: np.ndarray
    alone: np.ndarray | None
    drawn: np.ndarray
    sought: np.ndarray


def draw(picture: Picture, path: str) -> None:
    """Write a picture; the ending of `path` is its format.

    **Raises** `OutputError` when it cannot be written, `InputError` for an unknown format.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kind = path.rsplit(".", 1)[-1].lower()
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(4.8, 4.6), layout="constrained")
        try:
            if kind not in figure.canvas.get_supported_filetypes():
                raise InputError(f"{path}: no picture format; end it in .png, .pdf or .svg")
            _fill(axes, picture)
            stream = io.BytesIO()
            figure.savefig(stream, format=kind)
        finally:
            plt.close(figure)
    write_whole(path, stream.getvalue())


def _fill(axes: "Axes", picture: Picture) -> None:
    first, second = picture.pair
    axes.fill(*picture.shadow.T, facecolor=INSIDE, edgecolor="none", zorder=0)
    axes.plot(*picture.shadow.T, color=PROVED, linewidth=1.3, label="outer ellipsoid, proved")
    if picture.alone is not None:
        axes.plot(
            *picture.alone.T,
            color=PROVED,
            linewidth=0.9,
            linestyle=(0, (1.2, 1.6)),
            label="of these two outputs alone",
        )
    axes.scatter(*picture.drawn.T, s=4, color=DRAWN, linewidths=0, label="outputs, random inputs")
    axes.scatter(
        *picture.sought.T,
        s=15,
        facecolors="none",
        edgecolors="black",
        linewidths=0.7,
        label="outputs, sought by attack",
    )
    low, high = _limits(picture)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    ends = np.array([min(low), max(high)])
    if low[0] <= high[1] and low[1] <= high[0]:
        axes.plot(
            ends,
            ends,
            color=PROVED,
            linewidth=1.0,
            linestyle=(0, (5, 3)),
            label=f"decision, $y_{{{first}}} = y_{{{second}}}$",
            scalex=False,
            scaley=False,
        )
    axes.set_xlabel(f"output {first}")
    axes.set_ylabel(f"output {second}")
    axes.figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncol=2)


def _limits(picture: Picture) -> tuple[np.ndarray, np.ndarray]:
    """The shadow with some air, grown towards the decision line where that is near."""
    low, high = picture.shadow.min(axis=0), picture.shadow.max(axis=0)
    size = np.maximum(high - low, 1e-12)
    gap = np.array([low[0] - high[1], low[1] - high[0]])  # how far the line is, from either side
    side = int(np.argmax(gap))
    low, high = low - 0.06 * size, high + 0.06 * size
    # A line farther away than the ellipse is wide would shrink what the picture is about.
    if 0.0 <= gap[side] <= 1.0 * float(size.min()):
        low[side] -= 0.6 * gap[side]
        high[1 - side] += 0.6 * gap[side]
    return low, high
