"""The training report: what a person looks at before exporting."""

from collections.abc import Sequence
from pathlib import Path

from partsight.runtime.images import Pixels
from partsight.train import plots
from partsight.train.page import Section, render_page
from partsight.train.run_folder import RunRecord

REPORT_NAME = "report.html"


def write_report(folder: Path, record: RunRecord, images: Sequence[Pixels]) -> None:
    """Write the plots and the report into a run folder.

    Args:
        folder: the run folder, in the making.
        record: of the run.
        images: the golden images, in the order of `record.goldens`.
    """
    figures = {
        "curves.png": plots.curves(record.history, record.config.target_accuracy),
        "misclassification.png": plots.misclassification(record.goldens),
        "closest_pairs.png": plots.closest_pairs(record.goldens, images),
    }
    plot_folder = folder / "plots"
    plot_folder.mkdir()
    for name, figure in figures.items():
        figure.savefig(plot_folder / name, dpi=110)
    verdict = f"{len(record.labels)} parts, one golden image each: {record.outcome}."
    page = render_page("partsight: training", verdict, record.reached, training_sections(record, plot_folder))
    (folder / REPORT_NAME).write_text(page, encoding="utf-8")


def training_sections(record: RunRecord, plot_folder: Path) -> list[Section]:
    """Return the sections that tell of a training; the package's report shows them too."""
    wrong = sum(golden.predicted != golden.label for golden in record.goldens)
    return [
        Section(
            "Does it know its golden images?",
            f"{len(record.goldens) - wrong} of {len(record.goldens)} golden images are recognised. This says that "
            "learning worked; how well frames of the line are recognised, only frames of the line can say.",
            pictures=(
                ("Golden accuracy and training loss", plot_folder / "curves.png"),
                ("How clearly each golden image is told from the next part", plot_folder / "misclassification.png"),
            ),
        ),
        Section(
            "Parts that look most alike",
            "If two of them are the same part under two names, keep one. If they differ in something that the picture "
            "does not show, no recogniser can tell them apart: change the view or the light.",
            rows=tuple(("hardly different pixels", f"{first} and {second}") for first, second in record.twins),
            pictures=(("Each part beside the one it is nearest to", plot_folder / "closest_pairs.png"),),
        ),
        Section("When a part counts as unknown", rows=_decision_rows(record)),
        Section("How it was made", rows=_provenance_rows(record)),
    ]


def _decision_rows(record: RunRecord) -> tuple[tuple[str, str], ...]:
    decision = record.calibration.verified_decision
    accepted = decision.expected_false_accept or 0.0
    return (
        ("reject threshold", f"{decision.threshold:.3f} on the {decision.score} with the golden image"),
        ("expected to refuse", f"{decision.expected_false_reject:.1%} of frames of taught parts"),
        ("expected to refuse", f"{1 - accepted:.1%} of frames of parts that look like taught ones but are not"),
        ("found by", decision.method),
    )


def _provenance_rows(record: RunRecord) -> tuple[tuple[str, str], ...]:
    spec, config = record.preprocess, record.config
    total = sum(record.seconds.values())
    return (
        ("trained", record.created),
        ("catalogue", f"{record.catalog} (SHA-256 {record.catalog_sha256[:12]}…)"),
        ("backbone", f"{config.backbone}, weights {record.backbone_weights}, input {spec.height}×{spec.width} px"),
        ("head", config.head),
        ("seed", str(config.seed)),
        ("weights SHA-256", record.weights_sha256),
        ("time", f"{total:.0f} s: " + ", ".join(f"{name} {value:.0f} s" for name, value in record.seconds.items())),
        ("versions", ", ".join(f"{name} {value}" for name, value in record.versions.items())),
    )
