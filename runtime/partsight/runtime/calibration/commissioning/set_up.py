"""The set-up of the line: whether its frames fit the package at all, before anything is fitted to them."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from partsight.runtime.calibration.commissioning.line_answers import LineAnswers, SeenFrames
from partsight.runtime.calibration.setup import Setup
from partsight.runtime.calibration.setup_check import MAX_FRAMES, SetupCheck, find_misfit
from partsight.runtime.core import CommissionError
from partsight.runtime.images import read_image
from partsight.runtime.recognition import Recognizer

MIN_FRAMES = 20
"""Least number of frames whose part fits best: fewer say nothing about a line."""

_MIN_RIGHT_FIRST = 0.5  # share of frames of taught parts; with less, labels or set-up are wrong
_SUSPECT_REFUSED = 0.2  # share of refused frames, above which their cause is looked for
_COPY_AGREEMENT, _COPY_SHIFT = 0.85, 5e-4  # median agreement and shift of copies; frames of a line reach 0.6


@dataclass(frozen=True)
class SetUpResult:
    """Whether frames fit a package.

    Attributes:
        check: Check of the refused frames; None if too few were refused.
        is_copy: Whether the frames seem to be the golden images themselves.
    """

    check: SetupCheck | None
    is_copy: bool

    @property
    def sentence(self) -> str:
        """Sentences on frames of another set-up, or copies of golden images, and the remedy; empty for none."""
        if self.is_copy:
            return (
                "Use other frames: these agree with the golden images as copies do, and say nothing about the line. "
                "Take frames with the line's camera after the golden images."
            )
        found = self.check.describe() if self.check else ""
        return f"Correct the set-up: {found}." if found else ""


def check_set_up(recognizer: Recognizer, seen: SeenFrames, answers: LineAnswers) -> SetUpResult:
    """Check that frames fit a package.

    Args:
        recognizer: Recogniser of the package.
        seen: Frames.
        answers: Answers to them.

    Raises:
        CommissionError: too few frames fit, or the set-up differs in channels, turn, mirror image or scale; the message
            says what would make them fit.
    """
    taught, right = answers.is_taught, answers.is_right_first
    refused = taught & ~answers.accepted(recognizer.decision.rule)
    check = None
    if refused.sum() > _SUSPECT_REFUSED * taught.sum():
        check = find_misfit(recognizer, _pictures(seen, refused))
    share = right[taught].mean() if taught.any() else 0.0
    if check and _is_other_set_up(check):
        raise CommissionError(
            f"the frames are of another set-up than the golden images: {check.describe()}. Correct this, and take the "
            "frames again"
        )
    if share < _MIN_RIGHT_FIRST:
        reason = check.describe() if check else ""
        raise CommissionError(
            f"{right.sum()} of {taught.sum()} frames fit their own part best; expected nearly all: "
            f"{reason or 'check that each folder shows the part that it names'}, and commission again"
        )
    if right.sum() < MIN_FRAMES:
        raise CommissionError(
            f"received {right.sum()} frames that fit their part best; expected at least {MIN_FRAMES}: keep frames of "
            "the line with `partsight run PACKAGE --sink images:FOLDER?every=1`, confirm them, and commission again"
        )
    return SetUpResult(check, _are_copies(answers, right))


def _are_copies(answers: LineAnswers, right: npt.NDArray[np.bool_]) -> bool:
    """Whether frames agree nearly perfectly with golden images and lie exactly where these do."""
    poses = answers.taught.poses
    shift = np.hypot(poses.x[right, 0], poses.y[right, 0])
    return bool(np.median(answers.own_agreement()[right]) > _COPY_AGREEMENT and np.median(shift) < _COPY_SHIFT)


def _is_other_set_up(check: SetupCheck) -> bool:
    """Whether more than the light differs: light alone is a line's own, and is fitted."""
    return check.fits is not None and replace(check.fits, light_ev=0.0) != Setup()


def _pictures(seen: SeenFrames, chosen: npt.NDArray[np.bool_]) -> list[np.ndarray]:
    index = np.flatnonzero(chosen)
    spaced = index[np.linspace(0, len(index) - 1, min(MAX_FRAMES, len(index))).astype(int)]
    return [read_image(seen.frames[row].path) for row in spaced]
