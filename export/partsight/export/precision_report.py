"""What the package's report says of FP16 and INT8."""

from collections.abc import Mapping

from partsight.runtime.package import Gate, Manifest, Precision
from partsight.train.page import Section

_USES = {
    "fp32": "the reference, for any machine",
    "fp16": "for an NVIDIA GPU",
    "int8": "for a CPU with VNNI instructions",
}


def precision_section(manifest: Manifest, sizes: Mapping[Precision, int]) -> list[Section]:
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
            (precision.upper(), size if model.gate is None else f"May be used: {size}. {gate_words(model.gate)}")
        )
    rows += [(name.upper(), f"Not in this package: {reason}.") for name, reason in manifest.refused.items()]
    text = (
        "FP16 and INT8 are faster and round more. Each was compared with FP32 on every golden image and on frames made "
        "from them as a line might deliver them, and is in the package only if the line would give enough of them the "
        "same answer."
    )
    return [Section("Which precisions may the line use?", text=text, rows=tuple(rows))]


def gate_words(gate: Gate) -> str:
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
