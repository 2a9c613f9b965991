"""The package's report, which a person reads before the package goes to a line."""

from collections.abc import Mapping
from pathlib import Path

from partsight.export.folding import FoldSummary
from partsight.export.parity import MAX_SCORE_DIFFERENCE
from partsight.runtime.core import Level, ReportPage, Section, Task, Verdict
from partsight.runtime.package import Gate, Manifest, Parity, Precision
from partsight.train.advice import Finding, counted, findings_of, fitted, shown, tasks_of, worst
from partsight.train.report import training_sections
from partsight.train.run_folder import RunFolder

_USES = {
    "fp32": "the reference, for any machine",
    "fp16": "for an NVIDIA GPU",
    "int8": "for a CPU with VNNI instructions",
}
_WORDS: dict[Level, str] = {"good": "Go", "care": "Go, with care", "bad": "No-go"}
_SENTENCES: dict[Level, str] = {
    "good": "This package may go on a line: it recognises {parts}.",
    "care": "This package may go on a line if somebody first looks at the points below. It recognises {parts}.",
    "bad": "This package must not go on a line yet. It knows {parts}, but not well enough.",
}


def package_report(
    run: RunFolder, manifest: Manifest, parity: Parity, summary: FoldSummary, sizes: Mapping[Precision, int], out: Path
) -> str:
    """Return the report as HTML: go or no-go, what to do, then the figures of export and training.

    Args:
        run: Run of the package.
        manifest: Manifest of the package.
        parity: Comparison of FP32 with Keras.
        summary: Result of folding.
        sizes: Size of each model's file, in bytes.
        out: Path that the package will have; the report's commands name it.
    """
    findings = (*findings_of(run.record, run.path, str(out)), *findings_of_export(manifest, parity))
    page = ReportPage(
        f"Package {out.name}",
        judge(manifest, findings),
        tasks(findings, out),
        (
            _comparison(parity, summary),
            *_precisions(manifest, sizes),
            *training_sections(run.record, run.path),
        ),
    )
    return page.to_html()


def judge(manifest: Manifest, findings: tuple[Finding, ...]) -> Verdict:
    """Return go or no-go, with the reasons of all findings."""
    level = worst(findings)
    sentence = _SENTENCES[level].format(parts=counted(len(manifest.labels), "part"))
    return Verdict(level, _WORDS[level], sentence, tuple(item.reason for item in findings))


def tasks(findings: tuple[Finding, ...], out: Path) -> tuple[Task, ...]:
    """Return the to-do list: remedies of the findings, then the way to the line unless the verdict is no-go."""
    if worst(findings) == "bad":
        return (*tasks_of(findings), Task("Train again, and export again."))
    package = shown(out)
    line = (
        Task(
            "Let the package answer frames of the line and keep some, before anything acts on the answers.",
            f'partsight run {package} --camera CAMERA --sink "images:kept?every=10"',
        ),
        Task("Say what the kept frames show.", f"partsight review kept --package {package}"),
        Task(
            "Fit the package to the line, with about 200 of these frames. All rates in this report come from simulated "
            "frames; the new package has a report from real ones.",
            f"partsight commission {package} kept --out {shown(fitted(str(out)))}",
        ),
    )
    return (*tasks_of(findings), *line)


def findings_of_export(manifest: Manifest, parity: Parity) -> tuple[Finding, ...]:
    """Return the findings of export; a package is whole without a precision that failed its gate."""
    reason = (
        f"The package answers as the training did: same label for {parity.labels_equal:,} of "
        f"{counted(parity.images, 'golden image')}."
    )
    refused = (
        f"{name.upper()} is not in the package, because it gave other answers. Use FP32." for name in manifest.refused
    )
    return tuple(Finding("good", text) for text in (reason, *refused))


def _comparison(parity: Parity, summary: FoldSummary) -> Section:
    rows = (
        ("equal labels", f"{parity.labels_equal:,} of {parity.images:,} (all must be equal)"),
        (
            "largest score difference",
            f"{parity.max_score_difference:.1e} (allowed: at most {MAX_SCORE_DIFFERENCE:g}; scores go from −1 to 1)",
        ),
        ("golden images recognised", f"{parity.top1_accuracy:.2%} in ONNX Runtime"),
        ("BatchNormalization nodes", str(summary.batch_norm_left)),
        ("folded into convolutions", f"{summary.folded} affine nodes"),
        ("per-channel Mul and Add left", f"{summary.affine_left} nodes"),
        ("channel order and scale", "in the first convolution" if summary.is_input_folded else "separate nodes"),
    )
    return Section("Does it answer as it was trained to?", rows=rows)


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
