"""The set-up check: it finds a difference of the set-up that makes refused frames fit the golden images again.

A camera that sends RGB, hangs upside down or stands 5 % nearer gives frames that fit no part, and each answer is only
"unknown". Several frames show the cause: one difference that, undone, makes most of them fit. The check undoes
differences on a few frames (channels, mirror and turn first, then scale, then light), and the package judges.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

import numpy as np

from partsight.runtime.calibration.setup import Setup
from partsight.runtime.core import Pixels
from partsight.runtime.matching import Appearance
from partsight.runtime.package import Decision, Manifest
from partsight.runtime.recognition import Answer

MAX_FRAMES = 16
"""Largest number of frames in a check."""

MIN_FRAMES = 4
"""Smallest number of frames in a check: one frame of a part that was not taught may fit by chance."""

_MIN_ACCEPTED = 0.5  # share of the frames, with the difference undone
_MIN_GAIN = 0.3  # of that share
_ENOUGH = 0.75  # of that share, for no further search
_PROBES, _FIRST_PROBES = 6, 4  # frames on which a difference is tried; the second while there are many differences
_STARTS = 3  # channels and turns at which scales are tried
_SCALES = (0.8, 0.87, 0.935, 1.07, 1.15, 1.25)
_SCALE_STEPS = (0.03, 0.015, 0.0075)
_SCALE_LIMITS = (0.78, 1.28)
_LIGHTS_EV = (-1.5, -0.75, 0.75, 1.5)  # tried where no golden image shows the right brightness
_MIN_LIGHT_EV = 0.25  # less is within the variation of a line
_MIN_MERIT = 0.1  # of a difference that is worth a word
_MIN_SCORE = 1e-3
_COSINE_WEIGHT = 8.0
_WHITE = 250  # grey level
_WHITE_SHARE = 0.1  # of pixels, more than in the golden images


class Judge(Protocol):
    """The part of a `Recognizer` that a check needs; see there."""

    @property
    def manifest(self) -> Manifest:
        """Manifest of the package."""

    @property
    def decision(self) -> Decision:
        """Decision on scores."""

    def recognize_batch(self, frames: Sequence[Pixels]) -> Sequence[Answer]:
        """Answer frames."""

    def appearance(self, frame: Pixels, label: str) -> Appearance | None:
        """Measure a frame next to the golden image of a part."""

    def golden_image(self, label: str) -> Pixels | None:
        """Return the golden image of a part."""


@dataclass(frozen=True)
class SetupCheck:
    """Result of a check.

    Attributes:
        fits: Difference that explains the refusals; None if there is none.
        frames: Number of frames in the check.
        tried: Number of differences that were undone on frames.
        accepted_before, accepted_after: Shares of the frames that the package accepts, as they are and with the best
            difference undone.
        score_before, score_after: Medians of their scores.
        labels: Parts that it accepts with the difference undone.
        white_share: Share of the pixels that are white in the frames and not in the golden images most like them; 0 if
            the package has no golden images.
    """

    fits: Setup | None
    frames: int
    tried: int
    accepted_before: float
    accepted_after: float
    score_before: float
    score_after: float
    labels: tuple[str, ...] = ()
    white_share: float = 0.0

    @property
    def is_overexposed(self) -> bool:
        """Whether the frames are so bright that the parts in them are lost."""
        return self.fits is None and self.white_share >= _WHITE_SHARE

    def describe(self) -> str:
        """Return the finding as a sentence without its full stop; empty if nothing was found."""
        if self.fits is not None:
            one = ""
            if len(self.labels) == 1:
                one = f" (all of them as {self.labels[0]}, so first check that the line shows no other part like it)"
            fitting = f"{round(self.accepted_after * self.frames)} of {self.frames} refused frames fit"
            return f"{fitting} {self.fits.describe()}{one}"
        if self.is_overexposed:
            return (
                f"the frames are too bright: {self.white_share:.0%} more of their pixels are white than in the golden "
                "images; shorten the exposure, or look at the light"
            )
        return ""

    def facts(self) -> dict[str, object]:
        """Return the finding for a log of JSON."""
        facts: dict[str, object] = {"frames": self.frames, "white_share": round(self.white_share, 3)}
        for name in ("accepted_before", "accepted_after", "score_before", "score_after"):
            facts[name] = round(getattr(self, name), 4)
        return facts | (asdict(self.fits) if self.fits is not None else {})


def find_misfit(
    judge: Judge, frames: Sequence[Pixels], is_wanted: Callable[[], bool] = lambda: True, least: int = MIN_FRAMES
) -> SetupCheck | None:
    """Find a difference of the set-up that makes refused frames fit.

    Args:
        judge: Recogniser that refused them.
        frames: Refused frames, as for `Recognizer.recognize`; the first `MAX_FRAMES` count.
        is_wanted: Called before each batch; returns False to stop the check.
        least: Number of frames, below which there is no check.

    Returns:
        None if there are fewer frames, or the check was stopped.

    Raises:
        PartsightError: the recogniser was closed meanwhile, or a golden image is damaged.
    """
    if len(frames) < least:
        return None
    try:
        return _check(_Trials(judge, frames[:MAX_FRAMES], is_wanted))
    except _UnwantedError:
        return None


class _UnwantedError(Exception):
    """Nobody waits for the result any more."""


@dataclass(frozen=True)
class _Trial:
    """A difference that was undone on frames; its merit is higher if they fit better."""

    setup: Setup
    merit: float
    answers: tuple[Answer, ...]

    @property
    def accepted(self) -> float:
        return float(np.mean([answer.accepted for answer in self.answers]))

    @property
    def score(self) -> float:
        return float(np.median([answer.score for answer in self.answers]))


@dataclass
class _Trials:
    """Differences undone on frames, each once."""

    package: Judge
    frames: Sequence[Pixels]
    is_wanted: Callable[[], bool]
    known: dict[tuple[Setup, int], _Trial] = field(default_factory=dict)

    def judge(self, setup: Setup, count: int = MAX_FRAMES) -> _Trial:
        """Undo a difference on the first frames and let the package answer."""
        setup = replace(setup, scale=round(setup.scale, 4), light_ev=round(setup.light_ev, 2))
        if (setup, count) not in self.known:
            if not self.is_wanted():
                raise _UnwantedError
            answers = self.package.recognize_batch([self._undone(setup, frame) for frame in self.frames[:count]])
            self.known[setup, count] = _Trial(setup, self._merit(answers), tuple(answers))
        return self.known[setup, count]

    def best(self, setups: Iterable[Setup], count: int) -> list[_Trial]:
        """Return a trial of each difference, the best first."""
        return sorted((self.judge(setup, count) for setup in setups), key=lambda trial: -trial.merit)

    def light_of(self, trial: _Trial) -> float:
        """Return how much brighter than their best candidates frames are with a difference undone, in EV."""
        found = []
        for frame, answer in zip(self.frames, trial.answers, strict=False):
            if answer.top:
                appearance = self.package.appearance(self._undone(trial.setup, frame), answer.top[0][0])
                found += [appearance.exposure_ev] if appearance else []
        return float(np.median(found)) if found else 0.0

    def white_share(self, before: _Trial) -> float:
        """Return the share of pixels that are white in frames and not in their best candidates."""
        found = []
        for frame, answer in zip(self.frames, before.answers, strict=False):
            golden = self.package.golden_image(answer.top[0][0]) if answer.top else None
            if golden is not None:
                found.append(float((frame >= _WHITE).mean()) - float((golden >= _WHITE).mean()))
        return max(0.0, float(np.median(found))) if found else 0.0

    def _undone(self, setup: Setup, frame: Pixels) -> Pixels:
        matching = self.package.manifest.matching
        (height, width), size_hw = frame.shape[:2], matching.spec.size_hw if matching else (1, 1)
        return setup.undo(frame, is_tall_for_wide=(height - width) * (size_hw[0] - size_hw[1]) < 0)

    def _merit(self, answers: Sequence[Answer]) -> float:
        scores = np.array([answer.score for answer in answers])
        if self.package.decision.score != "agreement":
            return _COSINE_WEIGHT * float(scores.mean())
        # While a frame moves away, agreement falls from 0.04 to 0.02 as it fell from 0.6 to 0.3.
        return float(np.log(np.maximum(scores, _MIN_SCORE)).mean())


def _check(trials: _Trials) -> SetupCheck:
    before = trials.judge(Setup())
    found = _search(trials, before)
    after = trials.judge(_simplified(trials, found).setup)
    is_found = after.accepted >= _MIN_ACCEPTED and after.accepted >= before.accepted + _MIN_GAIN
    return SetupCheck(
        fits=after.setup if is_found else None,
        frames=len(trials.frames),
        tried=len(trials.known),
        accepted_before=before.accepted,
        accepted_after=after.accepted,
        score_before=before.score,
        score_after=after.score,
        labels=tuple(sorted({answer.label for answer in after.answers if answer.label is not None})),
        white_share=trials.white_share(before),
    )


def _search(trials: _Trials, before: _Trial) -> _Trial:
    lights = [Setup(), *(Setup(light_ev=light) for light in _lights(trials, before))]
    turned = trials.best((setup for light in lights for setup in _turns(light, trials.frames[0])), _FIRST_PROBES)
    starts = dict.fromkeys([*(trial.setup for trial in turned[:_STARTS]), *lights[:2]])
    best = trials.best(starts, _PROBES)[0]
    if best.accepted < _ENOUGH:
        scaled = [replace(start, scale=scale) for start in starts for scale in (1.0, *_SCALES)]
        best = trials.judge(trials.best(scaled, _FIRST_PROBES)[0].setup, _PROBES)
    best = _climbed(trials, best)
    light = trials.light_of(best)  # of better candidates than before
    if best.setup.light_ev or abs(light) >= _MIN_LIGHT_EV:
        lit = trials.judge(replace(best.setup, light_ev=best.setup.light_ev + light), _PROBES)
        best = _climbed(trials, max(best, lit, key=lambda trial: trial.merit))
    return best


def _lights(trials: _Trials, before: _Trial) -> tuple[float, ...]:
    """Return differences of brightness to try, except for none."""
    if trials.package.decision.score != "agreement":
        return _LIGHTS_EV
    light = trials.light_of(before)
    return (light,) if abs(light) >= _MIN_LIGHT_EV else ()


def _turns(light: Setup, frame: Pixels) -> list[Setup]:
    return [
        replace(light, is_rgb=is_rgb, is_mirrored=is_mirrored, turn_deg=turn_deg)
        for is_rgb in ((False, True) if frame.ndim == 3 else (False,))
        for is_mirrored in (False, True)
        for turn_deg in (0, 90, 180, 270)
    ]


def _climbed(trials: _Trials, best: _Trial) -> _Trial:
    """Change the scale in ever smaller steps while frames fit better."""
    for step in _SCALE_STEPS:
        for side in (-step, step):
            while _SCALE_LIMITS[0] <= (scale := best.setup.scale + side) <= _SCALE_LIMITS[1]:
                trial = trials.judge(replace(best.setup, scale=scale), _PROBES)
                if trial.merit <= best.merit:
                    break
                best = trial
    return best


def _simplified(trials: _Trials, best: _Trial) -> _Trial:
    """Leave out each difference without which frames fit about as well."""
    for name, value in asdict(Setup()).items():
        if getattr(best.setup, name) != value:
            simpler = trials.judge(replace(best.setup, **{name: value}), _PROBES)
            if simpler.merit >= best.merit - _MIN_MERIT:
                best = simpler
    return best
