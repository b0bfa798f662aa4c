"""What all pictures of this room share: style, colours, and how a figure becomes a file."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from vnn_mondeq.errors import InputError
from vnn_mondeq.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 8.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "savefig.dpi": 160,
    # Text stays text in an SVG, and the same figure gives the same bytes.
    "svg.fonttype": "none",
    "svg.hashsalt": "vnn-mondeq",
}

BLUE, RED, GREY = "#1f4e9c", "#b5361c", "#9a9a9a"
"""Distinct for the colour-blind, and in grey by their lightness."""


def figure_bytes(figure: "Figure", kind: str) -> bytes:
    """The figure in a format such as `png` or `svg`, without a date in it."""
    stream = io.BytesIO()
    undated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(stream, format=kind, metadata=undated.get(kind))
    return stream.getvalue()


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure, whole or not at all; the ending of `path` is its format.

    **Raises** `InputError` for an unknown format, `OutputError` where it cannot be written.
    """
    kind = Path(path).suffix.removeprefix(".").lower()
    if kind not in figure.canvas.get_supported_filetypes():
        raise InputError(f"{path}: no picture format; end it in .png, .pdf or .svg")
    write_whole(path, figure_bytes(figure, kind))
