"""The last results of each camera, with pictures that are encoded at most twice a second."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice

from partsight.runtime.core import PartsightError, Pixels
from partsight.runtime.line import Line
from partsight.runtime.page.live.picture import draw_picture, is_drawable
from partsight.runtime.sinks import FrameEvent, Record

PERIOD_S = 0.5
"""Seconds for which a camera gets at most one picture."""

ACCEPTED_PERIODS = 2
"""Periods for which a camera that recognises its parts gets at most one picture: that halves the cost."""

SHOWN = 20
"""Results of each camera that the page shows."""

_KEPT = SHOWN + 10  # a browser may still fetch the picture of a result that a newer one replaced

MAX_FRAME_BYTES = 256 * 2**20
"""Bytes of the frames of all shown results; beyond, the oldest keep their picture alone."""

_GOLDEN_IMAGES = 64  # of 0.1 to 0.5 MB

_log = logging.getLogger("partsight.page")


@dataclass(frozen=True, eq=False)
class RecentResult:
    """A result that the page shows.

    Attributes:
        record: Outcome of the frame, and its answer; `record.name` is its id in addresses.
        frame: The frame, (height, width, 3) uint8 BGR or (height, width) uint8; None where there was none, and for old
            results beyond `MAX_FRAME_BYTES`.
        number: Number of the result among those of its camera that the page showed, from 1.
        picture: Its picture, see `live_picture`, as JPEG; empty where there was no frame.
        has_golden: Whether the picture shows a golden image.
    """

    record: Record
    frame: Pixels | None
    number: int = 0
    picture: bytes = b""
    has_golden: bool = False


class _Camera:
    """What a camera showed last; under the lock of `RecentResults`."""

    def __init__(self) -> None:
        self.waiting: FrameEvent | None = None  # the next to be shown
        self.arrived = 0.0
        self.window = -ACCEPTED_PERIODS  # half second, since the clock began, of the last picture
        self.count = 0
        self.shown: OrderedDict[str, RecentResult] = OrderedDict()  # by name, the newest last


def _is_due(camera: _Camera, window: int) -> bool:
    """Return whether a camera whose result waits gets a picture in this half second."""
    is_accepted = camera.waiting is not None and camera.waiting.record.outcome == "recognised"
    return window - camera.window >= (ACCEPTED_PERIODS if is_accepted else 1)


class RecentResults:
    """Listens to a line, and draws the results that the page shows. Thread-safe.

    The line's thread only stores a reference to each result. Nothing is drawn until a browser asks (`draw`), and then
    at most one picture for each camera and half second, of accepted results and second, for all browsers. It shows the
    newest result of that time; an unknown or failed one goes first, so that people see it between many accepted ones.

    Memory: for each camera 30 pictures of about 20 to 60 kB and one waiting frame; `MAX_FRAME_BYTES` of shown
    frames; the golden images of 64 parts.
    """

    def __init__(self, line: Line, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Listen from now on.

        Args:
            line: The line.
            clock: Clock that nobody sets, in seconds.
        """
        self._line, self._clock = line, clock
        self._cameras = {name: _Camera() for name in line.states()}
        self._goldens: OrderedDict[tuple[str, str, int], Pixels] = OrderedDict()
        self._lock = threading.Lock()  # for microseconds: the line's thread waits for it
        self._drawing = threading.Lock()  # for milliseconds; taken before the other
        self.last_heard: float | None = None
        self.is_closed = False
        self._end = line.listen(self._hear)

    def draw(self) -> None:
        """Draw the waiting result of each camera, unless another was drawn in this half second. Calls take turns."""
        with self._drawing:
            window = int(self._clock() / PERIOD_S)
            for camera in self._cameras.values():
                with self._lock:
                    if camera.waiting is None or not _is_due(camera, window):
                        continue
                    event, camera.waiting, camera.window = camera.waiting, None, window
                self._show(camera, event)

    def shown(self, camera: str) -> tuple[RecentResult, ...]:
        """Return the results of a camera that the page shows, newest first.

        Raises:
            KeyError: the line has no such camera.
        """
        with self._lock:
            return tuple(islice(reversed(self._cameras[camera].shown.values()), SHOWN))

    def find(self, name: str) -> RecentResult | None:
        """Return the result with this `record.name`; None if the page holds it no more."""
        with self._lock:
            found = (camera.shown.get(name) for camera in self._cameras.values())
            return next((result for result in found if result is not None), None)

    def close(self) -> None:
        """Listen no more, and let streams end. May be called twice."""
        self._end()
        with self._lock:
            self.is_closed = True
            for camera in self._cameras.values():
                camera.waiting = None

    def _hear(self, event: FrameEvent) -> None:
        """Store a result; called by the publishing thread, and takes microseconds."""
        camera = self._cameras.get(event.record.camera)
        if camera is None:
            return
        now = self._clock()
        with self._lock:
            if self.is_closed:
                return
            self.last_heard = event.record.timestamp
            waiting = camera.waiting
            if (
                waiting is None
                or event.record.outcome != "recognised"
                or waiting.record.outcome == "recognised"
                or now - camera.arrived >= PERIOD_S
            ):
                camera.waiting, camera.arrived = event, now

    def _show(self, camera: _Camera, event: FrameEvent) -> None:
        image = event.frame.image if event.frame is not None else None
        frame = image if is_drawable(image) else None
        picture, has_golden = self._picture(event.record, frame)
        with self._lock:
            camera.count += 1
            camera.shown[event.record.name] = RecentResult(event.record, frame, camera.count, picture, has_golden)
            if len(camera.shown) > _KEPT:
                camera.shown.popitem(last=False)
            self._drop_frames()

    def _picture(self, record: Record, frame: Pixels | None) -> tuple[bytes, bool]:
        """Return the picture of a result and whether it shows a golden image."""
        if frame is None:
            return b"", False
        golden = self._golden_image(record)
        region = self._line.recognizer.manifest.preprocess.region
        return draw_picture(frame, region, golden, record.pose), golden is not None

    def _golden_image(self, record: Record) -> Pixels | None:
        """Return the golden image that a frame was compared with, at the size of the comparison; None without one."""
        recognizer = self._line.recognizer
        if not record.top or record.pose is None or record.package_id != recognizer.package_id:
            return None  # the package is not on the line any more
        key = record.package_id, record.top[0].label, record.reference or 0
        golden = self._goldens.pop(key, None)
        if golden is None:
            try:
                golden = recognizer.golden_image(*key[1:])
            except (PartsightError, LookupError, ValueError) as error:  # the line was closed, or the image is damaged
                _log.warning("page: no golden image of %s: %s", key[1], error, extra={"event": "page_no_golden_image"})
                return None
        if golden is not None:
            self._goldens[key] = golden
            if len(self._goldens) > _GOLDEN_IMAGES:
                self._goldens.popitem(last=False)
        return golden

    def _drop_frames(self) -> None:
        """Keep the frames of the newest results, as far as there is room."""
        held = [
            (result.record.timestamp, camera, name, result.frame.nbytes)
            for camera in self._cameras.values()
            for name, result in camera.shown.items()
            if result.frame is not None
        ]
        too_many = sum(size for *_, size in held) - MAX_FRAME_BYTES
        for _, camera, name, size in sorted(held, key=lambda item: item[0]):
            if too_many <= 0:
                return
            camera.shown[name] = replace(camera.shown[name], frame=None)
            too_many -= size
