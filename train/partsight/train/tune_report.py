"""What the training report says of fine-tuning."""

from pathlib import Path

from partsight.train.page import Section
from partsight.train.tune_record import FreezeRow, TuneRecord

CURVES_NAME = "tuning_curves.png"


def tuning_sections(record: TuneRecord, plot_folder: Path) -> list[Section]:
    """Return the sections that tell of a fine-tuning.

    Args:
        record: of the fine-tuning.
        plot_folder: where `plots.tuning_curves` was saved as `CURVES_NAME`.
    """
    first, best = record.history[0], record.history[record.best_epoch]
    return [
        Section(
            "Did fine-tuning help, and forget nothing?",
            f"The end of the network was trained on {record.copies} varied copies of each golden image. Other copies, "
            f"which it never saw, are recognised in {best.held_out_accuracy:.2%} of cases, against "
            f"{first.held_out_accuracy:.2%} before. The drop guard stops training as soon as fewer golden images are "
            f"recognised than the dashed line allows; it {'stopped it' if record.dropped else 'had no cause to'}.",
            rows=_outcome_rows(record),
            pictures=(("Accuracy by epoch with the drop guard, and training loss", plot_folder / CURVES_NAME),),
        ),
        Section(
            "What was trained",
            f"Blocks up to {record.cut} stayed as they were. All {record.batch_norm_layers} BatchNormalization layers "
            "stayed in inference mode; after every epoch their numbers were compared and not one had changed.",
            rows=tuple((row.block, _describe(row)) for row in record.plan),
        ),
    ]


def _outcome_rows(record: TuneRecord) -> tuple[tuple[str, str], ...]:
    lowest = min(epoch.golden_accuracy for epoch in record.history)
    return (
        ("how it ended", record.outcome),
        ("golden accuracy", f"lowest {lowest:.4f}, allowed {record.floor:.4f}"),
        ("time", f"{sum(epoch.seconds for epoch in record.history):.0f} s in {len(record.history) - 1} epochs"),
    )


def _describe(row: FreezeRow) -> str:
    return f"{'trains' if row.trains else 'frozen'}, {row.layers} layers, {row.parameters:,} parameters"
