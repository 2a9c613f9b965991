"""The bundle: network, bank, matching and decision in one ONNX file, for programs without partsight."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx

from partsight.export.bundle_outputs import Scored, Texts, add_outputs
from partsight.runtime.core import ExportError, FloatArray, OutputError, new_file
from partsight.runtime.images import PreprocessSpec, second_step
from partsight.runtime.inference import INPUT_NAME, SCORE_NAME
from partsight.runtime.matching import Bank, MatchingSpec, Rule, via_size
from partsight.runtime.matching.graph_nodes import BATCH, FRAMES_TRACED, SAME_OPSETS, Node, Trace
from partsight.runtime.matching.trace import arrays_of, bank_name, trace_matching
from partsight.runtime.package import ModelPackage, Precision
from partsight.runtime.recognition import REASONS, load_bank

MAX_BYTES = 2**31 - 2**24
"""Largest size of network and bank in bytes. ONNX files are protocol buffers of at most 2 GiB, and the rest of the file
takes less than 16 MiB."""

_PREFIX = "network."

BUNDLE_KEY = "partsight.bundle"
"""Key of a bundle's facts in the file's metadata."""

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Bundle:
    """Facts of a written bundle.

    Attributes:
        path: Path of the file.
        height, width: Size of the frames that it takes, in pixels.
        parts: Number of parts.
        threshold: Agreement below which the answer is unknown.
    """

    path: Path
    height: int
    width: int
    parts: int
    threshold: float


def bundle(package: str | Path, out: str | Path, *, precision: Precision = "fp32", batch: int | None = None) -> Bundle:
    """Write a package's network, bank, matching and thresholds as one ONNX file.

    Args:
        package: Folder that `export` or `enroll` wrote.
        out: File to write; it must not exist.
        precision: Precision of the network; matching is FP32.
        batch: Number of frames in a run; None for any number.

    Raises:
        PackageError: The package is damaged, lacks this precision, or compares no frames with golden images.
        ExportError: The file would be too large for ONNX, the package has a search file, or it is of an earlier
            version that prepares frames differently.
        OutputError: `out` exists or cannot be written.
    """
    out = Path(out)
    if out.exists():
        raise OutputError(f"{out}: exists already, and partsight overwrites no file; name another, or remove it first")
    if batch is not None and batch < 1:
        raise ValueError(f"batch is {batch}; expected at least 1, or None for any number")
    return write_bundle(ModelPackage.read(package), out, precision, batch=batch)


def write_bundle(
    read: ModelPackage, out: Path, precision: Precision, *, batch: int | None = None, has_texts: bool = False
) -> Bundle:
    """Write the bundle of a package that has been read; see `bundle`.

    Args:
        read: Package.
        out: File to write.
        precision: Precision of the network.
        batch: Number of frames in a run; None for any number.
        has_texts: Whether the bundle has the outputs `label` and `package_id`; then only ONNX Runtime runs it.

    Raises:
        PackageError, ExportError, OutputError: As for `bundle`.
    """
    manifest, matching = read.manifest, read.manifest.matching
    bank = load_bank(read)
    if matching is None or manifest.search is not None:
        raise ExportError(f"{read.path}: has a search file, which no graph can read; export again with --search never")
    spec, decision = manifest.preprocess, matching.decision
    height, width = via_size(spec, matching.spec)
    _check_via_size(read.path, spec, matching.spec)
    network = onnx.load_from_string(read.model_bytes(precision))
    model = join(
        network,
        bank,
        matching.spec,
        network_hw=(spec.height, spec.width),
        batch=batch,
        rule=decision.rule,
        texts=Texts(manifest.labels, read.package_id) if has_texts else None,
    )
    facts = {
        "schema_version": SCHEMA_VERSION,
        "package_id": read.package_id,
        "precision": precision,
        "preprocess": {
            "height": height,
            "width": width,
            "color": spec.color,
            "region": msgspec.to_builtins(spec.region),
            "resize": spec.resize,
            "golden_hw": spec.golden_hw,
        },
        "threshold": decision.threshold,
        "by_margin": decision.by_margin,
        "by_network": decision.by_network,
        "least_margin": matching.spec.least_margin,
        "model_sha256": manifest.models[precision].sha256,
        "bank_sha256": manifest.files.get(matching.bank or "", ""),
        "labels": list(manifest.labels),
        "reasons": list(REASONS),
    }
    onnx.helper.set_model_props(model, {BUNDLE_KEY: json.dumps(facts, ensure_ascii=False)})
    with new_file(out) as file:
        file.write(model.SerializeToString(deterministic=True))
    return Bundle(out, height, width, len(manifest.labels), decision.threshold)


def join(
    network: onnx.ModelProto,
    bank: Bank,
    spec: MatchingSpec,
    *,
    network_hw: tuple[int, int],
    batch: int | None,
    rule: Rule,
    texts: Texts | None = None,
) -> onnx.ModelProto:
    """Return one model that answers prepared frames as a package does; `docs/bundle.md` lists inputs and outputs.

    The input's height is the larger of the network's and the references' heights; the same holds for its width. The
    model shrinks the input to both sizes as `preprocess` does; see `PreprocessSpec.via`.

    Args:
        network: Network of the package, FP32, FP16 or INT8.
        bank: Bank of references.
        spec: Settings of the comparison, with the least margin.
        network_hw: Height and width of the network's input, in pixels.
        batch: Number of frames in a run; None for any number.
        rule: Least agreement that is accepted.
        texts: Texts of the outputs `label` and `package_id`; None to leave these out.

    Raises:
        ExportError: The network has no scores or another opset, or the file would be too large for ONNX.
    """
    _check_network(network, bank.classes)
    _check_size(network, bank)
    trace = Trace(batch)
    del trace.model.opset_import[:]
    trace.model.opset_import.extend(network.opset_import)
    trace.model.ir_version = max(trace.model.ir_version, network.ir_version)
    via = max(network_hw[0], spec.height), max(network_hw[1], spec.width)
    image = trace.input(INPUT_NAME, np.uint8, (FRAMES_TRACED, *via, 3), {0: BATCH})
    score = _append(network, resized(image, network_hw), bank.classes)
    arrays = {name: trace.store(bank_name(name), values) for name, values in arrays_of(bank).items()}
    matches = trace_matching(resized(image, spec.size_hw), score, Bank(records=None, **arrays), spec)
    add_outputs(trace, matches, Scored(score, arrays["references_of"]), rule, spec, texts)
    return trace.model


def resized(image: Node, size_hw: tuple[int, int]) -> Node:
    """Append the second step of preprocessing: shrink frames, (frames, height, width, 3) uint8, as OpenCV does."""
    via = image.shape[1], image.shape[2]
    if via == size_hw:
        return image
    planes = image.cast(np.float32).transpose(0, 3, 1, 2)
    is_linear = second_step(via, size_hw) == cv2.INTER_LINEAR
    planes = _bilinear(planes, size_hw) if is_linear else _area(planes, size_hw)
    return planes.transpose(0, 2, 3, 1).cast(np.uint8)


def _bilinear(planes: Node, size_hw: tuple[int, int]) -> Node:
    """Return OpenCV's INTER_LINEAR of uint8 values, (frames, channels, height, width) float32.

    OpenCV computes in integers: it rounds weights to multiples of 1/2048, and intermediate sums down.
    """
    height, width = planes.shape[2:]
    before, after, weight = _neighbours(width, size_hw[1])
    weight = np.where(before == after, np.float32(0), weight)
    mixed = _take(planes, before, 3) * (2048 - weight) + _take(planes, after, 3) * weight
    planes = _rounded("Floor", mixed * (1 / 16))
    before, after, weight = _neighbours(height, size_hw[0])
    upper, lower = ((2048 - weight)[:, None] / 65536, weight[:, None] / 65536)
    mixed = _rounded("Floor", _take(planes, before, 2) * upper) + _rounded("Floor", _take(planes, after, 2) * lower)
    return _rounded("Floor", (mixed + 2.0) * 0.25)


def _neighbours(size: int, count: int) -> tuple[Any, Any, FloatArray]:
    """Return, for each of `count` samples of `size` pixels, the pixels before and after and the latter's weight.

    All are (count,); the weight is a whole number from 0 to 2048.
    """
    centres = ((np.arange(count) + 0.5) * (size / count) - 0.5).astype(np.float32)
    before = np.floor(centres)
    index = before.astype(np.int64)
    return index, np.minimum(index + 1, size - 1), np.rint(2048 * (centres - before)).astype(np.float32)


def _area(planes: Node, size_hw: tuple[int, int]) -> Node:
    """Return OpenCV's INTER_AREA as two matrix products; OpenCV's results for single pixels give the matrices."""
    height, width = planes.shape[2:]
    rows, columns = (
        np.asarray(cv2.resize(np.eye(size, dtype=np.float32), (size, count), interpolation=cv2.INTER_AREA))
        for size, count in ((height, size_hw[0]), (width, size_hw[1]))
    )
    means = rows @ planes @ np.ascontiguousarray(columns.T)
    # OpenCV rounds a half up for means of 2 × 2 pixels, and to even for all others.
    return (
        _rounded("Floor", means + 0.5)
        if (height, width) == (2 * size_hw[0], 2 * size_hw[1])
        else _rounded("Round", means)
    )


def _take(planes: Node, index: Any, axis: int) -> Node:
    shape = list(planes.shape)
    shape[axis] = len(index)
    return planes.trace.add("Gather", [planes, index], shape, axis=axis)


def _rounded(op_type: str, values: Node) -> Node:
    return values.trace.add(op_type, [values], values.shape)


def _append(network: onnx.ModelProto, image: Node, classes: int) -> Node:
    """Append a network that reads `image`; return its scores."""
    trace = image.trace
    renamed = onnx.compose.add_prefix(network, _PREFIX)
    for node in renamed.graph.node:
        for index, name in enumerate(node.input):
            if name == _PREFIX + INPUT_NAME:
                node.input[index] = image.name
    trace.graph.node.extend(renamed.graph.node)
    trace.graph.initializer.extend(renamed.graph.initializer)
    trace.model.functions.extend(renamed.functions)
    return trace.node(_PREFIX + SCORE_NAME, np.float32, (FRAMES_TRACED, classes))


def _check_via_size(path: Path, spec: PreprocessSpec, matching: MatchingSpec) -> None:
    first = via_size(spec, matching)
    sizes = {(spec.height, spec.width), matching.size_hw}
    if spec.via != first and sizes != {first}:
        raise ExportError(
            f"{path}: is of an earlier version: it shrinks frames to {spec.width}×{spec.height} and "
            f"{matching.width}×{matching.height} px separately, but a bundle makes both from {first[1]}×{first[0]} px: "
            "train and export again"
        )


def _check_network(network: onnx.ModelProto, classes: int) -> None:
    shapes = {item.name: [dim.dim_value for dim in item.type.tensor_type.shape.dim] for item in network.graph.output}
    if SCORE_NAME not in shapes or shapes[SCORE_NAME][-1:] != [classes]:
        raise ExportError(
            f"the network has the outputs {shapes}; expected {SCORE_NAME} (batch, {classes}), a score for each part of "
            "the bank: export the package again with --search never"
        )
    opset = next((item.version for item in network.opset_import if item.domain in ("", "ai.onnx")), 0)
    if opset not in SAME_OPSETS:
        raise ExportError(
            f"the network has opset {opset}; expected {SAME_OPSETS[0]} to {SAME_OPSETS[-1]}: export the package again"
        )


def _check_size(network: onnx.ModelProto, bank: Bank) -> None:
    of_bank, of_network = sum(values.nbytes for values in arrays_of(bank).values()), network.ByteSize()
    if of_bank + of_network > MAX_BYTES:
        fitting = max(0, int((MAX_BYTES - of_network) / (of_bank / bank.classes)))
        raise ExportError(
            f"the bundle would hold {bank.classes} parts of {of_bank / bank.classes / 1e3:.0f} kB and a network of "
            f"{of_network / 1e6:.0f} MB; an ONNX file holds {MAX_BYTES / 1e9:.1f} GB, which is {fitting} such parts: "
            "make a package of at most that many parts, or use the package itself"
        )
