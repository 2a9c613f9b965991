"""The plot of `plant.py`: latency against load, and against the number of cards."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.common.plot import BLUE, GREEN, GREY, ORANGE, RED, tidy
from benchmarks.speed.plant_sizing import PlantRow, cards_needed

_COLOURS = (GREY, BLUE, GREEN, ORANGE)


def plot(rows: Sequence[PlantRow], curves: Mapping[int, Sequence[PlantRow]], limit_ms: float, title: str) -> Figure:
    """Draw latency against load for each number of cards, and the plant's latency against the number of cards."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (count, found), colour in zip(curves.items(), _COLOURS, strict=False):
        name = f"{count} card{'s' if count > 1 else ''}"
        loads = [100 * row.load for row in found]
        left.plot(loads, [row.p99_ms or 0 for row in found], "o-", color=colour, markersize=4, label=name)
    left.set_xlabel("load, % of the frames that the cards can answer")
    left.set_title("latency against load", fontsize=11)
    left.legend(fontsize=8, frameon=False)
    _draw_cards(right, rows, limit_ms)
    for axes in (left, right):
        axes.axhline(limit_ms, color=RED, linewidth=1)
        axes.set_ylabel("99th percentile of latency, ms")
        axes.set_ylim(0)
        tidy(axes, "both")
    figure.suptitle(title, fontsize=12, fontweight="bold")
    return figure


def _draw_cards(axes: Axes, rows: Sequence[PlantRow], limit_ms: float) -> None:
    kept = [row for row in rows if row.p99_ms is not None]
    axes.plot([row.cards for row in kept], [row.p99_ms or 0 for row in kept], "o-", color=BLUE, label="99th percentile")
    axes.plot([row.cards for row in kept], [row.p50_ms or 0 for row in kept], "o--", color=GREY, label="median")
    needed = cards_needed(rows, limit_ms)
    if needed is not None:
        axes.axvline(needed, color=RED, linewidth=1)
        axes.annotate(
            f"{needed} card{'s' if needed > 1 else ''} for {limit_ms:g} ms",
            (needed, limit_ms),
            (6, 6),
            textcoords="offset points",
            color=RED,
            fontsize=9,
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("cards")
    axes.set_title("the plant", fontsize=11)
    axes.legend(fontsize=8, frameon=False)
