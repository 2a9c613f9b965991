"""The check of a written model: ONNX Runtime, set up as the configuration says, must answer as the package does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from partsight.runtime import Recognizer
from partsight.runtime.calibration import Variation, vary
from partsight.runtime.core import ExportError, Pixels, progress
from partsight.runtime.images import preprocess
from partsight.runtime.inference import INPUT_NAME, import_onnxruntime
from partsight.runtime.matching import via_size
from partsight.runtime.package import ModelPackage, Precision
from partsight.runtime.recognition import ANSWER_TENSORS, MAX_TOP, AnswerCodec
from partsight.runtime.signing import KeyLike

MAX_DIFFERENCE = 1e-3
"""Largest difference of agreement, margin and what a frame needs, as in export's check of the matching graph."""

VARIED = 64
"""Number of golden images that are also checked with another pose and light."""

SINGLE = 4
"""Number of frames that are also checked one by one."""

_EXACT = ("label", "reason", "accepted", "reference", "package_id")
_CLOSE = ("agreement", "margin", "threshold", "least_margin")
_LEVELS = {-1: "ORT_ENABLE_BASIC", 0: "ORT_ENABLE_ALL", 1: "ORT_ENABLE_EXTENDED", 2: "ORT_DISABLE_ALL"}
_CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True)
class Checked:
    """Result of a check that found no difference.

    Attributes:
        frames: Number of frames that were compared.
        difference: Largest difference of agreement.
        provider: Provider of ONNX Runtime on which the model ran.
    """

    frames: int
    difference: float
    provider: str


def check_model(
    model: Path, config: Any, package: ModelPackage, precision: Precision, trusted_keys: Sequence[KeyLike] | None
) -> Checked:
    """Compare the answers of a model with the package's, on golden images and varied ones, in batches and one by one.

    Args:
        model: Path of `model.onnx`.
        config: `ModelConfig` of the model, with the options of ONNX Runtime.
        package: Package that the model was made of.
        precision: Precision of the network.
        trusted_keys: Keys that the package was read with.

    Raises:
        ExportError: The model does not load, or answers otherwise.
        PackageError: A golden image is damaged.
    """
    session, batch = open_model(model, config), config.max_batch_size
    codec, difference, frames = AnswerCodec(package.manifest.labels, package.package_id), 0.0, 0
    chunks = [(start, min(start + batch, _count(package))) for start in range(0, _count(package), batch)]
    chunks += [(index, index + 1) for index in range(min(SINGLE, _count(package)))]
    with Recognizer(
        package.path, precision=precision, batch_size=batch, top=MAX_TOP, cropped=True, trusted_keys=trusted_keys
    ) as recognizer:
        for start, stop in progress(chunks, len(chunks), f"checking {config.name}", f"×{batch}"):
            images = np.stack(list(_frames(package, range(start, stop))))
            expected = codec.encode(recognizer.recognize_batch(_as_frames(images, package)))
            found = answers_of(session, images)
            difference = max(difference, _compare(expected, found, f"{model} and {package.path}", start))
            frames += len(images)
    return Checked(frames, difference, session.get_providers()[0])


def open_model(model: Path, config: Any) -> Any:
    """Return ONNX Runtime's session of a model, with the options that a configuration names.

    If the configuration wants a card and this machine has none, the session runs on the processor.

    Raises:
        ExportError: ONNX Runtime cannot load the model.
        DependencyError: ONNX Runtime is not installed.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0))
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    if parameters.get("execution_mode") == "1":
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    level = _LEVELS.get(config.optimization.graph.level, "ORT_ENABLE_ALL")
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    try:
        return ort.InferenceSession(str(model), options, providers=_providers(ort, config))
    except Exception as error:  # ONNX Runtime has no common class of errors
        raise ExportError(
            f"{model}: ONNX Runtime {ort.__version__} cannot load it ({error}); write the model again"
        ) from error


def answers_of(session: Any, images: Pixels) -> dict[str, np.ndarray]:
    """Return the tensors of `ANSWER_TENSORS` for frames, (batch, height, width, 3) uint8 BGR; texts as bytes."""
    names = [tensor.name for tensor in ANSWER_TENSORS]
    found = dict(zip(names, session.run(names, {INPUT_NAME: images}), strict=True))
    for tensor in ANSWER_TENSORS:
        if tensor.datatype == "BYTES":
            found[tensor.name] = np.array([text.encode() for text in found[tensor.name]], np.object_)
    return found


def _providers(ort: Any, config: Any) -> list[Any]:
    """Return the providers that a configuration names, as far as this ONNX Runtime has them."""
    kinds = {group.Kind.Name(group.kind) for group in config.instance_group}
    if kinds == {"KIND_CPU"} or _CUDA not in ort.get_available_providers():
        return ["CPUExecutionProvider"]
    named = {
        item.name: dict(item.parameters)
        for item in config.optimization.execution_accelerators.gpu_execution_accelerator
    }
    return [(_CUDA, named.get("cuda", {})), "CPUExecutionProvider"]


def _count(package: ModelPackage) -> int:
    """Number of frames: golden images, then varied ones."""
    parts = len(package.manifest.labels)
    return parts + min(VARIED, parts)


def _frames(package: ModelPackage, indices: range) -> Iterator[Pixels]:
    """Yield frames as clients send them, (height, width, 3) uint8 BGR."""
    spec, matching, parts = package.manifest.preprocess, package.manifest.matching, len(package.manifest.labels)
    assert matching is not None  # `write_bundle` refuses a package without
    height, width = via_size(spec, matching.spec)
    sent = msgspec.structs.replace(spec, height=height, width=width, color="bgr", region=None, via=None)
    for index in indices:
        varied = index - parts
        part = index if varied < 0 else varied * parts // min(VARIED, parts)
        image = package.golden_image(part)
        if varied >= 0:
            image = vary(image, Variation(), np.random.default_rng(part))
        if spec.color == "mono":  # the variation has noise of its own in each channel
            image = np.repeat(image[..., :1], 3, axis=2)
        yield preprocess([image], sent)[0]


def _as_frames(images: Pixels, package: ModelPackage) -> list[Pixels]:
    """Return frames as the recogniser takes them: grey ones have one channel."""
    is_mono = package.manifest.preprocess.color == "mono"
    return [np.ascontiguousarray(image[..., 0]) if is_mono else image for image in images]


def _compare(expected: dict[str, np.ndarray], found: dict[str, np.ndarray], what: str, start: int) -> float:
    """Return the largest difference of agreement.

    Raises:
        ExportError: An answer differs.
    """
    for name in (*_EXACT, *_CLOSE):
        first, second = expected[name], found[name]
        is_equal = first == second if name in _EXACT else np.abs(first - second) <= MAX_DIFFERENCE
        if not is_equal.all():
            worst = int(np.flatnonzero(~is_equal)[0])
            raise ExportError(
                f"{what} disagree: for frame {start + worst} the model's {name} is {second[worst]!r}, the package's "
                f"{first[worst]!r}; expected equal answers, and numbers within {MAX_DIFFERENCE:g}. With INT8, use "
                "another `--precision`: this processor may compute it wrongly. Otherwise write the model again"
            )
    return float(np.abs(expected["agreement"] - found["agreement"]).max())
