"""Both stages on a card, for `gpu.py`: partsight's recogniser, and the bundle in plain ONNX Runtime."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.gpu_steps import profiled_nodes
from partsight.export.bundle import BUNDLE_KEY, bundle
from partsight.runtime import ModelPackage, Recognizer, Result
from partsight.runtime.core import Pixels, progress
from partsight.runtime.images import PreprocessSpec, Region, preprocess
from partsight.runtime.inference import INPUT_NAME, find_provider, import_onnxruntime

_BATCH = 16


@dataclass(frozen=True)
class Sameness:
    """Agreement of answers with the processor's answers.

    Attributes:
        frames: Number of frames compared.
        same: Share of frames with the same label, or unknown in both.
        max_difference: Largest difference of agreement.
    """

    frames: int
    same: float
    max_difference: float


class PlainBundle:
    """Bundle in ONNX Runtime with default options, as a program without partsight runs it."""

    def __init__(self, package: ModelPackage, provider: str, folder: Path, *, tf32: bool = True) -> None:
        """Write the bundle into a folder and load it; on a card, ONNX Runtime uses TF32 by default."""
        self._file, self._provider = folder / "bundle.onnx", find_provider(provider)
        self._options = {} if tf32 or not self.has_tf32 else {"use_tf32": "0"}
        if not self._file.exists():
            bundle(package.path, self._file)
        self._ort = import_onnxruntime()
        self._session = self._open()
        facts = json.loads(self._session.get_modelmeta().custom_metadata_map[BUNDLE_KEY])
        known, self._labels = facts["preprocess"], facts["labels"]
        region = Region(**known["region"]) if known["region"] else None
        self._spec = PreprocessSpec(known["height"], known["width"], known["color"], region)

    @property
    def has_tf32(self) -> bool:
        """Whether the provider has the option for TF32."""
        return self._provider.name == "cuda"

    def prepared(self, frames: Sequence[Pixels], batch: int) -> Pixels:
        """Return a batch of a camera's frames, prepared for the bundle."""
        return np.resize(preprocess(frames, self._spec), (batch, self._spec.height, self._spec.width, 3))

    def run(self, frames: Pixels) -> list[np.ndarray]:
        """Answer a prepared batch; return label indices, agreements and acceptances."""
        found: list[np.ndarray] = self._session.run(["label_index", "agreement", "accepted"], {INPUT_NAME: frames})
        return found

    def answers(self, frames: Sequence[Pixels]) -> list[tuple[str | None, float]]:
        """Return label and agreement of each of a camera's frames; the label is None for unknown."""
        chunks = (frames[start : start + _BATCH] for start in range(0, len(frames), _BATCH))
        found = [self.run(preprocess(chunk, self._spec)) for chunk in chunks]
        indices, agreement, accepted = (np.concatenate(values) for values in zip(*found, strict=True))
        return [
            (self._labels[index] if is_known else None, float(value))
            for index, value, is_known in zip(indices, agreement, accepted, strict=True)
        ]

    def nodes_by_provider(self, frame: Pixels, folder: Path) -> dict[str, int]:
        """Return how many nodes ran on each of ONNX Runtime's providers, by its own profile."""
        options = self._ort.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(folder / "bundle")
        session = self._open(options)
        session.run(None, {INPUT_NAME: self.prepared([frame], 1)})
        return profiled_nodes(session.end_profiling())

    def _open(self, options: Any = None) -> Any:
        return self._ort.InferenceSession(self._file, options, providers=[(self._provider.ort_name, self._options)])


def same_answers(
    package: ModelPackage, provider: str, frames: Sequence[Pixels], folder: Path
) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Return the agreement of each variant on a provider with the processor, and where the bundle's nodes ran."""
    expected = _of_recognizer(package, "cpu", frames)
    plain = PlainBundle(package, provider, folder)
    variants: dict[str, Callable[[], list[tuple[str | None, float]]]] = {
        "partsight": lambda: _of_recognizer(package, provider, frames),
        "the bundle": lambda: plain.answers(frames),
    }
    if plain.has_tf32:
        variants["the bundle without TF32"] = lambda: PlainBundle(package, provider, folder, tf32=False).answers(frames)
    shown = progress(variants.items(), len(variants), "both stages", "variant")
    found = {name: asdict(_compare(expected, answer())) for name, answer in shown}
    return found, plain.nodes_by_provider(frames[0], folder)


def _of_recognizer(package: ModelPackage, provider: str, frames: Sequence[Pixels]) -> list[tuple[str | None, float]]:
    with Recognizer(package.path, provider=provider, batch_size=_BATCH) as recognizer:
        results: list[Result] = recognizer.recognize_batch(frames)
    return [(result.label, result.score) for result in results]


def _compare(expected: list[tuple[str | None, float]], found: list[tuple[str | None, float]]) -> Sameness:
    pairs = list(zip(expected, found, strict=True))
    return Sameness(
        len(pairs),
        float(np.mean([one[0] == other[0] for one, other in pairs])),
        float(np.max([abs(one[1] - other[1]) for one, other in pairs])),
    )
