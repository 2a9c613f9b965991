"""The recognition watchdog: whether a camera recognises parts, and which fault of its set-up explains it if not."""

import logging
from collections import deque
from collections.abc import Callable

from partsight.runtime.calibration import SetupCheck, find_misfit
from partsight.runtime.line.health.drift import Measure, Recent
from partsight.runtime.line.health.expected_range import ExpectedRange, ExpectedRanges
from partsight.runtime.line.health.setup_watch import MAX_REFUSED_SHARE, NOTHING_FITS, RefusedFrames
from partsight.runtime.recognition import Recognizer
from partsight.runtime.sinks import FrameEvent

NOTHING_S = 60.0
"""Seconds without a recognised part before a warning: a line without parts for a moment is no fault."""

CHECK_AGAIN_S = 600.0
"""Seconds between two checks of the set-up of one camera, unless it recognised parts again meanwhile."""

_LAST = 50  # answers in the share of refused frames
_MIN_ANSWERS = 8  # for that share
_MIN_NOTHING = 10  # answers without a part, for a warning that nothing is recognised
_MIN_KEPT = 8  # refused frames for a check

_LOOKS: dict[tuple[Measure, int], str] = {
    ("exposure_ev", -1): (
        "too dark: {value:+.2f} EV relative to the golden images that are most like them; check the lamp"
    ),
    ("exposure_ev", 1): (
        "too bright: {value:+.2f} EV relative to the golden images that are most like them; check the light"
    ),
    ("focus_ratio", -1): (
        "out of focus: {value:.2f} of the sharpness of the golden images that are most like them; check the lens"
    ),
    ("focus_ratio", 1): (
        "sharper than the golden images that are most like them ({value:.2f}); turn down the gain if they are noisy"
    ),
}
_AS_EXPECTED = f"as bright and as sharp as expected, and {NOTHING_FITS}"
_NOT_MEASURED = "not measured; check the lamp, the lens and the parts"

_log = logging.getLogger("partsight.line")


class RecognitionWatchdog:
    """Logs once when a camera recognises hardly any part, with the cause if it finds one, and once when it does again.

    `count` may be called by another thread than `keep` and `judge`.
    """

    def __init__(self, camera: str) -> None:
        """Take the camera's name on the line."""
        self._camera = camera
        self._refused: deque[bool] = deque(maxlen=_LAST)
        self._frames = RefusedFrames()
        self._seen_at: float | None = None
        self._refused_since = 0  # answers since a part was recognised
        self._checked_at: float | None = None
        self._check: SetupCheck | None = None
        self._warned = ""  # event of the warning that stands; empty if none

    def count(self, *, is_refused: bool, now: float) -> None:
        """Count an answer.

        Args:
            is_refused: Whether the answer is unknown.
            now: Seconds of a monotonic clock.
        """
        self._refused.append(is_refused)
        if self._seen_at is None or not is_refused:
            self._seen_at = now
        self._refused_since = self._refused_since + 1 if is_refused else 0

    def keep(self, event: FrameEvent, recognizer: Recognizer) -> None:
        """Keep a refused frame for a check."""
        if event.frame is not None:
            self._frames.add(event.frame.image, recognizer.manifest)

    def judge(
        self,
        recognizer: Recognizer,
        unknown: Recent,
        expected: ExpectedRanges | None,
        now: float,
        is_wanted: Callable[[], bool],
    ) -> None:
        """Log the state of the camera if it changed; may check its set-up, for some seconds.

        Args:
            recognizer: Recogniser that answers.
            unknown: Measures of the refused frames, each relative to the golden image of its best candidate.
            expected: Expected ranges of these measures; None where they are not known.
            now: Seconds of the clock of `count`.
            is_wanted: Function called again and again; returns False to give up.
        """
        if len(self._refused) < _MIN_ANSWERS:
            return
        if self._share() < MAX_REFUSED_SHARE:
            self._frames.clear()
            self._checked_at = self._check = None
            self._recover()
            return
        if self._is_check_due(now):
            self._checked_at = now
            self._check = find_misfit(recognizer, self._frames.frames(), is_wanted)
        if self._warned == "nothing_recognised" and self._refused_since == 0:
            self._recover()
        elif not self._warned:
            self._warn(unknown, expected, now)

    def _warn(self, unknown: Recent, expected: ExpectedRanges | None, now: float) -> None:
        """Warn of a misfit that was found, else of a camera that has recognised nothing for a while."""
        finding = self._check.describe() if self._check else ""
        if self._check and finding:
            self._warned = "setup_misfit"
            text = "camera %s: %.0f %% of its last frames were not recognised; %s"
            extra = {"event": "setup_misfit", "camera": self._camera, **self._check.facts()}
            _log.warning(text, self._camera, 100 * self._share(), finding, extra=extra)
        elif self._is_blind(now):
            self._warned = "nothing_recognised"
            text = "camera %s has recognised nothing for %d s; its frames are %s"
            extra = {"event": "nothing_recognised", "camera": self._camera}
            looks = _describe_looks(unknown, expected)
            _log.warning(text, self._camera, now - (self._seen_at or 0.0), looks, extra=extra)

    def _share(self) -> float:
        answers = list(self._refused)
        return sum(answers) / len(answers)

    def _is_check_due(self, now: float) -> bool:
        is_new = self._checked_at is None or now - self._checked_at >= CHECK_AGAIN_S
        return not self._warned and is_new and len(self._frames) >= _MIN_KEPT

    def _is_blind(self, now: float) -> bool:
        if self._seen_at is None or self._refused_since < _MIN_NOTHING:
            return False
        return now - self._seen_at >= NOTHING_S

    def _recover(self) -> None:
        if self._warned:
            self._warned = ""
            extra = {"event": "recognised_again", "camera": self._camera}
            _log.info("camera %s recognises parts again", self._camera, extra=extra)


def _describe_looks(unknown: Recent, expected: ExpectedRanges | None) -> str:
    """Describe how refused frames look relative to the golden images."""
    medians, found = unknown.medians(), []
    if expected is None or (medians.exposure_ev is None and medians.focus_ratio is None):
        return _NOT_MEASURED
    for (measure, side), text in _LOOKS.items():
        value: float | None = getattr(medians, measure)
        limits: ExpectedRange | None = getattr(expected, measure)
        if value is not None and limits is not None and limits.side_of(value) == side:
            found.append(text.format(value=value))
    return ", and ".join(found) or _AS_EXPECTED
