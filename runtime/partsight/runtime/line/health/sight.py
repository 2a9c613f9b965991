"""RecognitionWatchdog: whether a camera recognises parts, and what is wrong with its set-up if it hardly does."""

import logging
from collections import deque
from collections.abc import Callable

import cv2
import numpy as np

from partsight.runtime.calibration import MAX_FRAMES, MIN_FRAMES, SetupCheck, find_misfit
from partsight.runtime.core import PartsightError, Pixels
from partsight.runtime.line.health.band import Bands
from partsight.runtime.line.health.drift import Measure, Recent
from partsight.runtime.line.line import Line
from partsight.runtime.package import Manifest
from partsight.runtime.recognition import Recognizer
from partsight.runtime.sinks import FrameEvent

NOTHING_S = 60.0
"""Seconds without a recognised part before a warning: a line without parts for a moment is no fault."""

CHECK_AGAIN_S = 600.0
"""Seconds from a check of the set-up to the next of the same camera, unless it recognised parts again meanwhile."""

MOSTLY = 0.5
"""Share of refused frames among the last answers from which on the set-up is checked."""

_LAST = 50  # answers of which that share is taken
_MIN_ANSWERS = 8  # for that share
_MIN_NOTHING = 10  # answers without a part, for a warning that nothing is recognised
_MIN_KEPT = 8  # refused frames for a check
_KEPT_PX = 640  # longest side of kept frames, more than twice that of the golden images in a package
_KEPT_BYTES = 128 * 2**20  # of all kept frames of a camera, where they cannot be shrunk

_SAID: dict[tuple[Measure, int], str] = {
    ("exposure_ev", -1): (
        "too dark: {value:+.2f} EV next to the golden images that they are most like; look at the lamp"
    ),
    ("exposure_ev", 1): (
        "too bright: {value:+.2f} EV next to the golden images that they are most like; look at the light"
    ),
    ("focus_ratio", -1): (
        "out of focus: {value:.2f} of the sharpness of the golden images that they are most like; look at the lens"
    ),
    ("focus_ratio", 1): (
        "sharper than the golden images that they are most like ({value:.2f}); turn down the gain if they are noisy"
    ),
}
_NOTHING = (
    "no other channel order, turn, mirror image, scale or brightness makes them fit; enrol the parts if the package "
    "was not taught them, and check that the camera sees a part at all"
)
_AS_EXPECTED = f"as bright and as sharp as expected, and {_NOTHING}"
_NOT_MEASURED = "not measured; look at the lamp, the lens and the parts"

_log = logging.getLogger("partsight.line")


class RefusedFrames:
    """The last refused frames of a camera, few and small enough to be kept."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._frames: deque[Pixels] = deque(maxlen=MAX_FRAMES)

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: Pixels, manifest: Manifest) -> None:
        """Keep a frame, made smaller where the package cuts no region out of it; the oldest goes."""
        if manifest.preprocess.region is None:
            frame = _shrunk(frame)
        self._frames.append(frame)
        while len(self._frames) > MIN_FRAMES and sum(kept.nbytes for kept in self._frames) > _KEPT_BYTES:
            self._frames.popleft()

    def clear(self) -> None:
        """Keep none."""
        self._frames.clear()

    def frames(self) -> list[Pixels]:
        """Return the frames, newest first."""
        return list(reversed(self._frames))


class RecognitionWatchdog:
    """Logs once when a camera recognises hardly any part, with the cause if there is one, and once when it does again.

    `take` may be called by another thread than `judge`.
    """

    def __init__(self, camera: str) -> None:
        """Take the camera's name on the line."""
        self._camera = camera
        self._refused: deque[bool] = deque(maxlen=_LAST)
        self._frames = RefusedFrames()
        self._seen_at: float | None = None
        self._refused_since = 0  # a part was recognised
        self._checked_at: float | None = None
        self._check: SetupCheck | None = None
        self._told = ""

    def take(self, *, is_refused: bool, now: float) -> None:
        """Count an answer; now is in seconds of a clock that never goes back."""
        self._refused.append(is_refused)
        if self._seen_at is None or not is_refused:
            self._seen_at = now
        self._refused_since = self._refused_since + 1 if is_refused else 0

    def keep(self, told: FrameEvent, recognizer: Recognizer) -> None:
        """Keep a refused frame for a check."""
        if told.frame is not None:
            self._frames.add(told.frame.image, recognizer.manifest)

    def judge(
        self, recognizer: Recognizer, unknown: Recent, bands: Bands | None, now: float, is_wanted: Callable[[], bool]
    ) -> None:
        """Log the state of the camera if it changed; may check its set-up, for some seconds.

        Args:
            recognizer: the package that answers.
            unknown: measures of the refused frames, each next to its best candidate.
            bands: expected values; None where they are not known.
            now: Seconds, of the clock of `take`.
            is_wanted: asked again and again; False to give up.
        """
        if len(self._refused) < _MIN_ANSWERS:
            return
        if self._share() < MOSTLY:
            self._frames.clear()
            self._checked_at = self._check = None
            self._recover()
            return
        if self._is_check_due(now):
            self._checked_at = now
            self._check = find_misfit(recognizer, self._frames.frames(), is_wanted)
        finding = self._check.describe() if self._check else ""
        if self._told == "nothing" and self._refused_since == 0:
            self._recover()
        elif not self._told and self._check and finding:
            self._told = "misfit"
            said = "camera %s: %.0f %% of its last frames were not recognised; %s"
            extra = {"event": "setup_misfit", "camera": self._camera, **self._check.facts()}
            _log.warning(said, self._camera, 100 * self._share(), finding, extra=extra)
        elif not self._told and self._is_blind(now):
            self._told = "nothing"
            said = "camera %s has recognised nothing for %d s; its frames are %s"
            extra = {"event": "nothing_recognised", "camera": self._camera}
            _log.warning(said, self._camera, now - (self._seen_at or 0.0), _look(unknown, bands), extra=extra)

    def _share(self) -> float:
        answers = list(self._refused)
        return sum(answers) / len(answers)

    def _is_check_due(self, now: float) -> bool:
        is_new = self._checked_at is None or now - self._checked_at >= CHECK_AGAIN_S
        return not self._told and is_new and len(self._frames) >= _MIN_KEPT

    def _is_blind(self, now: float) -> bool:
        if self._seen_at is None or self._refused_since < _MIN_NOTHING:
            return False
        return now - self._seen_at >= NOTHING_S

    def _recover(self) -> None:
        if self._told:
            self._told = ""
            extra = {"event": "recognised_again", "camera": self._camera}
            _log.info("camera %s recognises parts again", self._camera, extra=extra)


class SetupWatch:
    """Listens to a line that ends, and checks the set-up of its cameras then: with few frames, in little memory."""

    def __init__(self, line: Line) -> None:
        """Listen to a line."""
        self._line = line
        self._cameras: dict[str, _Refusals] = {}
        line.listen(self._hear)

    def check(self, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Log a finding for each camera most of whose frames were refused; it takes some seconds, and no time if none.

        Args:
            is_wanted: asked again and again; False to give up.
        """
        for camera, refusals in self._cameras.items():
            share = refusals.refused / refusals.answers
            if share < MOSTLY or refusals.refused < MIN_FRAMES:
                continue
            try:
                check = find_misfit(self._line.recognizer, refusals.frames.frames(), is_wanted)
            except PartsightError as error:  # the answers are written, and are not worth less for it
                _log.warning("%s: its set-up cannot be checked: %s", camera, error, extra={"event": "setup_unchecked"})
                continue
            if check is not None:
                event, finding = ("setup_misfit", check.describe()) if check.describe() else ("nothing_fits", _NOTHING)
                said, extra = "%s: %.0f %% of the frames were not recognised; %s", {"event": event, "camera": camera}
                _log.warning(said, camera, 100 * share, finding, extra=extra | check.facts())

    def _hear(self, told: FrameEvent) -> None:
        """Count an answer and keep its frame if it was refused; of many, ever fewer are kept."""
        record = told.record
        if record.outcome == "failed":
            return
        refusals = self._cameras.setdefault(record.camera, _Refusals())
        refusals.answers += 1
        if record.outcome == "unknown" and told.frame is not None:
            if refusals.refused % max(1, refusals.refused // 64) == 0:
                refusals.frames.add(told.frame.image, self._line.recognizer.manifest)
            refusals.refused += 1


class _Refusals:
    """Answers of one camera, and some of its refused frames."""

    def __init__(self) -> None:
        self.answers = self.refused = 0
        self.frames = RefusedFrames()


def _look(unknown: Recent, bands: Bands | None) -> str:
    medians, found = unknown.medians(), []
    if bands is None or (medians.exposure_ev is None and medians.focus_ratio is None):
        return _NOT_MEASURED
    for (measure, side), said in _SAID.items():
        value, band = getattr(medians, measure), getattr(bands, measure)
        if value is not None and band is not None and band.side_of(value) == side:
            found.append(said.format(value=value))
    return ", and ".join(found) or _AS_EXPECTED


def _shrunk(frame: Pixels) -> Pixels:
    height, width = frame.shape[:2]
    share = _KEPT_PX / max(height, width)
    if share >= 1:
        return frame
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
