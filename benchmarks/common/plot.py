"""Plots of the speed benchmarks: bars, each with its figure next to it."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

GREEN, BLUE, GREY, ORANGE, RED = "#1f7a4d", "#2c7fb8", "#8d99a6", "#e08e0b", "#c0392b"


@dataclass(frozen=True)
class PlotBar:
    """Bar with name, length, the text next to it, and colour."""

    name: str
    value: float
    note: str
    colour: str


def bar_figure(panels: Sequence[tuple[str, Sequence[PlotBar]]], axis: str, title: str) -> Figure:
    """Draw panels of bars next to each other, the first bar on top.

    Args:
        panels: Title and bars of each panel.
        axis: Quantity that the length of a bar shows.
        title: Title of the figure.
    """
    most = max(len(bars) for _, bars in panels)
    figure = Figure(figsize=(1 + 5.5 * len(panels), 1.6 + 0.3 * most), layout="constrained")
    for axes, (name, bars) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw_bars(axes, bars)
        axes.set_title(name, fontsize=11)
        axes.set_xlabel(axis)
    figure.suptitle(title, fontsize=13, fontweight="bold")
    return figure


def draw_bars(axes: Axes, bars: Sequence[PlotBar]) -> None:
    """Draw horizontal bars, the first on top."""
    indices = range(len(bars))
    axes.barh(indices, [bar.value for bar in bars], color=[bar.colour for bar in bars], height=0.72)
    for index, bar in zip(indices, bars, strict=True):
        axes.annotate(bar.note, (bar.value, index), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(indices, [bar.name for bar in bars], fontsize=8)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, max(bar.value for bar in bars) * 1.3)
    tidy(axes, "x")


def tidy(axes: Axes, grid: str) -> None:
    """Remove lines that do not help to read a figure."""
    axes.grid(axis=grid, color="#dddddd")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
