"""Tolerances: differences between frames and golden images that the line may have, measured for the report."""

from collections.abc import Sequence

import msgspec
import numpy as np

from partsight.runtime.calibration import Tolerances, measure_fit
from partsight.runtime.core import Pixels
from partsight.runtime.images import preprocess
from partsight.runtime.matching import Matcher
from partsight.runtime.package import Gallery, decode_golden_image
from partsight.runtime.recognition import Answer, decide_matched
from partsight.train.calibration import CalibrationInput
from partsight.train.records import Calibration

SAMPLE = 16
"""Largest number of parts in the sample; a larger sample would make quick trainings much longer."""


class TrainedRecognizer:
    """Recogniser of a training: it answers as the package will, by network, bank and thresholds."""

    def __init__(self, trained: CalibrationInput, calibration: Calibration, labels: Sequence[str]) -> None:
        """Take network and bank, thresholds, and the parts in the order of the classes."""
        # The gallery's images show only the region, so their size differs from a frame's.
        self._spec = msgspec.structs.replace(trained.spec, region=None, golden_hw=None)
        self._score, self._labels, self._calibration = trained.score, labels, calibration
        self._matcher = Matcher(trained.bank, calibration.matching)

    def recognize_batch(self, frames: Sequence[Pixels]) -> list[Answer]:
        """Answer at most 32 frames of the size of the gallery's images."""
        matching = self._calibration.matching
        score = self._score(preprocess(frames, self._spec))
        matches = self._matcher.match(preprocess(frames, matching.preprocess(self._spec)), score)
        rule = self._calibration.matched_decision.rule
        return decide_matched(matches, self._matcher.bank, matching, self._labels, rule, top=1)


def measure_tolerances(
    trained: CalibrationInput, calibration: Calibration, gallery: Gallery, labels: Sequence[str], seed: int
) -> Tolerances:
    """Measure how far frames may differ from the golden images, on at most `SAMPLE` parts.

    Args:
        trained: Network and bank.
        calibration: Thresholds and candidates.
        gallery: Golden images of all parts.
        labels: Parts in the order of the classes.
        seed: Seed of the sample and of the variation.
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(labels))[:SAMPLE]).tolist()
    files = gallery.golden_files
    images = [decode_golden_image(files[index], labels[index]) for index in chosen]
    if trained.spec.color == "mono":
        images = [np.ascontiguousarray(image[..., 0]) for image in images]
    recognizer = TrainedRecognizer(trained, calibration, labels)
    return measure_fit(recognizer, images, [labels[index] for index in chosen], seed=seed)
