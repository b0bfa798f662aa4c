"""The picture of `vnn-mondeq reach --plot`: figure 1 of Chen et al. 2021, from any model."""

import io
from typing import TYPE_CHECKING

from vnn_mondeq.reach import attained_outputs
from vnn_mondeq.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from vnn_mondeq.query.input_set import AbstractInputSet
    from vnn_mondeq.sdp.ellipsoid_certificate import OuterEllipsoid
    from vnn_mondeq.system.implicit import ImplicitSystem

STYLE = {
    "font.size": 9.0,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 200,
}


def draw(
    system: "ImplicitSystem",
    inputs: "AbstractInputSet",
    ellipsoid: "OuterEllipsoid",
    pair: tuple[int, int],
    path: str,
) -> None:
    """Write the projection on outputs `pair` as a picture; the ending of `path` is its format.

    **Raises** `OutputError` when it cannot be written, `InputError` for an unknown format.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from vnn_mondeq.errors import InputError

    kind = path.rsplit(".", 1)[-1].lower()
    attained = attained_outputs(system, inputs, pair)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
        if kind not in figure.canvas.get_supported_filetypes():
            plt.close(figure)
            raise InputError(f"{path}: no picture format; end it in .png, .pdf or .svg")
        _fill(axes, ellipsoid, attained.drawn[:, pair], attained.sought[:, pair], pair)
        stream = io.BytesIO()
        figure.savefig(stream, format=kind)
        plt.close(figure)
    write_whole(path, stream.getvalue())


def _fill(axes: "Axes", ellipsoid: "OuterEllipsoid", drawn, sought, pair: tuple[int, int]) -> None:
    import numpy as np

    first, second = pair
    shadow = ellipsoid.shadow(first, second)
    axes.fill(*shadow.T, facecolor="#dbe7f6", edgecolor="none", zorder=0)
    axes.plot(*shadow.T, color="#1f4e9c", linewidth=1.3, label="outer ellipsoid (proved)")
    axes.scatter(*drawn.T, s=5, color="#c23b22", linewidths=0, label="outputs, drawn at random")
    axes.scatter(
        *sought.T,
        s=16,
        facecolors="none",
        edgecolors="black",
        linewidths=0.7,
        label="outputs, sought by descent",
    )
    low, high = shadow.min(axis=0), shadow.max(axis=0)
    margin = 0.08 * (high - low)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    ends = np.array(axes.get_xlim())
    axes.plot(
        ends,
        ends,
        color="#1f4e9c",
        linewidth=1.0,
        linestyle=(0, (5, 3)),
        label=f"$y_{{{first}}} = y_{{{second}}}$",
        scalex=False,
        scaley=False,
    )
    axes.set_xlabel(f"output {first}")
    axes.set_ylabel(f"output {second}")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=2)
