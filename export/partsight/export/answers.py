"""Answers: what the line would say of frames, through both stages where the package has two."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from partsight.runtime.calibration import golden_references
from partsight.runtime.images import Pixels
from partsight.runtime.manifest import Manifest
from partsight.runtime.preprocess import PreprocessSpec
from partsight.runtime.session import FloatArray
from partsight.runtime.verification import verify

UNKNOWN = -1
"""In place of a class: no part, or a score that is not a number."""

_WORKERS = 2


def labels_of(score: FloatArray) -> np.ndarray:
    """Return the best class of each row, `UNKNOWN` where a score is not a number."""
    return np.where(np.isfinite(score).all(axis=1), score.argmax(axis=1), UNKNOWN)


class Answerer:
    """Turns the network's scores into what a line with the package's golden images would answer."""

    def __init__(self, manifest: Manifest, images: Sequence[Pixels]) -> None:
        """Take the package's second stage, if it has one.

        Args:
            manifest: of the package.
            images: the golden images, as read from their files, in the order of the labels.
        """
        self._verification = manifest.verification
        if self._verification:
            self._references = golden_references(images, manifest.preprocess, self._verification.spec)

    @property
    def shortlist(self) -> int:
        """How many of the network's best the line looks at."""
        return self._verification.spec.shortlist if self._verification else 1

    def preprocess_spec(self, spec: PreprocessSpec) -> PreprocessSpec | None:
        """Return how frames are prepared for the second stage; None where there is none."""
        return self._verification.spec.preprocess(spec) if self._verification else None

    def answers(self, score: FloatArray, compared: Pixels | None) -> np.ndarray:
        """Return the class that each frame is taken for, `UNKNOWN` for none.

        Args:
            score: (frames, classes) float32, the network's.
            compared: (frames, height, width, 3) uint8 BGR, prepared for the second stage; None where there is none.
        """
        best = labels_of(score)
        if self._verification is None or compared is None:
            return best
        valid = np.flatnonzero(best != UNKNOWN)
        with ThreadPoolExecutor(_WORKERS) as pool:
            best[valid] = list(pool.map(self._compare, compared[valid], score[valid]))
        return best

    def _compare(self, frame: Pixels, score: FloatArray) -> int:
        assert self._verification is not None
        spec, threshold = self._verification.spec, self._verification.decision.threshold
        verified = verify(frame, score, self._references, spec, threshold)
        return verified.classes[0] if verified.is_accepted(threshold, spec) else UNKNOWN
