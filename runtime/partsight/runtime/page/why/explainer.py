"""Explanations of results, on demand."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from partsight.runtime.core import ImageError, PageError, PartsightError, Pixels
from partsight.runtime.images import read_image
from partsight.runtime.line import Line
from partsight.runtime.page.live.recent_results import RecentResults
from partsight.runtime.page.review.reviews import Reviews
from partsight.runtime.page.why.overlay_pictures import pictures_of
from partsight.runtime.recognition import Explanation, Recognizer
from partsight.runtime.sinks import Record

_MOST = 30  # of about 1 MB each
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Explained:
    """A result and the reason for it.

    Attributes:
        record: The line's record; None for a picture that a person put among the kept frames.
        package_id: Id of the package that explains: the one that answers the line now.
        explanation: Its explanation of the frame; None if the result has no frame, or with `error`.
        pictures: Encoded pictures by the name of their file, see `pictures_of`.
        error: Reason why the package cannot explain the frame; empty if it can, or has none to explain.
    """

    record: Record | None
    package_id: str
    explanation: Explanation | None
    pictures: Mapping[str, bytes]
    error: str = ""


@dataclass(frozen=True)
class _Result:
    record: Record | None
    frame: Pixels | None


class Explainer:
    """Explains one result at a time, and keeps the last explanations. Thread-safe."""

    def __init__(self, line: Line, recent: RecentResults, reviews: Reviews | None) -> None:
        """Take the places where a result's frame may be."""
        self._line, self._recent, self._reviews = line, recent, reviews
        self._made: OrderedDict[tuple[str, str], Explained] = OrderedDict()
        self._lock = threading.Lock()

    def explain(self, name: str) -> Explained | None:
        """Explain a result by the package that answers the line now.

        Args:
            name: Name of the result's record, or of the kept frame.

        Returns:
            None if the page knows no such result (any more).

        Raises:
            PageError: the line has ended, or others wait for too many explanations.
            PartsightError: the picture of a kept frame cannot be read.
        """
        if not self._lock.acquire(timeout=_PATIENCE_S):
            raise PageError("other people wait for explanations, and this one would come too late; try it again")
        try:
            found = self.kept(name, self._line.package_id)
            return found or self._explain(name)
        finally:
            self._lock.release()

    def kept(self, name: str, package_id: str) -> Explained | None:
        """Return an explanation of a package, if it is still in memory."""
        return self._made.get((name, package_id))

    def _explain(self, name: str) -> Explained | None:
        result = self._find(name)
        if result is None:
            return None
        if result.frame is None:
            return Explained(result.record, self._line.package_id, None, {})
        recognizer, answer = self._ask(result.frame)
        if isinstance(answer, PartsightError):
            return Explained(result.record, recognizer.package_id, None, pictures_of(None, result.frame), str(answer))
        explained = Explained(result.record, recognizer.package_id, answer, pictures_of(answer, result.frame))
        self._made[name, recognizer.package_id] = explained
        if len(self._made) > _MOST:
            self._made.popitem(last=False)
        return explained

    def _ask(self, frame: Pixels) -> tuple[Recognizer, Explanation | PartsightError]:
        """Let the package that answers now explain a frame, or say why it cannot; after a swap, ask the new one."""
        recognizer = self._line.recognizer
        while True:
            try:
                return recognizer, recognizer.explain(frame)
            except PartsightError as error:
                before, recognizer = recognizer, self._line.recognizer
                if not before.is_closed:
                    return before, error
                if recognizer is before:
                    raise PageError("the line has ended, and no package explains results; start it again") from error

    def _find(self, name: str) -> _Result | None:
        recent = self._recent.find(name)
        if recent is not None and recent.frame is not None:
            return _Result(recent.record, recent.frame)
        kept = self._reviews.find(name) if self._reviews else None
        if kept is None:
            return _Result(recent.record, None) if recent else None
        try:
            return _Result(kept.record, read_image(kept.path))
        except ImageError:
            if kept.path.exists():
                raise
            return None  # the sink has removed it meanwhile, or another program has moved it
