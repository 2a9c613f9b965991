"""The plot of `scaling.py`: one panel each for parts, cameras and cores."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.common.plot import BLUE, GREEN, GREY, RED, PlotBar, draw_bars, tidy
from benchmarks.speed.scaling_cameras import CamerasRow
from benchmarks.speed.scaling_classes import ClassesRow
from benchmarks.speed.scaling_cores import CoresRow

ALLOWED = 10
"""Percentage of the network's time that the head of 100,000 parts may add."""


def plot(classes: Sequence[ClassesRow], cameras: Sequence[CamerasRow], cores: Sequence[CoresRow], title: str) -> Figure:
    """Draw one panel for each kind of rows that is not empty."""
    panels: list[Callable[[Axes], None]] = []
    if classes:
        panels.append(lambda axes: _draw_classes(axes, classes))
    if cameras:
        panels.append(lambda axes: _draw_cameras(axes, cameras))
    if cores:
        panels.append(lambda axes: _draw_cores(axes, cores))
    figure = Figure(figsize=(5.5 * max(1, len(panels)), 4.2), layout="constrained")
    for axes, draw in zip(figure.subplots(1, max(1, len(panels)), squeeze=False)[0], panels, strict=False):
        draw(axes)
    figure.suptitle(title, fontsize=13, fontweight="bold")
    return figure


def _draw_classes(axes: Axes, rows: Sequence[ClassesRow]) -> None:
    for batch, style in ((1, "-"), (16, "--")):
        own = [row for row in rows if row.batch == batch]
        counts = [row.classes for row in own]
        for name, colour, shares in (
            ("plain product", GREY, [row.plain_share for row in own]),
            ("search", GREEN, [row.search_share for row in own]),
        ):
            percent = [max(100 * share, 0.1) for share in shares]  # a logarithmic axis cannot show 0
            axes.plot(counts, percent, style, color=colour, marker="o", label=f"{name}, batch {batch}")
    axes.axhline(ALLOWED, color=RED, linewidth=1)
    axes.annotate(f"{ALLOWED} %", (rows[0].classes, ALLOWED), (0, 3), textcoords="offset points", color=RED, fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("parts")
    axes.set_ylabel("added to the network's time, %")
    axes.set_title("parts", fontsize=11)
    axes.legend(fontsize=8, frameon=False, handlelength=3.5)
    tidy(axes, "both")


def _draw_cameras(axes: Axes, rows: Sequence[CamerasRow]) -> None:
    bars = [
        PlotBar(
            str(row.cameras),
            row.frames_per_s,
            f"{row.frames_per_s:.0f}/s, p99 {row.p99_ms:.0f} ms",
            BLUE,
        )
        for row in rows
    ]
    draw_bars(axes, bars)
    axes.set_xlim(0, max(bar.value for bar in bars) * 1.7)
    axes.set_ylabel("cameras")
    axes.set_xlabel("frames a second, all cameras together")
    axes.set_title("cameras, compared with golden images", fontsize=11)


def _draw_cores(axes: Axes, rows: Sequence[CoresRow]) -> None:
    bars = [
        PlotBar(
            f"{row.cores} core{'s' if row.cores > 1 else ''}, batch {row.batch}",
            row.frames_per_s,
            f"{row.frames_per_s:.0f} ({row.speedup:.2f} ×)",
            GREEN if row.batch == 1 else BLUE,
        )
        for row in rows
    ]
    draw_bars(axes, bars)
    axes.set_xlabel("frames a second")
    axes.set_title("cores, by the network alone", fontsize=11)
