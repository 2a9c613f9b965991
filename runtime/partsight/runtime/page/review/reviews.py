"""Frames that the line kept, and what people say of them."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from partsight.runtime.core import FeedbackError, PageError
from partsight.runtime.feedback import Feedback, KeptFrame, Verdict, decide, read_feedback
from partsight.runtime.page.review.thumbnails import Thumbnails

_LEAST_PAUSE_S = 1.0
_REST = 20.0  # times as long as a reading took, the folder is not read again: reading costs at most 5 % of a core
_FRESH_NS = 2 * 10**9  # a folder that changed so recently may have changed again since, in the same tick of its clock


@dataclass(frozen=True)
class Decision:
    """What a person says of a frame.

    Attributes:
        verdict: The decision; `open` takes one back.
        label: Part that a confirmed frame shows; None for the part that the line named first.
        seen: `state_of` the frame when the person looked at it.
    """

    verdict: Verdict
    label: str | None
    seen: str


class FrameGoneError(PageError):
    """A frame that the folder no longer holds."""


class AlreadyDecidedError(PageError):
    """A frame about which somebody else has decided since the person looked at it."""

    def __init__(self, frame: KeptFrame) -> None:
        """Take the frame, as it is now."""
        super().__init__(f"{frame.name}: is {state_of(frame)!r} meanwhile; load the page again, then decide")
        self.frame = frame


class Reviews:
    """The folder of the line's sink `images:`, which need not exist yet. Thread-safe.

    The folder is read when somebody asks: at most once a second, only if it has changed, and only its new frames. A
    decision of this page shows at once, one of `partsight review` after the next reading.

    Attributes:
        folder: The folder.
    """

    def __init__(self, folder: str | Path) -> None:
        """Take the folder, which the sink makes."""
        self.folder = Path(folder)
        self._lock = threading.Lock()
        self._decide_lock = threading.Lock()
        self._feedback = Feedback(self.folder, ())
        self._frames: dict[str, KeptFrame] = {}
        self._changes: tuple[int, ...] | None = None
        self._read_at = self._next_at = float("-inf")
        self._thumbnails = Thumbnails()

    def read(self) -> Feedback:
        """Return the folder's frames; those whose name or label people cannot read are faults.

        Raises:
            FeedbackError: the folder cannot be listed.
        """
        with self._lock:
            if time.monotonic() >= self._next_at:
                self._read()
            return self._feedback

    def find(self, name: str) -> KeptFrame | None:
        """Return a frame; None if the folder does not hold it.

        Raises:
            FeedbackError: see `read`.
        """
        frame = self._frames.get(name)
        if frame is None:  # it may be new
            self._hurry()
        self.read()
        return self._frames.get(name)

    def open_count(self) -> int:
        """Return how many frames wait for a decision.

        Raises:
            FeedbackError: see `read`.
        """
        return sum(frame.verdict == "open" for frame in self.read().frames)

    def thumbnail(self, name: str) -> bytes | None:
        """Return a small picture of a frame, as JPEG; None if the folder does not hold it.

        Raises:
            ImageError: the picture cannot be read.
        """
        frame = self.find(name)
        return None if frame is None else self._thumbnails.of(frame)

    def decide(self, name: str, decision: Decision, log: Callable[[str, str], None]) -> KeptFrame:
        """Keep a decision.

        Args:
            name: Name of the frame.
            decision: The decision.
            log: Function that takes `state_of` the frame before and after, just before the frame moves; if it raises,
                the frame stays.

        Returns:
            The frame in its new place.

        Raises:
            FrameGoneError: the folder does not hold the frame.
            AlreadyDecidedError: the frame is not as the person saw it.
            FeedbackError: the frame has no label, or a label that cannot be one.
        """
        with self._decide_lock:
            frame = self._find_seen(name, decision.seen)
            after = replace(frame, verdict=decision.verdict, label=decision.label or frame.answer)
            if after.verdict == "confirmed" and after.label is None:
                raise FeedbackError(f"{name}: the line named no part for it; name the part that it shows")
            log(state_of(frame), state_of(after))
            try:
                moved = decide(self.folder, frame, decision.verdict, decision.label)
            except FeedbackError:
                log(state_of(after), state_of(frame))
                self._check_unmoved(frame)
                raise
            self._keep(moved)
            return moved

    def _find_seen(self, name: str, seen: str) -> KeptFrame:
        """Return a frame that is still as the person saw it."""
        frame = self.find(name)
        if frame is None:
            raise FrameGoneError(f"{name}: is not in {self.folder}; its sink removes the oldest frames at its limits")
        if not frame.path.exists():
            self._check_unmoved(frame)
        if state_of(frame) != seen:
            raise AlreadyDecidedError(frame)
        return frame

    def _check_unmoved(self, frame: KeptFrame) -> None:
        """Say why a frame cannot be moved, if it is gone, or if another program has moved it."""
        self._next_at = float("-inf")
        self.read()
        found = self._frames.get(frame.name)
        if found is None:
            raise FrameGoneError(f"{frame.name}: is gone from {self.folder}")
        if found.path != frame.path:
            raise AlreadyDecidedError(found)

    def _keep(self, moved: KeptFrame) -> None:
        with self._lock:
            self._frames = self._frames | {moved.name: moved}
            self._feedback = replace(self._feedback, frames=tuple(self._frames[name] for name in sorted(self._frames)))

    def _hurry(self) -> None:
        """Let the next reading look at the folder, unless it did so within the last second."""
        with self._lock:
            self._next_at = min(self._next_at, self._read_at + _LEAST_PAUSE_S)

    def _read(self) -> None:
        began = time.monotonic()
        changes, is_fresh = _changes_of(self.folder)
        if changes != self._changes or is_fresh:
            self._feedback = _readable(read_feedback(self.folder, self._feedback)) if changes else self._empty()
            self._frames = {frame.name: frame for frame in self._feedback.frames}
            self._changes = changes
        self._read_at = time.monotonic()
        self._next_at = self._read_at + max(_LEAST_PAUSE_S, _REST * (self._read_at - began))

    def _empty(self) -> Feedback:
        return Feedback(self.folder, ())


def state_of(frame: KeptFrame) -> str:
    """Return the decision about a frame in one word, and after `confirmed` the part: for forms and the audit log."""
    return f"confirmed {frame.label}" if frame.verdict == "confirmed" else frame.verdict


def _changes_of(folder: Path) -> tuple[tuple[int, ...], bool]:
    """Return the times at which a folder and its inner folders changed, none if it is missing; and if one is recent."""
    try:
        places = _folders(folder)
        times = [folder.stat().st_mtime_ns, *places.values()]
        times += _folders(folder / "confirmed").values() if "confirmed" in places else ()
    except FileNotFoundError:
        return (), True
    except OSError as error:
        raise FeedbackError(f"{folder}: cannot be read ({error}); let this user read it") from error
    return tuple(sorted(times)), time.time_ns() - max(times) < _FRESH_NS


def _folders(folder: Path) -> dict[str, int]:
    """Return the times at which inner folders changed, by name."""
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_mtime_ns for entry in entries if entry.is_dir()}


def _readable(feedback: Feedback) -> Feedback:
    """Return frames without those whose name or label no page can show, which become faults."""
    odd = [frame for frame in feedback.frames if not (frame.name.isprintable() and (frame.label or "").isprintable())]
    fault = "has characters in its name that cannot be shown; rename it"
    frames = tuple(frame for frame in feedback.frames if frame not in odd) if odd else feedback.frames
    return replace(feedback, frames=frames, faults=feedback.faults | {frame.path: fault for frame in odd})
