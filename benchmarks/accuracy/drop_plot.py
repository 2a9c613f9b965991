"""The plot of `finetune_drop.py`: accuracy as Keras prints it, and accuracy on a line."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_HEAD_AT = -0.35
"""Position of the end of head training on the axis of epochs."""

# Wide lines below narrow ones, so that lines on top of each other all stay visible.
_LOOKS = {
    "a": {"color": "#c0392b", "linewidth": 5, "marker": "o", "alpha": 0.9},
    "b": {"color": "#e08e0b", "linewidth": 3, "marker": "s"},
    "c": {"color": "#5b4b9a", "linewidth": 1.5, "marker": "^"},
    "p": {"color": "#2c7fb8", "linewidth": 2, "marker": "v"},
    "d": {"color": "#1f7a4d", "linewidth": 4, "marker": "D"},
}


def plot(path: Path, results: dict[str, Any]) -> None:
    """Draw accuracy by epoch in training mode and in inference mode, one line for each variant."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    printed, golden = figure.subplots(1, 2, sharey=True)
    for variant in results["variants"]:
        _line(printed, variant, "printed", results["stage1_golden_accuracy"])
        _line(golden, variant, "golden", results["stage1_golden_accuracy"])
    printed.set_title("In training: the accuracy that Keras prints", fontsize=11)
    golden.set_title("In inference, as on the line: golden images recognised", fontsize=11)
    _original(printed, results["original_report"])
    for axes in (printed, golden):
        _axes(axes, results["epochs"])
    printed.set_ylabel("share of golden images recognised")
    handles, labels = printed.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    figure.suptitle(_title(results), fontsize=13, fontweight="bold")
    figure.savefig(path, dpi=110)


def _line(axes: Axes, variant: dict[str, Any], what: str, stage1: float) -> None:
    points = variant["points"]
    epochs = [_HEAD_AT, *(point["epoch"] for point in points)]
    shares = [stage1, *(point[what] for point in points)]
    axes.plot(epochs, shares, label=f"({variant['key']}) {variant['name']}", markersize=5, **_LOOKS[variant["key"]])


def _original(axes: Axes, original: dict[str, float]) -> None:
    shares = [original["head"], original["epoch_1"]]
    label = f"original report: {shares[0]:.4f} → {shares[1]:.4f}"
    axes.plot([_HEAD_AT, 1], shares, "x", color="black", markersize=10, markeredgewidth=2, label=label, zorder=5)


def _axes(axes: Axes, epochs: int) -> None:
    axes.set(xlabel="epochs of fine-tuning", ylim=(-0.04, 1.06), xlim=(_HEAD_AT - 0.1, epochs + 0.1))
    axes.set_xticks([_HEAD_AT, *range(epochs + 1)], ["head\ntrained", "start", *map(str, range(1, epochs + 1))])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axes.axvspan(_HEAD_AT - 0.1, 0, color="#eceff1")
    axes.grid(axis="y", color="#dddddd")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _title(results: dict[str, Any]) -> str:
    return f"Fine-tuning {results['backbone']} on {results['classes']} parts: does it still know its golden images?"
