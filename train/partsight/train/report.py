"""The training report, for a person before export."""

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


@style.context("default")  # a user's matplotlibrc may ask for fonts or a LaTeX that the machine lacks
def write_report(folder: Path, record: RunRecord, images: Sequence[Pixels]) -> None:
    """Write the plots and the report into a run folder.

    Args:
        folder: the run folder, in the making.
        record: of the run.
        images: the golden images, in the order of `record.goldens`.
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
        f"{parts}, one golden image each. Of {samples} frames as the line should deliver them, "
        f"{round(found.expected_right * samples)} were given the right part, {round(found.expected_wrong * samples)} a "
        f"wrong one, and the rest were answered unknown. Golden images: {record.outcome}."
    )


def _expectation(record: RunRecord, plot_folder: Path) -> Section:
    found = record.calibration
    accepted = found.matched_decision.expected_false_accept
    unknown = 1 - found.expected_right - found.expected_wrong
    return Section(
        "What to expect on the line?",
        f"Estimated on {found.matched_decision.samples} frames: golden images, varied as a controlled line varies. "
        "Compare the samples with frames of your line: if yours vary more, expect less.",
        rows=(
            ("right part", f"{found.expected_right:.2%}"),
            ("wrong part", f"{found.expected_wrong:.2%}"),
            ("answered unknown, although taught", f"{max(unknown, 0):.2%}"),
            (
                "unknown part given a label",
                "unknown: there is one part alone" if accepted is None else f"{accepted:.2%}",
            ),
        ),
        pictures=(("Golden images (left) and how the line is thought to vary them", plot_folder / "variation.png"),),
    )


def _tolerances(tolerances: Tolerances, plot_folder: Path) -> Section:
    return Section(
        "Does it fit the line?",
        f"Golden images of {tolerances.parts} parts were changed in one respect at a time. A difference is tolerated "
        f"as long as at least {MIN_KEPT:.0%} of the frames that are right without it stay right. Compare with your "
        "line: `docs/fit.md` says what to do if it differs more.",
        rows=tuple((series.name, series.describe()) for series in tolerances.series),
        pictures=(("Share of frames that are right, unknown and wrong", plot_folder / _TOLERANCE_PLOT),),
    )


def _unknown_parts(calibration: Calibration, plot_folder: Path) -> Section:
    title = "What each threshold costs, and (right) the exchange between both errors"
    decision, spec = calibration.matched_decision, calibration.matching
    accepted = decision.expected_false_accept
    refused = "unknown: there is one part alone"
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
    return Section(
        "When is a part unknown?",
        "A frame is laid over the golden images of the likeliest parts; where it agrees with none, the part is "
        "answered unknown. The threshold was chosen without a picture of an unknown part: golden images were "
        "varied as the line varies, and each part in turn was left out, so that it was unknown among its "
        "siblings. More refused taught parts mean fewer accepted unknown ones.",
        rows=rows,
        pictures=() if accepted is None else ((title, plot_folder / _REJECT_PLOT),),
    )


def _look_alikes(record: RunRecord, plot_folder: Path) -> Section:
    return Section(
        "Which parts look most alike?",
        "If two of them are the same part under two names, keep one. If they differ in something that the picture "
        "does not show, no recogniser can tell them apart: change the view or the light.",
        rows=tuple(("hardly different pixels", f"{first} and {second}") for first, second in record.twins),
        pictures=(("Each part next to its nearest one", plot_folder / "closest_pairs.png"),),
    )


def _golden_images(record: RunRecord, plot_folder: Path) -> Section:
    wrong = sum(golden.predicted != golden.label for golden in record.goldens)
    return Section(
        "Does the network know its golden images?",
        f"{len(record.goldens) - wrong} of {len(record.goldens)} golden images are recognised by the network alone. "
        "This says that learning worked.",
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
            f"The end of the network was trained on {record.copies} varied copies of each golden image. Other copies, "
            f"which it never saw, are recognised in {best.held_out_accuracy:.2%} of cases, against "
            f"{first.held_out_accuracy:.2%} before. The drop guard stops training as soon as fewer golden images are "
            f"recognised than the dashed line allows; it {'stopped it' if record.dropped else 'had no cause to'}.",
            rows=_tuning_rows(record),
            pictures=(("Accuracy by epoch with the drop guard, and training loss", plot_folder / _TUNING_PLOT),),
        ),
        Section(
            "Which layers were trained?",
            f"Blocks up to {record.cut} stayed as they were. All {record.batch_norm_layers} BatchNormalization layers "
            "stayed in inference mode; after every epoch their numbers were compared and not one had changed.",
            rows=tuple((row.block, _describe_block(row)) for row in record.plan),
        ),
    ]


def _tuning_rows(record: TuneRecord) -> tuple[tuple[str, str], ...]:
    lowest = min(epoch.golden_accuracy for epoch in record.history)
    return (
        ("how it ended", record.outcome),
        ("golden accuracy", f"lowest {lowest:.4f}, allowed {record.floor:.4f}"),
        ("time", f"{sum(epoch.seconds for epoch in record.history):.0f} s in {len(record.history) - 1} epochs"),
    )


def _describe_block(row: FreezeRow) -> str:
    return f"{'trains' if row.trains else 'frozen'}, {row.layers} layers, {row.parameters:,} parameters"


def _time_rows(record: RunRecord) -> tuple[tuple[str, str], ...]:
    rows = tuple((name, f"{value:.0f} s") for name, value in record.seconds.items())
    return (*rows, ("together", f"{sum(record.seconds.values()):.0f} s"))


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
