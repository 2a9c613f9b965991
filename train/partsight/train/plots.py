"""Plots of the training report, as Matplotlib figures that need no screen."""

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from partsight.runtime.calibration import Tolerances, ToleranceSeries, Variation, vary
from partsight.runtime.core import Pixels
from partsight.train.fit import Epoch
from partsight.train.records import Calibration, TuneRecord
from partsight.train.run_folder import GoldenRecord

_RIGHT, _WRONG, _NEUTRAL = "#1f7a4d", "#c0392b", "#34495e"


def curves(history: Sequence[Epoch], target: float) -> Figure:
    """Draw golden accuracy and loss by epoch."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    accuracy, loss = figure.subplots(1, 2)
    epochs = [epoch.epoch for epoch in history]
    accuracy.plot(epochs, [epoch.golden_accuracy for epoch in history], marker="o", color=_RIGHT)
    accuracy.axhline(target, color=_NEUTRAL, linestyle="--", linewidth=1, label=f"target {target:g}")
    accuracy.set(xlabel="epoch (0: before training)", ylabel="golden accuracy", ylim=(-0.02, 1.02))
    accuracy.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    accuracy.legend(loc="lower right")
    losses = [(epoch.epoch, epoch.loss) for epoch in history if epoch.loss is not None]
    if losses:
        loss.plot(*zip(*losses, strict=True), marker="o", color=_NEUTRAL)
        loss.set(xlabel="epoch", ylabel="training loss")
    else:
        loss.axis("off")
        loss.text(0.5, 0.5, "training needed no epoch:\nthe head starts from\nthe golden images", ha="center")
    return figure


def tuning_curves(record: TuneRecord) -> Figure:
    """Draw accuracy by epoch of fine-tuning with the drop guard's floor, and the loss."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    accuracy, loss = figure.subplots(1, 2)
    epochs = [epoch.epoch for epoch in record.history]
    golden = [epoch.golden_accuracy for epoch in record.history]
    held_out = [epoch.held_out_accuracy for epoch in record.history]
    accuracy.plot(epochs, golden, marker="o", color=_RIGHT, label="golden images")
    accuracy.plot(epochs, held_out, marker="o", color=_NEUTRAL, label="held-out varied copies")
    accuracy.axhline(record.floor, color=_WRONG, linestyle="--", linewidth=1, label=f"drop guard {record.floor:.4f}")
    accuracy.axvline(record.best_epoch, color=_NEUTRAL, linestyle=":", linewidth=1, label="kept")
    lowest = min(*golden, *held_out, record.floor)
    accuracy.set(
        xlabel="epoch (0: before fine-tuning)", ylabel="accuracy", ylim=(lowest - 0.05 * (1.02 - lowest), 1.005)
    )
    accuracy.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    accuracy.legend(loc="lower right", fontsize=8)
    losses = [(epoch.epoch, epoch.loss) for epoch in record.history if epoch.loss is not None]
    if losses:
        loss.plot(*zip(*losses, strict=True), marker="o", color=_NEUTRAL)
    loss.set(xlabel="epoch", ylabel="training loss")
    loss.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def misclassification(goldens: Sequence[GoldenRecord]) -> Figure:
    """Draw one dot for each part: its golden image's margin to the next part, red if the network names another part."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    margins = np.array([golden.margin for golden in goldens])
    wrong = np.array([golden.predicted != golden.label for golden in goldens])
    indices = np.arange(len(goldens))
    axes.scatter(indices[~wrong], margins[~wrong], s=6, color=_RIGHT, label=f"right: {int((~wrong).sum())}")
    axes.scatter(indices[wrong], margins[wrong], s=18, color=_WRONG, label=f"wrong: {int(wrong.sum())}")
    axes.set(xlabel="part, in the order of the labels", ylabel="margin to the next part", ylim=(0, None))
    axes.legend(loc="upper right")
    return figure


def reject_curves(calibration: Calibration) -> Figure:
    """Draw both errors by threshold, and one error against the other, with and without the comparison."""
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    cost, trade = figure.subplots(1, 2)
    curve, decision = calibration.matched_curve, calibration.matched_decision
    percent = [100 * value for value in curve.false_reject]
    cost.plot(curve.threshold, percent, color=_RIGHT, label="taught parts refused")
    cost.plot(curve.threshold, [100 * value for value in curve.false_accept], color=_WRONG, label="unknown accepted")
    cost.axvline(decision.threshold, color=_NEUTRAL, linestyle="--", linewidth=1, label="chosen threshold")
    cost.set(xlabel="threshold on the agreement", ylabel="% of frames", ylim=(0, 100))
    cost.legend(fontsize=8)
    pairs = ((calibration.curve, "network alone", _NEUTRAL), (curve, "with comparison", _RIGHT))
    for values, label, color in pairs:
        refused = [100 * (1 - value) for value in values.false_accept]
        trade.plot([100 * value for value in values.false_reject], refused, color=color, label=label)
    trade.set(xlabel="taught parts refused, %", ylabel="unknown parts refused, %", xlim=(-0.3, 10), ylim=(0, 101))
    trade.legend(fontsize=8, loc="lower right")
    return figure


def tolerance_curves(tolerances: Tolerances) -> Figure:
    """Draw the answers by amount, one panel for each kind of difference, with the tolerated range shaded."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    panels = figure.subplots(2, 3)
    for axes in panels.flat[len(tolerances.series) :]:
        axes.axis("off")
    for axes, series in zip(panels.flat, tolerances.series, strict=False):
        _draw_series(axes, series)
    panels[0, 0].set_ylabel("% of frames")
    panels[0, 0].legend(fontsize=7, loc="lower left")
    return figure


def _draw_series(axes: Axes, series: ToleranceSeries) -> None:
    positions = range(len(series.points))  # equal distances, because small amounts are close together
    amounts = [point.amount for point in series.points]
    axes.set_title(f"{series.name}: {series.describe()}", fontsize=9)
    shares = {name: [100 * getattr(point, name) for point in series.points] for name in ("right", "unknown", "wrong")}
    colours = (_RIGHT, "#d5dde4", _WRONG)
    axes.set_ylim(0, 100)
    if not series.unit:
        bottom = np.zeros(len(amounts))
        for values, colour in zip(shares.values(), colours, strict=True):
            axes.bar(["as taught", "swapped"], values, 0.5, bottom=bottom, color=colour)
            bottom += values
        return
    axes.stackplot(positions, list(shares.values()), colors=colours, labels=list(shares))
    for limit in {amounts.index(amount) for amount in series.tolerated} - {0, len(amounts) - 1}:
        axes.axvline(limit, color=_NEUTRAL, linestyle="--", linewidth=1)
    axes.set_xticks(positions, [f"{amount:g}" for amount in amounts], fontsize=6)
    axes.set(xlabel=series.unit, xlim=(0, len(amounts) - 1))


def variation_samples(images: Sequence[Pixels], variation: Variation, seed: int) -> Figure:
    """Draw a few golden images, each next to varied copies."""
    rng = np.random.default_rng(seed)
    indices = np.sort(rng.choice(len(images), min(4, len(images)), replace=False))
    figure = Figure(figsize=(9, 1.35 * len(indices)), layout="constrained")
    grid = figure.subplots(len(indices), 7, squeeze=False)
    for row, index in zip(grid, indices, strict=True):
        golden = images[index]
        for axes, image in zip(row, [golden, *(vary(golden, variation, rng) for _ in range(6))], strict=True):
            axes.imshow(_thumbnail(image))
            axes.axis("off")
    grid[0, 0].set_title("golden", fontsize=8, color=_NEUTRAL)
    return figure


def closest_pairs(goldens: Sequence[GoldenRecord], images: Sequence[Pixels], count: int = 30) -> Figure:
    """Draw the golden images with the smallest margins, each next to the golden image of the nearest part."""
    index_of = {golden.label: index for index, golden in enumerate(goldens)}
    by_difficulty = sorted(goldens, key=lambda golden: (golden.predicted == golden.label, golden.margin))
    once = {frozenset((golden.label, golden.nearest)): golden for golden in reversed(by_difficulty)}
    hardest = list(reversed(once.values()))[:count]
    columns = 3
    rows = -(-len(hardest) // columns)
    figure = Figure(figsize=(9, 1.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, golden in zip(grid.flat, hardest, strict=False):
        is_right = golden.predicted == golden.label
        other = golden.nearest if is_right else golden.predicted
        axes.imshow(np.hstack([_thumbnail(images[index_of[golden.label]]), _thumbnail(images[index_of[other]])]))
        title = f"{_short(golden.label)}\n{_short(other)}\nmargin {golden.margin:.4f}{'' if is_right else ', WRONG'}"
        axes.set_title(title, fontsize=6, color=_NEUTRAL if is_right else _WRONG, parse_math=False)
    return figure


def _thumbnail(image: Pixels, side: int = 128) -> Pixels:
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2RGB if small.ndim == 2 else cv2.COLOR_BGR2RGB), np.uint8)


def _short(label: str, longest: int = 44) -> str:
    # Names of siblings differ at an end, so the middle is left out.
    return label if len(label) <= longest else f"{label[: longest // 2]}…{label[-longest // 2 + 1 :]}"
