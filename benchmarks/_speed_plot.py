"""The pictures of the speed benchmarks: bars with their figures beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

GREEN, BLUE, GREY, ORANGE, RED = "#1f7a4d", "#2c7fb8", "#8d99a6", "#e08e0b", "#c0392b"


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its length, what is written beside it, and its colour."""

    name: str
    value: float
    note: str
    colour: str


def bar_figure(panels: Sequence[tuple[str, Sequence[Bar]]], axis: str, title: str) -> Figure:
    """Draw one panel of bars beside the other, the first bar on top.

    Args:
        panels: each a title and its bars.
        axis: what the length of the bars is.
        title: of the whole.
    """
    most = max(len(bars) for _, bars in panels)
    figure = Figure(figsize=(1 + 5.5 * len(panels), 1.6 + 0.3 * most), layout="constrained")
    for axes, (name, bars) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw_bars(axes, bars)
        axes.set_title(name, fontsize=11)
        axes.set_xlabel(axis)
    figure.suptitle(title, fontsize=13, fontweight="bold")
    return figure


def draw_bars(axes: Axes, bars: Sequence[Bar]) -> None:
    """Draw horizontal bars, the first on top."""
    places = range(len(bars))
    axes.barh(places, [bar.value for bar in bars], color=[bar.colour for bar in bars], height=0.72)
    for place, bar in zip(places, bars, strict=True):
        axes.annotate(bar.note, (bar.value, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, [bar.name for bar in bars], fontsize=8)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, max(bar.value for bar in bars) * 1.3)
    tidy(axes, "x")


def tidy(axes: Axes, grid: str) -> None:
    """Take away what does not help to read a figure."""
    axes.grid(axis=grid, color="#dddddd")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
