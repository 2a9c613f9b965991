"""Figures of the training report; Matplotlib needs no screen for them."""

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from partsight.runtime.calibration import Tolerances, ToleranceSeries, Variation, vary
from partsight.runtime.core import Pixels
from partsight.train.fit import Epoch
from partsight.train.records import Calibration, TuneEpoch, TuneRecord

# A layout of Matplotlib's own would take twice as long as the drawing.
_MARGINS = {"left": 0.07, "right": 0.99, "top": 0.94, "bottom": 0.1, "wspace": 0.08, "hspace": 0.45}
_RIGHT, _WRONG, _NEUTRAL = "#1f7a4d", "#c0392b", "#34495e"


def curves(history: Sequence[Epoch], target: float) -> Figure:
    """Draw golden accuracy and loss by epoch."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    accuracy, loss = figure.subplots(1, 2)
    epochs = [epoch.epoch for epoch in history]
    accuracy.plot(epochs, [100 * epoch.golden_accuracy for epoch in history], marker="o", color=_RIGHT)
    accuracy.axhline(100 * target, color=_NEUTRAL, linestyle="--", linewidth=1, label=f"target {100 * target:g} %")
    accuracy.set(xlabel="epoch (0: before training)", ylabel="golden images recognised, %", ylim=(-2, 102))
    accuracy.legend(loc="lower right")
    _draw_loss(loss, history)
    _number_epochs(accuracy, loss)
    return figure


def tuning_curves(record: TuneRecord) -> Figure:
    """Draw accuracy by epoch of fine-tuning with the drop guard's floor, and the loss."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    accuracy, loss = figure.subplots(1, 2)
    epochs = [epoch.epoch for epoch in record.history]
    golden = [100 * epoch.golden_accuracy for epoch in record.history]
    held_out = [100 * epoch.held_out_accuracy for epoch in record.history]
    floor = 100 * record.floor
    accuracy.plot(epochs, golden, marker="o", color=_RIGHT, label="golden images")
    accuracy.plot(epochs, held_out, marker="o", color=_NEUTRAL, label="held-out varied copies")
    accuracy.axhline(floor, color=_WRONG, linestyle="--", linewidth=1, label=f"drop guard {floor:.2f} %")
    accuracy.axvline(record.best_epoch, color=_NEUTRAL, linestyle=":", linewidth=1, label="kept")
    lowest = min(*golden, *held_out, floor)
    accuracy.set(
        xlabel="epoch (0: before fine-tuning)", ylabel="recognised, %", ylim=(lowest - 0.05 * (102 - lowest), 100.5)
    )
    accuracy.legend(loc="lower right", fontsize=8)
    _draw_loss(loss, record.history)
    _number_epochs(accuracy, loss)
    return figure


def _draw_loss(axes: Axes, history: Sequence[Epoch] | Sequence[TuneEpoch]) -> None:
    losses = [(epoch.epoch, epoch.loss) for epoch in history if epoch.loss is not None]
    axes.plot(*zip(*losses, strict=True), marker="o", color=_NEUTRAL)
    axes.set(xlabel="epoch", ylabel="training loss (cross-entropy, nats)")


def _number_epochs(*panels: Axes) -> None:
    for axes in panels:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def reject_curves(calibration: Calibration) -> Figure:
    """Draw both errors by threshold, and one error against the other, with and without the comparison."""
    figure = Figure(figsize=(9, 3.6))
    cost, trade = figure.subplots(1, 2, gridspec_kw=_MARGINS | {"top": 0.97, "bottom": 0.14, "wspace": 0.18})
    curve, decision = calibration.matched_curve, calibration.matched_decision
    percent = [100 * value for value in curve.false_reject]
    cost.plot(curve.threshold, percent, color=_RIGHT, label="taught parts refused")
    cost.plot(curve.threshold, [100 * value for value in curve.false_accept], color=_WRONG, label="unknown accepted")
    cost.axvline(decision.threshold, color=_NEUTRAL, linestyle="--", linewidth=1, label="chosen threshold")
    cost.set(xlabel="threshold on the agreement (0 to 1)", ylabel="frames, %", ylim=(0, 100))
    cost.legend(fontsize=8)
    pairs = ((calibration.curve, "network alone", _NEUTRAL), (curve, "with comparison", _RIGHT))
    for values, label, color in pairs:
        refused = [100 * (1 - value) for value in values.false_accept]
        trade.plot([100 * value for value in values.false_reject], refused, color=color, label=label)
    trade.set(
        xlabel="frames of taught parts refused, %",
        ylabel="frames of unknown parts refused, %",
        xlim=(-0.3, 10),
        ylim=(0, 101),
    )
    trade.legend(fontsize=8, loc="lower right")
    return figure


def tolerance_curves(tolerances: Tolerances) -> Figure:
    """Draw the answers by amount, one panel for each kind of difference, with the tolerated range shaded."""
    figure = Figure(figsize=(9, 4.6))
    panels = figure.subplots(2, 3, sharey=True, gridspec_kw=_MARGINS)
    for axes in panels.flat[len(tolerances.series) :]:
        axes.axis("off")
    for axes, series in zip(panels.flat, tolerances.series, strict=False):
        _draw_series(axes, series)
    for axes in panels[:, 0]:
        axes.set_ylabel("frames, %")
    panels[0, 0].legend(fontsize=7, loc="lower left")
    return figure


def _draw_series(axes: Axes, series: ToleranceSeries) -> None:
    positions = range(len(series.points))  # equal distances, because small amounts are close together
    amounts = [point.amount for point in series.points]
    axes.set_title(f"tolerated: {series.describe()}", fontsize=9)
    shares = {name: [100 * getattr(point, name) for point in series.points] for name in ("right", "unknown", "wrong")}
    colours = (_RIGHT, "#d5dde4", _WRONG)
    axes.set_ylim(0, 100)
    if not series.unit:
        bottom = np.zeros(len(amounts))
        for values, colour in zip(shares.values(), colours, strict=True):
            axes.bar(["as taught", "swapped"], values, 0.5, bottom=bottom, color=colour)
            bottom += values
        axes.set_xlabel(series.name)
        return
    axes.stackplot(positions, list(shares.values()), colors=colours, labels=list(shares))
    for limit in {amounts.index(amount) for amount in series.tolerated} - {0, len(amounts) - 1}:
        axes.axvline(limit, color=_NEUTRAL, linestyle="--", linewidth=1)
    axes.set_xticks(positions, [f"{amount:g}" for amount in amounts], fontsize=6)
    axes.set(xlabel=f"{series.name}, {series.unit}", xlim=(0, len(amounts) - 1))


def variation_samples(images: Sequence[Pixels], variation: Variation, seed: int) -> Pixels:
    """Return a few golden images, each left of varied copies, as one picture, (height, width, 3) uint8 BGR."""
    rng = np.random.default_rng(seed)
    indices = np.sort(rng.choice(len(images), min(4, len(images)), replace=False))
    rows = []
    for index in indices:
        golden = images[index]
        row = [_tile(image) for image in (golden, *(vary(golden, variation, rng) for _ in range(6)))]
        rows.append(np.hstack([np.pad(tile, _GAP, constant_values=255) for tile in row]))
    return np.vstack(rows)


_GAP = ((2, 2), (2, 2), (0, 0))  # white pixels around each picture


def _tile(image: Pixels) -> Pixels:
    small = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2BGR) if small.ndim == 2 else small, np.uint8)
