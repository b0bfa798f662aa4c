"""The pictures of a report, as SVG."""

from collections.abc import Callable, Sequence
from itertools import combinations, cycle
from typing import TYPE_CHECKING

import numpy as np

from vnn_mondeq.report.document import Picture
from vnn_mondeq.report.figure import BLUE, GREY, RED, STYLE, figure_bytes
from vnn_mondeq.report.outcome import DECIDED, Group, Outcome
from vnn_mondeq.report.published import published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_WIDTH = 4.5
"""Inches. Narrow, so that the letters can still be read when a phone shrinks the picture."""

_LINES = ("-", "--", "-.", ":")
_COLOURS = ("#1f4e9c", "#b5361c", "#2e7d4f", "#7b4ea3", "#8a6d00", "#4a4a4a")
_OPEN = "#e0b23c"

_MOST_LINES = 12
"""Of a cactus plot; more cannot be told apart."""

_HALF = 26
"""Letters of a legend's entry that fit into half of the width."""


def pictures(groups: Sequence[Group]) -> list[Picture]:
    """Those for which there are data."""
    made = [gap_picture(groups), cactus_picture(groups), margin_picture(groups)]
    return [picture for picture in (*made, *scatter_pictures(groups)) if picture is not None]


def _svg(height: float, fill: Callable[["Axes"], None]) -> bytes:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # Outlines instead of fonts: a report looks the same where these fonts are not.
    with pyplot.rc_context({**STYLE, "svg.fonttype": "path"}):
        figure, axes = pyplot.subplots(figsize=(_WIDTH, height), layout="constrained")
        try:
            fill(axes)
            return figure_bytes(figure, "svg")
        finally:
            pyplot.close(figure)


def _plain_numbers(axis: "Axis") -> None:
    """Numbers as people write them on a logarithmic axis, few enough not to touch."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 300.0 * low else (1.0,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _label(group: Group, groups: Sequence[Group]) -> str:
    """As short as tells the groups apart."""
    parts = [group.model]
    if len({other.subject for other in groups}) > 1 or group.ball is not None:
        parts.append(group.subject)
    if len({other.backend for other in groups}) > 1:
        parts.append(group.backend)
    return ", ".join(parts)


def gap_picture(groups: Sequence[Group]) -> Picture | None:
    """Certified, open, falsified: a bar for each group, with the papers' figures on it."""
    shown = [group for group in groups if group.runs]
    if not shown:
        return None

    def fill(axes: "Axes") -> None:
        _draw_bars(axes, shown)
        for place, group in enumerate(shown):
            # Above its bar: beside it, names would take half of the width.
            label, at = _label(group, shown), (0, place - 0.25)
            axes.annotate(label, at, xytext=(3, 2), textcoords="offset points", fontsize=8)
        axes.set_yticks([])
        axes.set_ylim(len(shown) - 0.6, -0.75)
        axes.set_xlabel("instances")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.figure.legend(loc="outside upper left", ncols=3)

    lines = [
        f"{_label(g, shown)}: {g.count(Outcome.CERTIFIED)} certified, "
        f"{g.count(Outcome.OPEN)} open, {g.count(Outcome.FALSIFIED)} falsified"
        for g in shown
    ]
    printed = any(_best_published(group) is not None for group in shown)
    return Picture(
        "gap",
        "Attack and certificate. Between the certified and the falsified instances lies what is "
        f"open.{_DIAMONDS if printed else ''}",
        f"Bars of counts. {'; '.join(lines)}.",
        _svg(0.4 * len(shown) + 1.2, fill),
    )


_DIAMONDS = " Diamonds: certified in a paper, for the same region; the best of its methods."

_PARTS = (
    ("certified", BLUE, (Outcome.CERTIFIED,)),
    ("open", _OPEN, (Outcome.OPEN,)),
    ("failed", "#4a4a4a", (Outcome.FAILED,)),
    ("falsified", RED, (Outcome.FALSIFIED,)),
    ("misclassified", "#d6d6d6", (Outcome.MISCLASSIFIED,)),
)


def _draw_bars(axes: "Axes", shown: Sequence[Group]) -> None:
    at = np.arange(len(shown))
    left = np.zeros(len(shown))
    for label, colour, outcomes in _PARTS:
        width = np.array([sum(group.count(o) for o in outcomes) for group in shown])
        if width.any():
            axes.barh(at, width, left=left, height=0.46, color=colour, label=label)
        left = left + width
    marks = [(place, _best_published(group)) for place, group in enumerate(shown)]
    found = [(place, count) for place, count in marks if count is not None]
    if found:
        axes.plot(
            *([count for _, count in found], [place for place, _ in found]),
            *("D",),
            color="white",
            markeredgecolor="black",
            markersize=5.5,
            clip_on=False,
            label="certified in a paper",
        )


def _best_published(group: Group) -> int | None:
    if group.ball is None:
        return None
    same = [p.certified for p in published(group.model, group.ball) if p.ball.matches(group.ball)]
    return max(same, default=None)


def cactus_picture(groups: Sequence[Group]) -> Picture | None:
    """How many instances are decided within how many seconds each: a line for each backend, or for
    each group where there is only one backend."""
    lines = _cactus_lines(groups)
    shown = dict(list(lines.items())[:_MOST_LINES])
    if not shown:
        return None
    columns = 2 if max(map(len, shown)) < _HALF else 1

    def fill(axes: "Axes") -> None:
        styles = cycle((colour, line) for line in _LINES for colour in _COLOURS)
        for (label, seconds), (colour, line) in zip(shown.items(), styles, strict=False):
            axes.step(
                *(seconds, np.arange(1, len(seconds) + 1)),
                where="post",
                color=colour,
                linestyle=line,
                linewidth=1.3,
                label=label,
            )
        axes.set(xscale="log", xlabel="seconds for one instance, at most", ylabel="decided")
        axes.set_ylim(bottom=0)
        axes.yaxis.get_major_locator().set_params(integer=True)
        _plain_numbers(axes.xaxis)
        axes.figure.legend(loc="outside lower left", ncols=columns)

    left_out = len(lines) - len(shown)
    note = f" {left_out} more groups are left out." if left_out else ""
    told = [f"{name}: {len(s)} decided, the slowest in {s[-1]:.3g} s" for name, s in shown.items()]
    return Picture(
        "cactus",
        "Cactus plot: instances decided (unsat or sat) within a number of seconds each. Higher and "
        f"farther left is better.{note}",
        f"Rising steps. {'; '.join(told)}.",
        _svg(3.0 + 0.17 * -(-len(shown) // columns), fill),
    )


def _cactus_lines(groups: Sequence[Group]) -> dict[str, list[float]]:
    """Label → sorted seconds of what was decided, where anything was."""
    several = len({group.backend for group in groups}) > 1
    lines: dict[str, list[float]] = {}
    for group in groups:
        label = group.backend if several else _label(group, groups)
        lines.setdefault(label, []).extend(_decided(group))
    return {label: sorted(seconds) for label, seconds in lines.items() if seconds}


def _decided(group: Group) -> list[float]:
    return [r.seconds for r in group.runs if r.outcome in DECIDED and r.seconds is not None]


def margin_picture(groups: Sequence[Group]) -> Picture | None:
    """Attack against proof, instance by instance: the true margin lies between them."""
    points = [
        (run.upper, run.lower, run.outcome)
        for group in groups
        for run in group.runs
        if run.outcome in (Outcome.CERTIFIED, Outcome.OPEN)
        and run.upper is not None
        and run.lower is not None
    ]
    if len(points) < 2:
        return None

    def fill(axes: "Axes") -> None:
        for outcome, colour, marker in (
            (Outcome.CERTIFIED, BLUE, "o"),
            (Outcome.OPEN, RED, "X"),
        ):
            chosen = np.array([p[:2] for p in points if p[2] is outcome])
            style = {"s": 9 if marker == "o" else 40, "color": colour, "marker": marker}
            if chosen.size:
                axes.scatter(*chosen.T, **style, linewidths=0, label=outcome.name.lower())
        top = max(point[0] for point in points)
        axes.plot([0, top], [0, top], color=GREY, linewidth=0.9, label="attack = bound")
        axes.axhline(0.0, color="black", linewidth=0.6)
        low, high = (pick(point[1] for point in points) for pick in (min, max))
        air = 0.08 * (high - low) + 1e-9
        axes.set_ylim(low - air, high + air)  # the line leaves the picture; the points fill it
        axes.set(xlabel="smallest score difference found", ylabel="score difference proved")
        axes.legend(loc="best")

    return Picture(
        "margins",
        "Attack–certificate gap of each instance that an attack had tried: the true smallest score "
        "difference lies between the two. Engines stop at the first positive bound, so that "
        "certified instances lie far below the line without being close calls. Open ones: the best "
        "bound that an engine came to, not checked.",
        f"Scatter plot of {len(points)} instances, "
        f"{sum(p[2] is Outcome.OPEN for p in points)} of them open; "
        f"{sum(p[1] > p[0] for p in points)} lie above the line where attack and bound are equal.",
        _svg(3.2, fill),
    )


def scatter_pictures(groups: Sequence[Group]) -> list[Picture]:
    """Seconds of two backends on the same instances, for each pair of backends."""
    backends = sorted({group.backend for group in groups})
    made = (_scatter(groups, *pair) for pair in combinations(backends, 2))
    return [picture for picture in made if picture is not None]


def _scatter(groups: Sequence[Group], first: str, second: str) -> Picture | None:
    pairs = _common(groups, first, second)
    if not pairs:
        return None
    last = 2.0 * max(max(a or 0.0, b or 0.0) for a, b in pairs)
    points = np.array([[last if s is None else s for s in pair] for pair in pairs])

    def fill(axes: "Axes") -> None:
        axes.scatter(*points.T, s=12, color=BLUE, linewidths=0)
        low = 0.7 * float(points.min())
        axes.plot([low, last], [low, last], color=GREY, linewidth=0.9)
        for line in (axes.axhline, axes.axvline):
            line(last, color=RED, linewidth=0.7, linestyle=":")
        axes.set(
            xscale="log", yscale="log", xlabel=f"{first}: seconds", ylabel=f"{second}: seconds"
        )
        for axis in (axes.xaxis, axes.yaxis):
            _plain_numbers(axis)

    alone = [sum(pair[i] is None for pair in pairs) for i in (0, 1)]
    return Picture(
        f"scatter-{first}-{second}",
        f"{first} against {second} on the same instances. Below the line {second} is the faster. "
        "On the dotted lines: not decided.",
        f"Scatter plot of {len(pairs)} instances that at least one decided; {first} left "
        f"{alone[0]} undecided, {second} {alone[1]}.",
        _svg(4.2, fill),
    )


def _common(
    groups: Sequence[Group], first: str, second: str
) -> list[tuple[float | None, float | None]]:
    """Seconds of either backend on what both ran, `None` where it did not decide."""
    times: dict[tuple, dict[str, float | None]] = {}
    for group in groups:
        for run in group.runs:
            decided = run.outcome in DECIDED
            key = (group.model, group.subject, run.instance)
            times.setdefault(key, {})[group.backend] = run.seconds if decided else None
    pairs = [(t[first], t[second]) for t in times.values() if first in t and second in t]
    return [pair for pair in pairs if pair != (None, None)]
