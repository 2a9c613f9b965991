"""Precisions: FP16 and INT8 models from the folded FP32 graph, each only if the gate passes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from partsight.export import fp16, int8
from partsight.export.frames import calibration_frames
from partsight.export.gate import Agreement, PrecisionGate, Verdict
from partsight.export.int8 import Quantizer
from partsight.export.ranges import measure_ranges
from partsight.export.sensitive_layers import MAX_KEPT, PartlyQuantized, keep_sensitive_layers
from partsight.export.trunk import named, trunk_nodes, trunk_tensors
from partsight.runtime.core import Pixels
from partsight.runtime.package import Gate, Manifest, Precision
from partsight.train.interrupts import interrupts_kept

CALIBRATION = "least square error"
"""Name of the method for ranges; see `ranges.Range.least_error`."""

_RANKED_FRAMES = 16


@dataclass(frozen=True)
class Made:
    """Model that passed the gate, and the gate's figures."""

    model: onnx.ModelProto
    gate: Gate


@dataclass(frozen=True)
class Precisions:
    """Result for the precisions that the user wants, without FP32.

    Attributes:
        made: Models that passed the gate.
        refused: Reasons why export does not write the others, for a person.
    """

    made: Mapping[Precision, Made] = field(default_factory=dict)
    refused: Mapping[Precision, str] = field(default_factory=dict)


@interrupts_kept()
def make_precisions(
    model: onnx.ModelProto,
    manifest: Manifest,
    images: Sequence[Pixels],
    wanted: Sequence[Precision],
    gate: PrecisionGate,
) -> Precisions:
    """Make the wanted precisions and pass each through the gate.

    Args:
        model: Folded FP32 model; it does not change.
        manifest: Manifest of the package.
        images: Golden images as read from their files, each (height, width, 3) uint8 BGR.
        wanted: Precisions to make; the function ignores `fp32`.
        gate: Gate with FP32's answers.
    """
    wanted = [precision for precision in wanted if precision != "fp32"]
    if not wanted:
        return Precisions()
    fp32 = named(model)
    calibration = calibration_frames(images, manifest.preprocess)
    trunk = trunk_nodes(fp32, fp16.OP_TYPES | int8.OP_TYPES)
    ranges = measure_ranges(fp32, trunk_tensors(fp32, trunk), calibration)
    has_two_stages = manifest.matching is not None
    made: dict[Precision, Made] = {}
    refused: dict[Precision, str] = {}
    if "fp16" in wanted:
        kept = frozenset(fp16.unfit_nodes(fp32, ranges))
        verdict = gate.judge(fp16.rounded_twin(fp32, kept), "FP16")
        if verdict.is_passed:
            half = fp16.to_fp16(fp32, kept)
            made["fp16"] = Made(half, _facts(verdict, has_two_stages, tuple(sorted(kept))))
        else:
            refused["fp16"] = _reason(verdict)
    if "int8" in wanted:
        quantizer = Quantizer(fp32, ranges)
        best = PartlyQuantized(quantizer.quantize(), ())
        verdict = gate.judge(best.model, "INT8")
        if not verdict.is_passed:
            best = keep_sensitive_layers(quantizer, fp32, gate, np.asarray(calibration[-_RANKED_FRAMES:]))
            verdict = gate.judge(best.model, "INT8, layers in FP32")
        if verdict.is_passed:
            made["int8"] = Made(best.model, _facts(verdict, has_two_stages, best.kept, CALIBRATION, len(calibration)))
        else:
            kept_part = f"with the {MAX_KEPT:.0%} of its layers that lose most kept in FP32"
            refused["int8"] = f"{kept_part}, {_reason(verdict)}"
    return Precisions(made, refused)


def _facts(
    verdict: Verdict,
    has_two_stages: bool,
    kept: tuple[str, ...],
    calibration: str = "",
    calibration_frames: int = 0,
) -> Gate:
    catalog, varied = verdict.catalog, verdict.varied
    drift = (catalog.mean_drift * catalog.frames + varied.mean_drift * varied.frames) / (catalog.frames + varied.frames)
    return Gate(
        images=catalog.frames,
        varied=varied.frames,
        agreement=catalog.agreement,
        varied_agreement=varied.agreement,
        least_agreement=verdict.least,
        mean_score_drift=drift,
        max_score_drift=max(catalog.max_drift, varied.max_drift),
        network_agreement=varied.network_agreement if has_two_stages else None,
        in_shortlist=varied.in_shortlist if has_two_stages else None,
        kept=kept,
        calibration=calibration,
        calibration_frames=calibration_frames,
    )


def _reason(verdict: Verdict) -> str:
    return (
        f"the answer is that of FP32 for {_share(verdict.catalog)} golden images and {_share(verdict.varied)} varied "
        f"frames; expected {100 * verdict.least:.4g} % of each. Scores drift by {verdict.varied.mean_drift:.2g} in the "
        f"mean and {verdict.varied.max_drift:.2g} at most"
    )


def _share(found: Agreement) -> str:
    return f"{round(found.agreement * found.frames)} of {found.frames}"
