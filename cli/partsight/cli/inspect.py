"""`partsight inspect`: show the content of a model package, and check its files."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from partsight.cli.exit_codes import ExitCode
from partsight.cli.streams import require_stdout

if TYPE_CHECKING:
    from partsight.runtime.images import PreprocessSpec
    from partsight.runtime.package import Decision, Gate, Matching, ModelFile, ModelPackage, Provenance

_FIRST_LABELS = 5

_DESCRIPTION = """\
Show the parts, the input, the decision and the models of a package, and how it was made.

inspect first checks every file against the manifest: a changed or damaged file is an error (exit code 1). It shows who
signed the package, and checks the signature with the trusted keys of this machine, if there are any. `partsight verify`
checks it with other keys.
"""

_EXAMPLE = """\
examples:
  partsight inspect line3.partsight
  partsight inspect line3.partsight --labels > parts.txt
  partsight inspect line3.partsight --json > manifest.json
"""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight inspect` to the command."""
    parser = subparsers.add_parser(
        "inspect",
        help="show the content of a model package, and check its files",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="package that `partsight export` wrote")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the manifest as JSON")
    form.add_argument(
        "--labels", action="store_true", help="print the labels of the parts, one a line, in the network's order"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check the package and print its content."""
    require_stdout()
    from partsight.runtime.package import ModelPackage

    package = ModelPackage.examine(args.package)
    package.check_hashes()
    if args.json:
        print(package.manifest.to_json().decode())
    elif args.labels:
        print("\n".join(package.manifest.labels))
    else:
        _print_package(package)
    return ExitCode.DONE


def _print_package(package: "ModelPackage") -> None:
    manifest = package.manifest
    _print_field("package", str(package.path))
    _print_field("id", package.package_id)
    _print_field("signature", _signature(package))
    _print_field("created", manifest.provenance.created)
    _print_field("parts", _parts(manifest.labels))
    _print_field("input", _input(manifest.preprocess))
    _print_field("region", _region(manifest.preprocess))
    matching = manifest.matching
    if matching:
        _print_field("matching", _matching(package, matching))
        if matching.further:
            _print_field("references", _several(matching.further))
        _print_decision("decision: comparison with golden images", matching.decision)
    _print_decision("decision: network alone" if matching else "decision", manifest.decision)
    for precision, model in manifest.models.items():
        _print_model(precision, model, (package.path / model.file).stat().st_size)
    for precision, reason in manifest.refused.items():
        print(f"\nmodel {precision}")
        _print_field("  not written", reason)
    _print_provenance(manifest.provenance)
    print()
    _print_field("verified", f"{len(package.hashes())} files, each with the SHA-256 in the manifest")


def _signature(package: "ModelPackage") -> str:
    from partsight.runtime.core import PartsightError
    from partsight.runtime.package import ModelPackage
    from partsight.runtime.signing import machine_demand, read_signatures

    ids = ", ".join(signature.key_id for signature in read_signatures(package.path))
    found = f"by key {ids}" if ids else "none"
    try:
        demand = machine_demand()
        if demand is None:
            return f"{found}; not checked. Run `partsight verify` to check it" if ids else found
        signed_by = ModelPackage.read(package.path).signed_by
    except PartsightError as error:
        return f"{found}; REFUSED on this machine: {error}"
    return f"{found}; this machine trusts {', '.join(signed_by)}"


def _print_field(name: str, value: str) -> None:
    print(f"{name:<18}{value}")


def _parts(labels: tuple[str, ...]) -> str:
    more = ", ..." if len(labels) > _FIRST_LABELS else ""
    return f"{len(labels)}: {', '.join(labels[:_FIRST_LABELS])}{more}"


def _input(spec: "PreprocessSpec") -> str:
    colour = "colour (BGR)" if spec.color == "bgr" else "grey"
    via = f" via {spec.via[1]}×{spec.via[0]} px" if spec.via else ""
    return f"{spec.width}×{spec.height} px (width×height), {colour}, resize {spec.resize}{via}"


def _region(spec: "PreprocessSpec") -> str:
    region = spec.region
    if region is None:
        return "the whole frame"
    size = f", which has {spec.golden_hw[1]}×{spec.golden_hw[0]} px" if spec.golden_hw else ""
    return f"{region.width}×{region.height} px from ({region.x}, {region.y}) of the frame{size}"


def _matching(package: "ModelPackage", matching: "Matching") -> str:
    from partsight.runtime.recognition import load_bank

    spec, parts = matching.spec, len(matching.references)
    bank, references = "no bank", parts
    if matching.bank is not None:
        references = len(load_bank(package).records)
        bank = f"bank of {(package.path / matching.bank).stat().st_size / 1e6:.3g} MB"
    return (
        f"{references} references of {parts} parts, {spec.width}×{spec.height} px, {bank}; candidates: "
        f"{spec.by_thumbnail} by thumbnail, {spec.by_network} by the network; {spec.finalists} finalists; a lead "
        f"over the second best below {spec.least_margin:.0%} of the best is unknown, too"
    )


def _several(further: Mapping[str, Sequence[str]]) -> str:
    named = [f"{label} {1 + len(files)}" for label, files in further.items()]
    shown = [*named[:_FIRST_LABELS], *(["..."] if len(named) > _FIRST_LABELS else [])]
    return f"{len(named)} part{'s have' if len(named) > 1 else ' has'} several: {', '.join(shown)}"


def _print_decision(title: str, decision: "Decision") -> None:
    from partsight.runtime.recognition import SCORE_RANGES

    print(f"\n{title}")
    least, most = SCORE_RANGES[decision.score]
    _print_field("  score", f"{decision.score}, {least:g} to {most:g}")
    _print_field("  threshold", f"{decision.threshold:.4g}; a lower score is unknown")
    _print_field("  others", _other_thresholds(decision))
    _print_field("  method", f"{decision.method}, on {decision.samples} samples")
    _print_field("  false reject", f"{decision.expected_false_reject:.2%} of known parts' frames expected")
    if decision.expected_false_accept is not None:
        _print_field(
            "  false accept", f"{decision.expected_false_accept:.2%} of unknown similar parts' frames expected"
        )


def _other_thresholds(decision: "Decision") -> str:
    if not decision.taught_scores:
        return "not known: an earlier partsight made the package; train and export it again to see them"
    scores = {share: decision.taught_scores[share // 5] for share in (5, 10, 25, 50, 90)}
    rates = [f"{share} % at {score:.3g}" for share, score in scores.items()]
    return f"share of known parts' frames that they refuse: {', '.join(rates)}"


def _print_model(precision: str, model: "ModelFile", size_bytes: int) -> None:
    print(f"\nmodel {precision}")
    _print_field("  file", f"{model.file}, {size_bytes / 1e6:.3g} MB, opset {model.opset}")
    parity = model.parity
    if parity:
        _print_field("  parity", f"{parity.labels_equal} of {parity.images} images get the same label as in Keras")
        _print_field("  difference", f"{parity.max_score_difference:.2g} between scores at most")
        _print_field("  accuracy", f"{parity.top1_accuracy:.2%} of the golden images")
    if model.gate:
        _print_gate(model.gate)
    _print_field("  affine left", f"{model.affine_left} nodes that do not fit into a convolution")


def _print_gate(gate: "Gate") -> None:
    when = ", before parts were enrolled" if gate.is_before_enrolment else ""
    _print_field("  answer of fp32", f"{gate.agreement:.2%} of {gate.images} golden images{when}")
    _print_field("", f"{gate.varied_agreement:.2%} of {gate.varied} varied frames{when}")
    if gate.network_agreement is not None:
        _print_field("  network alone", f"{gate.network_agreement:.2%} of varied frames{when}")
    if gate.in_shortlist is not None:
        _print_field(
            "  candidates", f"of the network include the best part of fp32 in {gate.in_shortlist:.2%} of varied frames"
        )
    _print_field("  drift", f"{gate.mean_score_drift:.2g} in scores on average, {gate.max_score_drift:.2g} at most")
    if gate.calibration:
        _print_field("  calibration", f"{gate.calibration}, on {gate.calibration_frames} frames")
    _print_field("  kept in fp32", ", ".join(gate.kept) if gate.kept else "no node that could be lower")


def _print_provenance(provenance: "Provenance") -> None:
    print("\nprovenance")
    _print_field("  backbone", f"{provenance.backbone}, weights {provenance.backbone_weights}")
    _print_field("  head", provenance.head)
    _print_field("  golden images", f"{provenance.golden_accuracy:.2%} recognised after training")
    _print_field("  catalogue", f"SHA-256 {provenance.catalog_sha256}")
    _print_field("  weights", f"SHA-256 {provenance.weights_sha256}")
    _print_field("  made with", ", ".join(f"{name} {version}" for name, version in provenance.versions.items()))
    for change in provenance.enrolments:
        counts = f"{len(change.added)} added, {len(change.replaced)} replaced, {len(change.removed)} removed"
        _print_field("  enrolment", f"{counts}, {change.created}, from package {change.from_package}")
    for fit in provenance.commissionings:
        counts = (
            f"{fit.frames} frames, {fit.unknown_frames} of unknown parts, {sum(fit.further.values())} references added"
        )
        _print_field("  commissioning", f"{counts}, {fit.created}, from package {fit.from_package}")
