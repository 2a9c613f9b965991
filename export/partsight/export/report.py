"""The package's report, for a person before the package goes to a line."""

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
        [comparison, *_precisions(manifest, sizes), *training_sections(run.record, run.path / "plots")],
    )


def _precisions(manifest: Manifest, sizes: Mapping[Precision, int]) -> list[Section]:
    """Return the section on precisions, or none where only FP32 was asked for.

    Args:
        manifest: of the package, with its models.
        sizes: of each model's file, in bytes.
    """
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
        "FP16 and INT8 are faster and round more. Each was compared with FP32 on every golden image and on frames made "
        "from them as a line might deliver them, and is in the package only if the line would give enough of them the "
        "same answer."
    )
    return [Section("Which precisions may the line use?", text=text, rows=tuple(rows))]


def _describe_gate(gate: Gate) -> str:
    """Return the gate's figures in words."""
    words = (
        f"Same answer as FP32 for {gate.agreement:.2%} of {gate.images} golden images and {gate.varied_agreement:.2%} "
        f"of {gate.varied} varied frames ({100 * gate.least_agreement:.4g} % of each is required); scores drift by "
        f"{gate.mean_score_drift:.2g} in the mean and {gate.max_score_drift:.2g} at most."
    )
    if gate.network_agreement is not None and gate.in_shortlist is not None:
        words += (
            f" The network alone has the best part of FP32 first for {gate.network_agreement:.2%} of varied frames, "
            f"and among the candidates that the second stage looks at for {gate.in_shortlist:.2%}."
        )
    if gate.kept:
        words += f" {len(gate.kept)} nodes stayed FP32, because they lose most."
    return words
