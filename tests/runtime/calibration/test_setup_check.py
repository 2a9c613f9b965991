from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from partsight.runtime.calibration.setup import Setup
from partsight.runtime.calibration.setup_check import MIN_FRAMES, SetupCheck, find_misfit
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.matching.appearance import Appearance
from partsight.runtime.recognition import Answer, Reason

Change = Callable[[Pixels], Pixels]
SIDE_PX, PARTS = 48, 8


def picture(seed: int) -> Pixels:
    """Coloured spots on an even tray."""
    rng = np.random.default_rng(seed)
    image = np.full((SIDE_PX, SIDE_PX, 3), 120, np.uint8)
    for _ in range(6):
        place = tuple(rng.integers(12, SIDE_PX - 12, 2).tolist())
        cv2.circle(image, place, int(rng.integers(3, 6)), rng.integers(0, 240, 3).tolist(), -1)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.uint8)


GOLDEN = [picture(seed) for seed in range(PARTS)]
UNKNOWN = [picture(seed) for seed in range(100, 100 + PARTS)]


class PixelJudge:
    """Accepts a frame that hardly differs from a golden image, as a package does: the more it differs, the less."""

    def __init__(self, *, has_matching: bool = True) -> None:
        score: Any = "agreement" if has_matching else "cosine"
        self.decision: Any = SimpleNamespace(score=score)
        matching = SimpleNamespace(spec=SimpleNamespace(size_hw=(SIDE_PX, SIDE_PX)))
        self.manifest: Any = SimpleNamespace(matching=matching if has_matching else None)
        self.has_matching = has_matching
        self.answered = 0

    def recognize_batch(self, frames: Sequence[Pixels]) -> list[Answer]:
        self.answered += len(frames)
        return [self._answer(frame) for frame in frames]

    def _answer(self, frame: Pixels) -> Answer:
        differences = [float(np.abs(frame.astype(int) - golden).mean()) for golden in GOLDEN]
        best = int(np.argmin(differences))
        score = 1 / (1 + (differences[best] / 0.7) ** 2)
        is_known = score > 0.4
        reason: Reason = "recognised" if is_known else "agrees_with_none"
        return Answer(str(best) if is_known else None, score, score, is_known, ((str(best), score),), reason, 0.4)

    def appearance(self, frame: Pixels, label: str) -> Appearance | None:
        ev = float(np.log2(frame.mean() / GOLDEN[int(label)].mean()))
        return Appearance(None, ev) if self.has_matching else None

    def golden_image(self, label: str) -> Pixels | None:
        return GOLDEN[int(label)] if self.has_matching else None


def zoomed(scale: float) -> Change:
    def zoom(image: Pixels) -> Pixels:
        matrix = cv2.getRotationMatrix2D(((SIDE_PX - 1) / 2, (SIDE_PX - 1) / 2), 0, scale)
        return np.asarray(cv2.warpAffine(image, matrix, (SIDE_PX, SIDE_PX), borderMode=cv2.BORDER_REPLICATE), np.uint8)

    return zoom


def lit(ev: float) -> Change:
    return lambda image: np.clip(np.rint(image * 2.0**ev), 0, 255).astype(np.uint8)


def checked(frames: Sequence[Pixels], judge: PixelJudge | None = None) -> SetupCheck:
    check = find_misfit(judge or PixelJudge(), frames)
    assert check is not None
    return check


@pytest.mark.parametrize("has_matching", [True, False])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda image: image[..., ::-1], Setup(is_rgb=True)),
        (lambda image: image[::-1, ::-1], Setup(turn_deg=180)),
        (lambda image: image[:, ::-1], Setup(is_mirrored=True)),
        (lambda image: np.rot90(image, -1), Setup(turn_deg=90)),
        (lambda image: np.rot90(image, -1)[..., ::-1], Setup(is_rgb=True, turn_deg=90)),
        (lambda image: image[::-1], Setup(is_mirrored=True, turn_deg=180)),
    ],
)
def test_channels_and_turns_are_found(change: Change, expected: Setup, has_matching: bool) -> None:
    frames = [np.ascontiguousarray(change(image)) for image in GOLDEN]
    check = checked(frames, PixelJudge(has_matching=has_matching))
    assert check.fits == expected
    assert (check.accepted_before, check.accepted_after) == (0, 1)
    assert check.labels == tuple(map(str, range(PARTS)))


@pytest.mark.parametrize("scale", [0.8, 0.9, 0.95, 1.05, 1.1, 1.2])
def test_a_scale_is_found_to_a_hundredth(scale: float) -> None:
    check = checked([zoomed(scale)(image) for image in GOLDEN])
    assert check.fits is not None
    assert check.fits.scale == pytest.approx(scale, abs=0.0125)
    assert check.fits == Setup(scale=check.fits.scale)
    assert check.facts()["scale"] == check.fits.scale


def test_scale_and_channels_together() -> None:
    check = checked([np.ascontiguousarray(zoomed(1.07)(image)[..., ::-1]) for image in GOLDEN])
    assert check.fits is not None
    assert check.fits.is_rgb
    assert check.fits.scale == pytest.approx(1.07, abs=0.0125)


def test_too_little_light_is_found() -> None:
    check = checked([lit(-1)(image) for image in GOLDEN])
    assert check.fits is not None
    assert check.fits == Setup(light_ev=check.fits.light_ev)
    assert check.fits.light_ev == pytest.approx(-1, abs=0.1)


def test_too_much_light_cannot_be_undone_and_is_named() -> None:
    check = checked([lit(1.2)(image) for image in GOLDEN])
    assert (check.fits, check.is_overexposed) == (None, True)
    assert "white" in check.describe()


@pytest.mark.parametrize("frames", [UNKNOWN, GOLDEN, [*UNKNOWN[:4], *GOLDEN[:4]]])
def test_parts_that_were_not_taught_and_frames_that_fit_give_no_hint(frames: list[Pixels]) -> None:
    check = checked(frames)
    assert check.fits is None
    assert check.describe() == ""


def test_one_part_may_be_another_part() -> None:
    """A single part may be a mirrored part or its twin for the other side."""
    check = checked([np.ascontiguousarray(GOLDEN[3][:, ::-1])] * 5)
    assert check.labels == ("3",)
    assert "as 3," in check.describe()


def test_too_few_frames_and_a_check_that_is_given_up() -> None:
    judge = PixelJudge()
    assert find_misfit(judge, GOLDEN[: MIN_FRAMES - 1]) is None
    assert judge.answered == 0
    asked = iter([True, True, False])
    assert find_misfit(judge, UNKNOWN, lambda: next(asked)) is None
    assert judge.answered == PARTS + MIN_FRAMES


def test_it_answers_few_frames() -> None:
    judge = PixelJudge()
    checked(UNKNOWN * 10, judge)
    assert judge.answered < 400
