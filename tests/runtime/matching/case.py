"""Real frames, scores and a bank of sixty parts, for tests of the matching graph."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from partsight.runtime.core.arrays import Pixels
from partsight.runtime.images.image_file import read_image
from partsight.runtime.images.preprocessing import PreprocessSpec, preprocess
from partsight.runtime.matching import Bank, Matcher, MatchingSpec, prepare_all
from partsight.runtime.matching.graph_operations import GraphOperations
from partsight.runtime.matching.matcher import Matches
from partsight.runtime.matching.trace import arrays_of, bank_name

PARTS, FRAMES = 60, 16
SPEC = MatchingSpec(height=192, width=192)


@dataclass(frozen=True)
class Case:
    """Frames of a line, what a network could say of them, and references.

    Attributes:
        references: (parts, 192, 192, 3) uint8 BGR.
        frames: (frames, 192, 192, 3) uint8 BGR.
        score: (frames, parts) float32: noise, and the right part among the best.
        classes: the right parts.
        bank: of the references.
    """

    references: Pixels
    frames: Pixels
    score: np.ndarray
    classes: np.ndarray
    bank: Bank

    def part(self, count: int) -> "Case":
        """Return the same with the first `count` parts alone."""
        return Case(self.references[:count], self.frames, self.score[:, :count], self.classes, self.first(count))

    def first(self, count: int) -> Bank:
        return Bank.of(self.bank.records[:count])


@functools.cache
def load_case(folder: Path) -> Case:
    parts = sorted(path.name for path in (folder / "line").iterdir())[:PARTS]
    files = [sorted((folder / "line" / part).iterdir())[0] for part in parts[:: PARTS // FRAMES][:FRAMES]]
    prepared = PreprocessSpec(height=192, width=192)
    references = preprocess([read_image(folder / "golden" / part / "golden.jpg") for part in parts], prepared)
    classes = np.arange(PARTS)[:: PARTS // FRAMES][:FRAMES]
    score = np.random.default_rng(3).random((FRAMES, PARTS), np.float32)
    score[np.arange(FRAMES), classes] += 0.5
    frames = preprocess([read_image(file) for file in files], prepared)
    return Case(references, frames, score, classes, bank_of(references))


def bank_of(references: Pixels, classes: Sequence[int] | None = None) -> Bank:
    return Bank.of(prepare_all(references, classes or range(len(references))))


def feeds(case: Case, count: int = FRAMES) -> dict[str, np.ndarray]:
    """Return what the matching graph takes."""
    arrays = {bank_name(name): np.ascontiguousarray(values) for name, values in arrays_of(case.bank).items()}
    return {"frames": case.frames[:count], "score": case.score[:count], **arrays}


def session(model: onnx.ModelProto, batch: int | None = None) -> onnxruntime.InferenceSession:
    """Return a session on two threads; with a batch, on one of that size alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    if batch is not None:
        options.add_free_dimension_override_by_name("batch", batch)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def by_arrays(case: Case, count: int = FRAMES, spec: MatchingSpec = SPEC) -> Matches:
    return Matcher(case.bank, spec).match(case.frames[:count], case.score[:count])


def stretch_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make graphs wrong that are traced from now on: they sample frames 5 % too wide, which no pose explains."""
    sample = GraphOperations.sample
    monkeypatch.setattr(
        GraphOperations,
        "sample",
        staticmethod(lambda images, places: sample(images, replace(places, x_of_column=places.x_of_column * 1.05))),
    )
