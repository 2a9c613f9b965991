"""The training report, which a person reads before export."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import style

from partsight.runtime.calibration import MIN_KEPT, Tolerances, Variation
from partsight.runtime.core import Pixels
from partsight.train import plots
from partsight.train.page import Section, render_page
from partsight.train.records import Calibration, FreezeRow, TuneRecord
from partsight.train.run_folder import RunRecord

REPORT_NAME = "report.html"

_REJECT_PLOT, _TUNING_PLOT, _TOLERANCE_PLOT = "reject_curves.png", "tuning_curves.png", "tolerances.png"


@style.context("default")  # a user's matplotlibrc may name fonts or a LaTeX that the machine lacks
def write_report(folder: Path, record: RunRecord, images: Sequence[Pixels]) -> None:
    """Write the plots and the report into a run folder.

    Args:
        folder: Run folder.
        record: Record of the run.
        images: Golden images, each (height, width, 3) uint8 BGR, in the order of `record.goldens`.
    """
    figures = {
        _REJECT_PLOT: plots.reject_curves(record.calibration),
        "variation.png": plots.variation_samples(images, Variation(), record.config.seed),
        "curves.png": plots.curves(record.history, record.config.target_accuracy),
        "misclassification.png": plots.misclassification(record.goldens),
        "closest_pairs.png": plots.closest_pairs(record.goldens, images),
    }
    if record.tuning:
        figures[_TUNING_PLOT] = plots.tuning_curves(record.tuning)
    if record.tolerances:
        figures[_TOLERANCE_PLOT] = plots.tolerance_curves(record.tolerances)
    plot_folder = folder / "plots"
    plot_folder.mkdir()
    for name, figure in figures.items():
        figure.savefig(plot_folder / name, dpi=110)
    page = render_page("partsight: training", _verdict(record), record.reached, training_sections(record, plot_folder))
    (folder / REPORT_NAME).write_text(page, encoding="utf-8")


def training_sections(record: RunRecord, plot_folder: Path) -> list[Section]:
    """Return the sections about a training; the package's report shows them too."""
    return [
        _expectation(record, plot_folder),
        *([_tolerances(record.tolerances, plot_folder)] if record.tolerances else []),
        _unknown_parts(record.calibration, plot_folder),
        *([_look_alikes(record, plot_folder)] if len(record.labels) > 1 else []),
        _golden_images(record, plot_folder),
        *(_fine_tuning(record.tuning, plot_folder) if record.tuning else []),
        Section("How long did it take?", rows=_time_rows(record)),
        Section("How was it made?", rows=_provenance_rows(record)),
    ]


def _verdict(record: RunRecord) -> str:
    found = record.calibration
    samples = found.matched_decision.samples
    parts = f"{len(record.labels)} part{'s' if len(record.labels) > 1 else ''}"
    return (
        f"{parts}, one golden image each. partsight named the right part for {round(found.expected_right * samples)} "
        f"of {samples} varied golden images and a wrong part for {round(found.expected_wrong * samples)}; it answered "
        f"unknown for the rest. Training: {record.outcome}."
    )


def _expectation(record: RunRecord, plot_folder: Path) -> Section:
    found = record.calibration
    accepted = found.matched_decision.expected_false_accept
    unknown = 1 - found.expected_right - found.expected_wrong
    return Section(
        "What to expect on the line?",
        f"An estimate from {found.matched_decision.samples} varied golden images. They vary as frames of a line with "
        "fixed camera and light do. Compare the pictures below with frames of your line. If your frames vary more, "
        "expect fewer right answers.",
        rows=(
            ("right part", f"{found.expected_right:.2%}"),
            ("wrong part", f"{found.expected_wrong:.2%}"),
            ("taught part answered unknown", f"{max(unknown, 0):.2%}"),
            (
                "unknown part answered with a label",
                "no estimate with a single part" if accepted is None else f"{accepted:.2%}",
            ),
        ),
        pictures=(("Golden images (left) and their varied copies", plot_folder / "variation.png"),),
    )


def _tolerances(tolerances: Tolerances, plot_folder: Path) -> Section:
    return Section(
        "Does it fit the line?",
        f"partsight changed golden images of {tolerances.parts} parts in one respect at a time. A difference is "
        f"tolerated if at least {MIN_KEPT:.0%} of the right answers stay right. If your line differs more, follow "
        "`docs/fit.md`.",
        rows=tuple((series.name, series.describe()) for series in tolerances.series),
        pictures=(("Share of frames that are right, unknown and wrong", plot_folder / _TOLERANCE_PLOT),),
    )


def _unknown_parts(calibration: Calibration, plot_folder: Path) -> Section:
    title = "Errors by threshold (left), and one error against the other (right)"
    decision, spec = calibration.matched_decision, calibration.matching
    accepted = decision.expected_false_accept
    refused = "no estimate with a single part"
    if accepted is not None:
        refused = f"{1 - accepted:.1%} of frames expected, for a part that resembles taught parts"
    rows = (
        ("reject threshold", f"agreement of {decision.threshold:.3f}"),
        ("taught parts refused", f"{decision.expected_false_reject:.1%} of frames expected"),
        ("unknown parts refused", refused),
        ("smallest lead", f"{spec.least_margin:g} of agreement over the next part; with less the answer is unknown"),
        ("network alone", f"threshold {calibration.decision.threshold:.3f} on the {calibration.decision.score}"),
        ("method", decision.method),
    )
    return Section(
        "When is a part unknown?",
        "partsight compares each frame with the golden images of the likeliest parts. If the agreement with each is "
        "below the threshold, the answer is unknown. Training chose the threshold from varied golden images. To "
        "estimate unknown parts, it left each part out in turn. A higher threshold refuses more unknown parts, and "
        "more taught parts too.",
        rows=rows,
        pictures=() if accepted is None else ((title, plot_folder / _REJECT_PLOT),),
    )


def _look_alikes(record: RunRecord, plot_folder: Path) -> Section:
    return Section(
        "Which parts look most alike?",
        "If two of them are the same part under two names, keep one. If the pictures do not show the difference, "
        "partsight cannot tell the parts apart: change the view or the light.",
        rows=tuple(("nearly equal images", f"{first} and {second}") for first, second in record.twins),
        pictures=(("Each part next to its nearest one", plot_folder / "closest_pairs.png"),),
    )


def _golden_images(record: RunRecord, plot_folder: Path) -> Section:
    wrong = sum(golden.predicted != golden.label for golden in record.goldens)
    return Section(
        "Does the network know its golden images?",
        f"The network alone recognises {len(record.goldens) - wrong} of {len(record.goldens)} golden images. "
        "All or nearly all should be right. This checks the training; it does not predict the answers on the line.",
        pictures=(
            ("Golden accuracy and training loss", plot_folder / "curves.png"),
            ("Margin of each golden image to the next part", plot_folder / "misclassification.png"),
        ),
    )


def _fine_tuning(record: TuneRecord, plot_folder: Path) -> list[Section]:
    first, best = record.history[0], record.history[record.best_epoch]
    return [
        Section(
            "Did fine-tuning help, and forget nothing?",
            f"Fine-tuning trained the end of the network on {record.copies} varied copies of each golden image. Of "
            f"other copies, which it never saw, the network recognises {best.held_out_accuracy:.2%}; before, it was "
            f"{first.held_out_accuracy:.2%}. The drop guard stops training if golden accuracy falls below the dashed "
            f"line; {'it stopped this training' if record.dropped else 'it did not stop this training'}.",
            rows=_tuning_rows(record),
            pictures=(("Accuracy by epoch with the drop guard, and training loss", plot_folder / _TUNING_PLOT),),
        ),
        Section(
            "Which layers were trained?",
            f"Blocks up to {record.cut} did not change. All {record.batch_norm_layers} BatchNormalization layers "
            "stayed in inference mode: partsight compared their numbers after every epoch, and none had changed.",
            rows=tuple((row.block, _describe_block(row)) for row in record.plan),
        ),
    ]


def _tuning_rows(record: TuneRecord) -> tuple[tuple[str, str], ...]:
    lowest = min(epoch.golden_accuracy for epoch in record.history)
    return (
        ("outcome", record.outcome),
        ("golden accuracy", f"lowest {lowest:.4f}, allowed {record.floor:.4f}"),
        ("time", f"{sum(epoch.seconds for epoch in record.history):.0f} s in {len(record.history) - 1} epochs"),
    )


def _describe_block(row: FreezeRow) -> str:
    return f"{'trains' if row.trains else 'frozen'}, {row.layers} layers, {row.parameters:,} parameters"


def _time_rows(record: RunRecord) -> tuple[tuple[str, str], ...]:
    rows = tuple((name, f"{value:.0f} s") for name, value in record.seconds.items())
    return (*rows, ("total", f"{sum(record.seconds.values()):.0f} s"))


def _provenance_rows(record: RunRecord) -> tuple[tuple[str, str], ...]:
    spec, config = record.preprocess, record.config
    return (
        ("trained", record.created),
        ("catalogue", f"{record.catalog} (SHA-256 {record.catalog_sha256[:12]}…)"),
        ("backbone", f"{config.backbone}, weights {record.backbone_weights}, input {spec.height}×{spec.width} px"),
        ("head", config.head),
        ("seed", str(config.seed)),
        ("weights SHA-256", record.weights_sha256),
        ("versions", ", ".join(f"{name} {value}" for name, value in record.versions.items())),
    )
