"""The package's report, which a person reads before the package goes to a line."""

from collections.abc import Mapping

from partsight.export.folding import FoldSummary
from partsight.export.parity import MAX_SCORE_DIFFERENCE
from partsight.runtime.package import Gate, Manifest, Parity, Precision
from partsight.train.page import Section, render_page
from partsight.train.report import training_sections
from partsight.train.run_folder import RunFolder

_USES = {
    "fp32": "the reference, for any machine",
    "fp16": "for an NVIDIA GPU",
    "int8": "for a CPU with VNNI instructions",
}


def package_report(
    run: RunFolder, manifest: Manifest, parity: Parity, summary: FoldSummary, sizes: Mapping[Precision, int]
) -> str:
    """Return the report as HTML: comparison with Keras, precisions, training.

    Args:
        run: Run of the package.
        manifest: Manifest of the package.
        parity: Comparison of FP32 with Keras.
        summary: Result of folding.
        sizes: Size of each model's file, in bytes.
    """
    verdict = (
        f"{len(manifest.labels)} parts. The exported network gives the same label as the trained one for "
        f"{parity.labels_equal} of {parity.images} golden images. Their scores differ by at most "
        f"{parity.max_score_difference:.1e}."
    )
    rows = (
        ("equal labels", f"{parity.labels_equal} of {parity.images} (all must be equal)"),
        (
            "largest score difference",
            f"{parity.max_score_difference:.1e} (allowed: at most {MAX_SCORE_DIFFERENCE:g})",
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
        [comparison, *_precisions(manifest, sizes), *training_sections(run.record, run.path / "plots")],
    )


def _precisions(manifest: Manifest, sizes: Mapping[Precision, int]) -> list[Section]:
    """Return the section on precisions; an empty list if the user asked only for FP32."""
    if len(manifest.models) == 1 and not manifest.refused:
        return []
    rows = []
    for precision, model in manifest.models.items():
        size = f"{sizes[precision] / 1e6:.3g} MB, {_USES[precision]}"
        rows.append(
            (precision.upper(), size if model.gate is None else f"May be used: {size}. {_describe_gate(model.gate)}")
        )
    rows += [(name.upper(), f"Not in this package: {reason}.") for name, reason in manifest.refused.items()]
    text = (
        "FP16 and INT8 are faster than FP32 but less exact. Export compared each with FP32 on all golden images and on "
        "varied copies. A precision is in the package only if it gives the same answer to enough of these frames."
    )
    return [Section("Which precisions may the line use?", text=text, rows=tuple(rows))]


def _describe_gate(gate: Gate) -> str:
    words = (
        f"Same answer as FP32 for {gate.agreement:.2%} of {gate.images} golden images and {gate.varied_agreement:.2%} "
        f"of {gate.varied} varied frames (required: {100 * gate.least_agreement:.4g} % of each). Scores differ by "
        f"{gate.mean_score_drift:.2g} on average and by at most {gate.max_score_drift:.2g}."
    )
    if gate.network_agreement is not None and gate.in_shortlist is not None:
        words += (
            f" For {gate.network_agreement:.2%} of the varied frames the network's best part is the same as with FP32; "
            f"for {gate.in_shortlist:.2%} FP32's best part is among the candidates for the comparison."
        )
    if gate.kept:
        words += f" {len(gate.kept)} nodes stay in FP32, because rounding changes their results most."
    return words
