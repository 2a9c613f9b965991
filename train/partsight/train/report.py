"""The training report: what a person looks at before exporting."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import style

from partsight.runtime.calibration import Variation
from partsight.runtime.core import Pixels
from partsight.train import plots, reject_report, tune_report
from partsight.train.page import Section, render_page
from partsight.train.run_folder import RunRecord

REPORT_NAME = "report.html"


@style.context("default")  # a user's matplotlibrc may ask for fonts or a LaTeX that the machine lacks
def write_report(folder: Path, record: RunRecord, images: Sequence[Pixels]) -> None:
    """Write the plots and the report into a run folder.

    Args:
        folder: the run folder, in the making.
        record: of the run.
        images: the golden images, in the order of `record.goldens`.
    """
    figures = {
        reject_report.CURVES_NAME: reject_report.reject_curves(record.calibration),
        "variation.png": plots.variation_samples(images, Variation(), record.config.seed),
        "curves.png": plots.curves(record.history, record.config.target_accuracy),
        "misclassification.png": plots.misclassification(record.goldens),
        "closest_pairs.png": plots.closest_pairs(record.goldens, images),
    }
    if record.tuning:
        figures[tune_report.CURVES_NAME] = plots.tuning_curves(record.tuning)
    plot_folder = folder / "plots"
    plot_folder.mkdir()
    for name, figure in figures.items():
        figure.savefig(plot_folder / name, dpi=110)
    page = render_page("partsight: training", _verdict(record), record.reached, training_sections(record, plot_folder))
    (folder / REPORT_NAME).write_text(page, encoding="utf-8")


def training_sections(record: RunRecord, plot_folder: Path) -> list[Section]:
    """Return the sections that tell of a training; the package's report shows them too."""
    return [
        _expectation(record, plot_folder),
        *reject_report.reject_sections(record.calibration, plot_folder),
        *([_look_alikes(record, plot_folder)] if len(record.labels) > 1 else []),
        _golden_images(record, plot_folder),
        *(tune_report.tuning_sections(record.tuning, plot_folder) if record.tuning else []),
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
        "What is to be expected on the line?",
        f"Estimated on {found.matched_decision.samples} frames: golden images, varied as a controlled line varies. "
        "Compare the samples with frames of your line: if yours vary more, expect less.",
        rows=(
            ("right part", f"{found.expected_right:.2%}"),
            ("wrong part", f"{found.expected_wrong:.2%}"),
            ("answered unknown, although taught", f"{max(unknown, 0):.2%}"),
            ("unknown part given a label", "cannot be told of one part" if accepted is None else f"{accepted:.2%}"),
        ),
        pictures=(("Golden images (left) and how the line is thought to vary them", plot_folder / "variation.png"),),
    )


def _look_alikes(record: RunRecord, plot_folder: Path) -> Section:
    return Section(
        "Which parts look most alike?",
        "If two of them are the same part under two names, keep one. If they differ in something that the picture "
        "does not show, no recogniser can tell them apart: change the view or the light.",
        rows=tuple(("hardly different pixels", f"{first} and {second}") for first, second in record.twins),
        pictures=(("Each part beside the one it is nearest to", plot_folder / "closest_pairs.png"),),
    )


def _golden_images(record: RunRecord, plot_folder: Path) -> Section:
    wrong = sum(golden.predicted != golden.label for golden in record.goldens)
    return Section(
        "Does the network know its golden images?",
        f"{len(record.goldens) - wrong} of {len(record.goldens)} golden images are recognised by the network alone. "
        "This says that learning worked.",
        pictures=(
            ("Golden accuracy and training loss", plot_folder / "curves.png"),
            ("How clearly each golden image is told from the next part", plot_folder / "misclassification.png"),
        ),
    )


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
