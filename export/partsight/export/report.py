"""The package's report: what a person wants to see before putting it on a line."""

from partsight.export.fold import FoldSummary
from partsight.export.parity import MAX_SCORE_DIFFERENCE
from partsight.runtime.manifest import Manifest
from partsight.train.page import Section, render_page
from partsight.train.report import training_sections
from partsight.train.run_folder import RunFolder


def package_report(run: RunFolder, manifest: Manifest, summary: FoldSummary) -> str:
    """Return the report as HTML: the comparison with Keras first, then how it was trained."""
    parity = manifest.models["fp32"].parity
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
        "partsight: model package", verdict, is_good, [comparison, *training_sections(run.record, run.path / "plots")]
    )
