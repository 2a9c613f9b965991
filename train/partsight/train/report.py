"""The training report, which a person reads before export."""

from pathlib import Path

from partsight.runtime.calibration import MIN_KEPT, Tolerances, wilson
from partsight.runtime.core import ReportPage, Section
from partsight.train.advice import advise, counted
from partsight.train.part_sections import failed_frames, look_alikes, several_references, weak_parts
from partsight.train.pictures import (
    CURVES,
    REJECT,
    TOLERANCE,
    TUNING,
    VARIATION,
    ReportImages,
    RunPictures,
    write_pictures,
)
from partsight.train.records import Calibration, FreezeRow, TuneRecord
from partsight.train.run_folder import RunRecord

REPORT_NAME = "report.html"

_MAX_NAMED = 15


def write_report(folder: Path, record: RunRecord, images: ReportImages, run: Path) -> None:
    """Write the report and its pictures into a run folder.

    Args:
        folder: Run folder, with its gallery.
        record: Record of the run.
        images: Images of the report.
        run: Path that the folder will have; the report's commands name it.
    """
    write_pictures(folder, record, images)
    advice = advise(record, run)
    page = ReportPage(f"Training {run.name}", advice.verdict, advice.tasks, training_sections(record, folder))
    (folder / REPORT_NAME).write_text(page.to_html(), encoding="utf-8")


def training_sections(record: RunRecord, folder: Path) -> tuple[Section, ...]:
    """Return the sections about a training; the package's report shows them too.

    Args:
        record: Record of the run.
        folder: Run folder, with plots and gallery.
    """
    pictures = RunPictures(folder)
    return (
        *weak_parts(record),
        *failed_frames(record, pictures),
        *look_alikes(record, pictures),
        _expectation(record, pictures),
        *([_tolerances(record.tolerances, pictures)] if record.tolerances else []),
        _unknown_parts(record.calibration, pictures),
        *several_references(reference.label for reference in record.further),
        _golden_images(record, pictures),
        *(_fine_tuning(record.tuning, pictures) if record.tuning else []),
        Section("How long did it take?", rows=_time_rows(record)),
        Section("How was it made?", rows=_provenance_rows(record)),
    )


def _expectation(record: RunRecord, pictures: RunPictures) -> Section:
    found = record.calibration
    total = found.matched_decision.samples
    right, wrong = (round(share * total) for share in (found.expected_right, found.expected_wrong))
    return Section(
        "What to expect on the line?",
        f"An estimate from {total:,} simulated frames: varied golden images, as a line with fixed camera and light "
        "varies its frames. In brackets: the 95 % interval. Compare the pictures below with frames of your line. If "
        "your frames vary more, expect fewer right answers.",
        rows=(
            ("right part", wilson(right, total).describe()),
            ("wrong part", wilson(wrong, total).describe()),
            ("taught part, no label", wilson(total - right - wrong, total).describe()),
            ("unknown part, a label", _accepted_text(found)),
        ),
        pictures=pictures.of(VARIATION, "Golden images (left), and varied copies."),
    )


def _accepted_text(found: Calibration) -> str:
    decision = found.matched_decision
    if decision.expected_false_accept is None:
        return "no estimate with a single part"
    accepted = round(decision.expected_false_accept * decision.samples)
    return f"{wilson(accepted, decision.samples).describe()}, if it resembles taught parts"


def _tolerances(tolerances: Tolerances, pictures: RunPictures) -> Section:
    least = wilson(tolerances.parts, tolerances.parts).low
    return Section(
        "Does it fit the line?",
        f"partsight changed golden images of {counted(tolerances.parts, 'part')} in one respect at a time. A "
        f"difference is tolerated if at least {100 * MIN_KEPT:g} % of the right answers stay right. If your line "
        "differs more, see the page on fit in the documentation (docs/fit.md).",
        rows=tuple((series.name, series.describe()) for series in tolerances.series),
        pictures=pictures.of(
            TOLERANCE,
            "Share of frames that are right, unknown and wrong, by amount. Shift and scale: in % of the image. Light: "
            "in steps of exposure (EV). Blur: standard deviation in pixels of an image that is 256 px wide.",
        ),
        note=f"With so few parts, 100 % stands for at least {100 * least:.0f} % of all parts (95 % interval).",
    )


def _unknown_parts(calibration: Calibration, pictures: RunPictures) -> Section:
    decision, spec = calibration.matched_decision, calibration.matching
    rows = (
        ("reject threshold", f"agreement of {decision.threshold:.3f} (0 to 1)"),
        ("smallest margin", f"{spec.least_margin:.0%} of the agreement; with less the answer is unknown"),
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
        pictures=pictures.of(REJECT, "Errors by threshold (left), and one error against the other (right)."),
        note="" if decision.expected_false_accept is not None else "With a single part there are no curves of errors.",
    )


def _golden_images(record: RunRecord, pictures: RunPictures) -> Section:
    mistaken = [golden for golden in record.goldens if golden.predicted != golden.label]
    count = len(record.goldens)
    return Section(
        "Does the network know its golden images?",
        f"The network alone recognises {count - len(mistaken):,} of {counted(count, 'golden image')}. All or nearly "
        "all should be right. This checks the training; it does not predict the answers on the line.",
        rows=tuple((golden.label, f"the network answers {golden.predicted}") for golden in mistaken[:_MAX_NAMED]),
        pictures=pictures.of(CURVES, "Golden images that the network recognises, and loss, by epoch."),
        note=""
        if len(record.history) > 1
        else "Training needed no epoch, so there is no curve: the head starts from the golden images.",
    )


def _fine_tuning(record: TuneRecord, pictures: RunPictures) -> list[Section]:
    first, best = record.history[0], record.history[record.best_epoch]
    return [
        Section(
            "Did fine-tuning help, and forget nothing?",
            f"Fine-tuning trained the end of the network on {record.copies} varied copies of each golden image. Of "
            f"other copies, which it never saw, the network recognises {best.held_out_accuracy:.2%}; before, it was "
            f"{first.held_out_accuracy:.2%}. The drop guard stops training if golden accuracy falls below the dashed "
            f"line; {'it stopped this training' if record.dropped else 'it did not stop this training'}.",
            rows=_tuning_rows(record),
            pictures=pictures.of(TUNING, "Accuracy by epoch with the drop guard, and training loss."),
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
        ("golden images recognised", f"lowest {lowest:.2%}, allowed {record.floor:.2%}"),
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
