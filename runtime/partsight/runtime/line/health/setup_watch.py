"""The set-up watch: at the end of a line of files, checks the set-up of cameras whose frames were mostly refused."""

import logging
from collections import deque
from collections.abc import Callable

import cv2
import numpy as np

from partsight.runtime.calibration import MAX_FRAMES, MIN_FRAMES, find_misfit
from partsight.runtime.core import PartsightError, Pixels
from partsight.runtime.line.line import Line
from partsight.runtime.package import Manifest
from partsight.runtime.sinks import FrameEvent

MAX_REFUSED_SHARE = 0.5
"""Share of refused frames from which on a camera's set-up is checked."""

MAX_KEPT_BYTES = 128 * 2**20
"""Memory for all kept frames of a camera, if they cannot be shrunk."""

NOTHING_FITS = (
    "no other channel order, turn, mirror image, scale or brightness makes them fit; enrol the parts if the package "
    "does not have them, and check that the camera sees a part at all"
)

_KEPT_PX = 640  # longest side of kept frames, more than twice that of the golden images in a package
_EVENLY = 64  # refused frames from which on ever fewer are kept

_log = logging.getLogger("partsight.line")


class RefusedFrames:
    """The last refused frames of a camera, few and small enough to keep in memory."""

    def __init__(self) -> None:
        """Start empty."""
        self._frames: deque[Pixels] = deque(maxlen=MAX_FRAMES)

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: Pixels, manifest: Manifest) -> None:
        """Keep a frame, shrunk if preprocessing crops no region from it; the oldest goes."""
        if manifest.preprocess.region is None:
            frame = _shrunk(frame)
        self._frames.append(frame)
        while len(self._frames) > MIN_FRAMES and sum(kept.nbytes for kept in self._frames) > MAX_KEPT_BYTES:
            self._frames.popleft()

    def clear(self) -> None:
        """Drop all frames."""
        self._frames.clear()

    def frames(self) -> list[Pixels]:
        """Return the frames, newest first."""
        return list(reversed(self._frames))


class SetupWatch:
    """Listens to a line that ends, and checks the set-up of its cameras then: with few frames, in little memory."""

    def __init__(self, line: Line) -> None:
        """Listen to a line."""
        self._line = line
        self._cameras: dict[str, _Refusals] = {}
        line.listen(self._hear)

    def check(self, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Log a finding for each camera whose frames were mostly refused; takes some seconds for each of these.

        Args:
            is_wanted: Function called again and again; returns False to give up.
        """
        for camera, refusals in self._cameras.items():
            if refusals.share >= MAX_REFUSED_SHARE and refusals.refused >= MIN_FRAMES:
                self._check(camera, refusals, is_wanted)

    def _check(self, camera: str, refusals: "_Refusals", is_wanted: Callable[[], bool]) -> None:
        try:
            check = find_misfit(self._line.recognizer, refusals.frames.frames(), is_wanted)
        except PartsightError as error:  # the answers are written, and are worth no less
            _log.warning("%s: its set-up cannot be checked: %s", camera, error, extra={"event": "setup_unchecked"})
            return
        if check is not None:
            finding = check.describe()
            extra = {"event": "setup_misfit" if finding else "nothing_fits", "camera": camera, **check.facts()}
            text = "%s: %.0f %% of the frames were not recognised; %s"
            _log.warning(text, camera, 100 * refusals.share, finding or NOTHING_FITS, extra=extra)

    def _hear(self, event: FrameEvent) -> None:
        """Count an answer and keep its frame if it was refused; of many frames, keep ever fewer."""
        record = event.record
        if record.outcome == "failed":
            return
        refusals = self._cameras.setdefault(record.camera, _Refusals())
        refusals.answers += 1
        if record.outcome == "unknown" and event.frame is not None:
            if refusals.refused % max(1, refusals.refused // _EVENLY) == 0:
                refusals.frames.add(event.frame.image, self._line.recognizer.manifest)
            refusals.refused += 1


class _Refusals:
    """Number of answers of one camera, and some of its refused frames."""

    def __init__(self) -> None:
        self.answers = self.refused = 0
        self.frames = RefusedFrames()

    @property
    def share(self) -> float:
        return self.refused / self.answers


def _shrunk(frame: Pixels) -> Pixels:
    height, width = frame.shape[:2]
    share = _KEPT_PX / max(height, width)
    if share >= 1:
        return frame
    size = (max(1, round(width * share)), max(1, round(height * share)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
