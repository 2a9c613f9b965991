"""What the training report says of unknown parts: the threshold, and what another one would cost."""

from pathlib import Path

from matplotlib.figure import Figure

from partsight.train.page import Section
from partsight.train.reject_record import Calibration

CURVES_NAME = "reject_curves.png"
_CURVES_TITLE = "What each threshold costs, and (right) the exchange between both errors"

_TAUGHT, _UNKNOWN, _NEUTRAL = "#1f7a4d", "#c0392b", "#34495e"


def reject_curves(calibration: Calibration) -> Figure:
    """Draw what each threshold would cost, and what can be had at best, with and without the comparison."""
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    cost, trade = figure.subplots(1, 2)
    curve, decision = calibration.matched_curve, calibration.matched_decision
    percent = [100 * value for value in curve.false_reject]
    cost.plot(curve.threshold, percent, color=_TAUGHT, label="taught parts refused")
    cost.plot(curve.threshold, [100 * value for value in curve.false_accept], color=_UNKNOWN, label="unknown accepted")
    cost.axvline(decision.threshold, color=_NEUTRAL, linestyle="--", linewidth=1, label="chosen threshold")
    cost.set(xlabel="threshold on the agreement", ylabel="% of frames", ylim=(0, 100))
    cost.legend(fontsize=8)
    pairs = ((calibration.curve, "network alone", _NEUTRAL), (curve, "with the golden image laid over", _TAUGHT))
    for values, label, color in pairs:
        refused = [100 * (1 - value) for value in values.false_accept]
        trade.plot([100 * value for value in values.false_reject], refused, color=color, label=label)
    trade.set(xlabel="taught parts refused, %", ylabel="unknown parts refused, %", xlim=(-0.3, 10), ylim=(0, 101))
    trade.legend(fontsize=8, loc="lower right")
    return figure


def reject_sections(calibration: Calibration, plot_folder: Path) -> list[Section]:
    """Return the sections that tell of unknown parts.

    Args:
        calibration: of the run.
        plot_folder: where `reject_curves` was saved as `CURVES_NAME`.
    """
    decision, spec = calibration.matched_decision, calibration.matching
    accepted = decision.expected_false_accept
    refused = "cannot be told of one part"
    if accepted is not None:
        refused = f"{1 - accepted:.1%} of frames expected, where siblings of the part are taught"
    rows = (
        ("reject threshold", f"agreement of {decision.threshold:.3f}"),
        ("taught parts refused", f"{decision.expected_false_reject:.1%} of frames expected"),
        ("unknown parts refused", refused),
        ("equally alike", f"a lead of less than {spec.least_margin:g} over the next part is answered unknown too"),
        ("network alone", f"threshold {calibration.decision.threshold:.3f} on the {calibration.decision.score}"),
        ("found by", decision.method),
    )
    return [
        Section(
            "When is a part unknown?",
            "A frame is laid over the golden images of the likeliest parts; where it agrees with none, the part is "
            "answered unknown. The threshold was chosen without a picture of an unknown part: golden images were "
            "varied as the line varies, and each part in turn was left out, so that it was unknown among its "
            "siblings. More refused taught parts mean fewer accepted unknown ones.",
            rows=rows,
            pictures=() if accepted is None else ((_CURVES_TITLE, plot_folder / CURVES_NAME),),
        )
    ]
