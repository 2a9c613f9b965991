"""Answers: the class that a line would name for each frame, by network and comparison."""

import numpy as np

from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.images import PreprocessSpec
from partsight.runtime.matching import Bank, Matcher, Matches
from partsight.runtime.package import Matching

UNKNOWN = -1
"""Class index for an unknown part, or for a score that is not a number."""


def labels_of(score: FloatArray) -> np.ndarray:
    """Return the best class of each row of (frames, classes); `UNKNOWN` if a score is not a number."""
    return np.where(np.isfinite(score).all(axis=1), score.argmax(axis=1), UNKNOWN)


def answers_of(matches: Matches, matching: Matching) -> np.ndarray:
    """Return the class that the line names for each frame, (frames,); `UNKNOWN` for none."""
    accepted = matches.is_accepted(matching.decision.rule, matching.spec)
    return np.where(accepted, matches.classes[:, 0], UNKNOWN)


class Decider:
    """Turns scores of the network into answers of a line."""

    def __init__(self, matching: Matching | None = None, bank: Bank | None = None) -> None:
        """Take settings and bank of the comparison with golden images; both are None for a package without it."""
        self._matching = matching
        self._matcher = Matcher(bank, matching.spec) if matching and bank else None

    @property
    def candidates(self) -> int:
        """Number of candidates that the network names."""
        return self._matching.spec.by_network if self._matching else 1

    def preprocess_spec(self, spec: PreprocessSpec) -> PreprocessSpec | None:
        """Return the preprocessing for the comparison; None for a package without it."""
        return self._matching.spec.preprocess(spec) if self._matching else None

    def decide(self, score: FloatArray, compared: Pixels | None) -> np.ndarray:
        """Return the class that the line names for each frame, (frames,); `UNKNOWN` for none.

        Args:
            score: Scores of the network, (frames, classes) float32.
            compared: Frames prepared for the comparison, (frames, height, width, 3) uint8 BGR; None without it.
        """
        best = labels_of(score)
        if self._matching is None or self._matcher is None or compared is None:
            return best
        found = answers_of(self._matcher.match(compared, score), self._matching)
        return np.where(best == UNKNOWN, UNKNOWN, found)
