"""Answers: the line's answers to frames, through both stages where the package has two."""

import numpy as np

from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.images import PreprocessSpec
from partsight.runtime.matching import Bank, Matcher, Matches
from partsight.runtime.package import Matching

UNKNOWN = -1
"""In place of a class: no part, or a score that is not a number."""


def labels_of(score: FloatArray) -> np.ndarray:
    """Return the best class of each row, `UNKNOWN` where a score is not a number."""
    return np.where(np.isfinite(score).all(axis=1), score.argmax(axis=1), UNKNOWN)


def answers_of(matches: Matches, matching: Matching) -> np.ndarray:
    """Return the class that each frame is taken for, `UNKNOWN` for none."""
    accepted = matches.is_accepted(matching.decision.threshold, matching.spec)
    return np.where(accepted, matches.classes[:, 0], UNKNOWN)


class Decider:
    """Turns the network's scores into the answers of a line with the package's golden images."""

    def __init__(self, matching: Matching | None = None, bank: Bank | None = None) -> None:
        """Take the package's second stage, if it has one: both or none."""
        self._matching = matching
        self._matcher = Matcher(bank, matching.spec) if matching and bank else None

    @property
    def candidates(self) -> int:
        """How many candidates the network names."""
        return self._matching.spec.by_network if self._matching else 1

    def preprocess_spec(self, spec: PreprocessSpec) -> PreprocessSpec | None:
        """Return how frames are prepared for the second stage; None where there is none."""
        return self._matching.spec.preprocess(spec) if self._matching else None

    def decide(self, score: FloatArray, compared: Pixels | None) -> np.ndarray:
        """Return the class that each frame is taken for, `UNKNOWN` for none.

        Args:
            score: (frames, classes) float32, the network's.
            compared: (frames, height, width, 3) uint8 BGR, prepared for the second stage; None where there is none.
        """
        best = labels_of(score)
        if self._matching is None or self._matcher is None or compared is None:
            return best
        found = answers_of(self._matcher.match(compared, score), self._matching)
        return np.where(best == UNKNOWN, UNKNOWN, found)
