"""Line plots as SVG that can stand inside a page. Matplotlib draws them without a window and without pyplot's global state."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from physsim.errors import InputError

PALETTE = ("#2563eb", "#ea580c", "#16803c", "#9333ea", "#0e7490", "#be123c")
INK, MUTED, GRID = "#1f2937", "#6b7280", "#e5e7eb"
STYLES = ("line", "dashed", "points")

_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "physsim",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": "#9ca3af",
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "lines.solid_capstyle": "round",
}
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@dataclass(frozen=True)
class Series:
    """One curve: x and y, shape [k]; `band` is a pair (low, high), shape [k] each, shaded behind it. A NaN leaves a gap."""

    label: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    style: str = "line"
    colour: str | None = None
    width: float = 1.7
    band: tuple[np.ndarray, np.ndarray] | None = None

    def __post_init__(self) -> None:
        lengths = [np.shape(values) for values in (self.x, self.y, *(self.band or ()))]
        if len(lengths[0]) != 1 or len(set(lengths)) != 1:
            raise InputError(f"series {self.label!r}: x, y and band have shapes {lengths}; all must be [k]")
        if self.style not in STYLES:
            raise InputError(f"series {self.label!r}: style {self.style!r} is unknown; choose one of {', '.join(STYLES)}")


@dataclass(frozen=True)
class Panel:
    """One set of axes. `spans` are shaded stretches of x, (start, end, label); `marks` are upright lines, (x, label)."""

    title: str
    series: Sequence[Series]
    x_label: str = ""
    y_label: str = ""
    log_y: bool = False
    spans: Sequence[tuple[float, float, str]] = field(default=())
    marks: Sequence[tuple[float, str]] = field(default=())


@dataclass(frozen=True)
class HeatMap:
    """Values over cells of a plane: `values`, shape [a, b]; edges of the cells along x, shape [a + 1], and along y, shape [b + 1]."""

    title: str
    values: np.ndarray
    x_edges: np.ndarray
    y_edges: np.ndarray
    x_label: str = ""
    y_label: str = ""


@dataclass(frozen=True)
class Interval:
    """A row of a forest plot: an estimate above 0, the ends of its interval (None, infinite, not above 0: open), and others."""

    label: str
    value: float
    low: float | None
    high: float | None
    others: Sequence[float] = field(default=())


def plot_svg(panels: Sequence[Panel], columns: int = 1, width: float = 9.6, height: float = 2.9) -> str:
    """Draw panels in rows.

    Args:
        panels: what to draw
        columns: panels side by side
        width: of the whole figure [inch]; a page scales it to its own width
        height: of one row [inch]

    Returns:
        An ``<svg>`` element, without an XML header, that refers to nothing outside itself.

    Raises:
        InputError: there is no panel, or `columns` is below 1.
    """
    if not panels or columns < 1:
        raise InputError(f"{len(panels)} panels in {columns} columns: at least one of each is needed")
    return _figure_svg(len(panels), columns, (width, height), lambda i, axis, _: _draw_panel(axis, panels[i], width / columns))


def heat_svg(maps: Sequence[HeatMap], unit: str = "", columns: int = 2, width: float = 9.6, height: float = 2.9) -> str:
    """Draw heat maps in rows, all in the same colours.

    Args:
        maps: what to draw
        unit: of the values, for the scale beside them
        columns: maps side by side
        width: of the whole figure [inch]; a page scales it to its own width
        height: of one row [inch]

    Returns:
        An ``<svg>`` element, as `plot_svg`.

    Raises:
        InputError: there is no map, or `columns` is below 1.
    """
    if not maps or columns < 1:
        raise InputError(f"{len(maps)} heat maps in {columns} columns: at least one of each is needed")
    top = max(float(np.max(m.values)) for m in maps)

    def draw(i, axis, figure):
        m = maps[i]
        mesh = axis.pcolormesh(m.x_edges, m.y_edges, np.transpose(m.values), cmap="viridis", vmin=0.0, vmax=top or 1.0)
        axis.set_title(m.title, loc="left", fontsize=10.5, fontweight="bold", pad=9)
        axis.set_xlabel(m.x_label)
        axis.set_ylabel(m.y_label)
        axis.set_aspect("equal")
        axis.tick_params(length=3)
        if i == len(maps) - 1:
            figure.colorbar(mesh, ax=figure.axes, label=unit, shrink=0.9).outline.set_visible(False)

    return _figure_svg(len(maps), columns, (width, height), draw)


def interval_svg(rows: Sequence[Interval], width: float = 9.6) -> str:
    """Draw a forest plot on a logarithmic axis of value over estimate; an open end is an arrow to the border.

    Args:
        rows: from top to bottom.
        width: of the figure [inch].

    Returns:
        An ``<svg>`` element, as `plot_svg`.

    Raises:
        InputError: there is no row, or an estimate that is not above 0.
    """
    if not rows or any(not row.value > 0.0 for row in rows):
        raise InputError(f"{len(rows)} intervals, estimates {[row.value for row in rows]}: at least one is needed, estimates above 0")
    return _figure_svg(1, 1, (width, 0.75 + 0.34 * len(rows)), lambda _, axis, __: _draw_intervals(axis, rows))


def _draw_intervals(axis, rows):
    ends = [[end / r.value if end is not None and 0.0 < end < np.inf else None for end in (r.low, r.high)] for r in rows]
    others = [np.array([o / r.value for o in r.others if o > 0.0]) for r in rows]
    finite = [abs(np.log(e)) for pair in ends for e in pair if e is not None] + [abs(np.log(o)) for group in others for o in group]
    reach = float(np.clip(1.25 * max(finite, default=0.0), 0.05, np.log(100.0)))
    low, high = np.exp(-reach), np.exp(reach)
    axis.axvline(1.0, color="#9ca3af", linewidth=0.9, dashes=(4, 3), zorder=1)
    for k, (pair, seeds) in enumerate(zip(ends, others)):
        y, colour = len(rows) - 1 - k, PALETTE[0]
        a, b = (low if pair[0] is None else max(pair[0], low)), (high if pair[1] is None else min(pair[1], high))
        axis.plot([a, b], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
        for end, at, mark in ((pair[0], a, "<"), (pair[1], b, ">")):
            open_end = end is None or not low <= end <= high
            axis.plot([at], [y], marker=mark if open_end else "|", markersize=7 if open_end else 9, color=colour, clip_on=False)
        axis.plot(seeds, np.full(len(seeds), y - 0.22), linestyle="none", marker="o", markersize=3.2, color=PALETTE[1], clip_on=False)
        axis.plot([1.0], [y], marker="o", markersize=6.5, color=colour)
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    ticks = [t for t in _ratio_ticks(reach) if low <= t <= high]
    axis.set_xticks(ticks, [f"{t:.3g}" for t in ticks])
    axis.minorticks_off()
    axis.set_yticks(range(len(rows)), [row.label for row in reversed(rows)])
    axis.tick_params(axis="y", length=0, labelcolor=INK)
    axis.set_xlabel("value over estimate")
    axis.grid(axis="x")
    axis.spines["left"].set_visible(False)
    axis.patch.set_alpha(0.0)


def _ratio_ticks(reach: float) -> list[float]:
    """Ratios about 1 at which an axis of this reach in the logarithm is marked."""
    for step, most in ((0.02, 0.08), (0.05, 0.2), (0.1, 0.45)):
        if reach < most:
            return [round(1.0 + step * k, 2) for k in range(-4, 6)]
    return [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]


def _figure_svg(count, columns, size, draw):
    """A figure of `count` axes, each made by draw(number, axis, figure)."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rows = -(-count // columns)
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(size[0], size[1] * rows), layout="constrained")
        figure.patch.set_alpha(0.0)
        figure.get_layout_engine().set(hspace=0.07, wspace=0.05)
        canvas = FigureCanvasSVG(figure)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis in axes[count:]:
            figure.delaxes(axis)
        for i, axis in enumerate(axes[:count]):
            draw(i, axis, figure)
        text = io.StringIO()
        canvas.print_svg(text, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(text.getvalue())


def _draw_panel(axis, panel: Panel, width: float) -> None:
    axis.grid(axis="y")
    axis.patch.set_alpha(0.0)
    for start, end, label in panel.spans:
        axis.axvspan(start, end, color="#f3f4f6", linewidth=0, zorder=0)
        _note(axis, 0.5 * (start + end), label, "center")
    for place, label in panel.marks:
        axis.axvline(place, color="#9ca3af", linewidth=0.9, dashes=(4, 3), zorder=1)
        _note(axis, place, f"\u00a0{label}", "left")  # SVG drops a plain space
    for index, series in enumerate(panel.series):
        _draw_series(axis, series, series.colour or PALETTE[index % len(PALETTE)])
    if panel.log_y:
        from matplotlib.ticker import LogFormatter

        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(LogFormatter())
        axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    axis.set_title(panel.title, loc="left", fontsize=10.5, fontweight="bold", pad=9)
    axis.set_xlabel(panel.x_label)
    axis.set_ylabel(panel.y_label)
    axis.tick_params(length=3)
    noted = any(label for *_, label in (*panel.spans, *panel.marks))
    axis.margins(x=0.01, y=0.17 if noted else 0.06)
    labels = [series.label for series in panel.series if series.label]
    if labels:
        beside_title = len(panel.title) * 1.15 + sum(len(label) + 6 for label in labels) < 13.0 * width
        place = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.985), "ncols": len(labels)} if beside_title else {"loc": "best"}
        axis.legend(frameon=not beside_title, framealpha=0.85, edgecolor="none", fontsize=9, handlelength=1.6, columnspacing=1.4, **place)


def _draw_series(axis, series: Series, colour: str) -> None:
    if series.band is not None:
        axis.fill_between(series.x, *series.band, color=colour, alpha=0.15, linewidth=0)
    if series.style == "points":
        axis.plot(series.x, series.y, linestyle="none", marker="o", markersize=3.2, markeredgewidth=0, color=colour, label=series.label)
    else:
        dashes = {"dashes": (4, 2.5)} if series.style == "dashed" else {}
        axis.plot(series.x, series.y, color=colour, linewidth=series.width, label=series.label, **dashes)


def _note(axis, x: float, text: str, align: str) -> None:
    from matplotlib.transforms import blended_transform_factory

    place = blended_transform_factory(axis.transData, axis.transAxes)
    axis.text(x, 0.985, text, transform=place, ha=align, va="top", fontsize=8.5, color=MUTED)


def _inline(svg: str) -> str:
    """An SVG file as an element: no header, no metadata, no fixed size, no ids of groups (several plots share a page)."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"(font: [^;\"]*?px) [^;\"]*", lambda match: f"{match[1]} {_FONTS}", svg)
    return re.sub(r'<svg ([^>]*?)\s(?:width|height)="[^"]*"([^>]*?)\s(?:width|height)="[^"]*"', r'<svg role="img" \1\2', svg, count=1)
