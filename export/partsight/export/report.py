"""The package's report: what a person wants to see before putting it on a line."""

from collections.abc import Mapping

from partsight.export.fold import FoldSummary
from partsight.export.parity import MAX_SCORE_DIFFERENCE
from partsight.export.precision_report import precision_section
from partsight.runtime.package import Manifest, Parity, Precision
from partsight.train.page import Section, render_page
from partsight.train.report import training_sections
from partsight.train.run_folder import RunFolder


def package_report(
    run: RunFolder, manifest: Manifest, parity: Parity, summary: FoldSummary, sizes: Mapping[Precision, int]
) -> str:
    """Return the report as HTML: the comparison with Keras first, then the precisions, then how it was trained.

    Args:
        run: that was exported.
        manifest: of the package, with its models.
        parity: of FP32 with Keras.
        summary: of the folding.
        sizes: of each model's file, in bytes.
    """
    verdict = (
        f"{len(manifest.labels)} parts. ONNX Runtime gives the same label as Keras for {parity.labels_equal} of "
        f"{parity.images} golden images, from the image file on; scores differ by at most "
        f"{parity.max_score_difference:.1e}."
    )
    rows = (
        ("labels equal", f"{parity.labels_equal} of {parity.images} (all are required)"),
        (
            "largest score difference",
            f"{parity.max_score_difference:.1e} (at most {MAX_SCORE_DIFFERENCE:g} is allowed)",
        ),
        ("golden accuracy in ONNX Runtime", f"{parity.top1_accuracy:.4f}"),
        ("BatchNormalization nodes", str(summary.batch_norm_left)),
        ("folded into convolutions", f"{summary.folded} affine nodes"),
        ("per-channel Mul and Add left", str(summary.affine_left)),
        ("channel order and scale", "in the first convolution" if summary.is_input_folded else "separate nodes"),
    )
    comparison = Section("Does it answer as it was trained to?", rows=rows)
    is_good = run.record.reached
    return render_page(
        "partsight: model package",
        verdict,
        is_good,
        [comparison, *precision_section(manifest, sizes), *training_sections(run.record, run.path / "plots")],
    )
