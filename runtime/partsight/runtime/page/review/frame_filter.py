"""The filter of kept frames: which ones a person wants to see, as the address says."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import get_args
from urllib.parse import urlencode

from partsight.runtime.core import PageError
from partsight.runtime.feedback import KeptFrame, Verdict
from partsight.runtime.recognition import REASONS

PAGE_FRAMES = 24
"""Frames on one page."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

_NO_REASON = "none"
REASONS_OF_FRAMES = (*REASONS, _NO_REASON)
"""Reasons; `none` for a frame without a record, or with one of an earlier partsight."""

NOT_ACCEPTED, ALL = "not_accepted", "all"
"""Further values of the parameter `reason`: every frame that the line did not accept, and all frames."""


@dataclass(frozen=True)
class FrameFilter:
    """The filter.

    Attributes:
        verdict: Decision of the frames.
        part: Part that the line named first; empty for all.
        camera: Name of the camera; empty for all.
        reason: `NOT_ACCEPTED`, `ALL` or one of `REASONS_OF_FRAMES`.
        page: Number of the page, from 1.
    """

    verdict: str = "open"
    part: str = ""
    camera: str = ""
    reason: str = NOT_ACCEPTED
    page: int = 1

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> "FrameFilter":
        """Return the filter of an address's parameters.

        Raises:
            PageError: a value is none of those that the screen offers.
        """
        verdict, page = values.get("verdict") or "open", values.get("page") or "1"
        reason = values.get("reason") or NOT_ACCEPTED
        reasons = (NOT_ACCEPTED, ALL, *REASONS_OF_FRAMES)
        for name, value, known in (("verdict", verdict, VERDICTS), ("reason", reason, reasons)):
            if value not in known:
                raise PageError(f"{name} is {value[:40]!r}; expected one of {', '.join(known)}")
        if not (page.isascii() and page.isdecimal() and len(page) < 7):
            raise PageError(f"page is {page[:40]!r}; expected a number from 1")
        return cls(verdict, values.get("part", ""), values.get("camera", ""), reason, max(1, int(page)))

    def of(self, frames: Sequence[KeptFrame]) -> list[KeptFrame]:
        """Return the frames that a person wants to see, the newest first, on all pages."""
        return [frame for frame in reversed(frames) if self._takes(frame)]

    def hidden(self, frames: Sequence[KeptFrame]) -> int:
        """Return how many accepted frames only `NOT_ACCEPTED` leaves out."""
        if self.reason != NOT_ACCEPTED:
            return 0
        shows_all = replace(self, reason=ALL)
        return sum(is_accepted(frame) and shows_all._takes(frame) for frame in frames)

    def url(self, **changes: str | int) -> str:
        """Return the address of the screen with this filter; with changes, it begins at page 1."""
        changed = replace(self, **{"page": 1} | changes) if changes else self  # type: ignore[arg-type]
        values = {name: value for name, value in asdict(changed).items() if value not in ("", 1, NOT_ACCEPTED)}
        return f"/refused?{urlencode(values)}"

    def _takes(self, frame: KeptFrame) -> bool:
        return (
            frame.verdict == self.verdict
            and (not self.part or frame.answer == self.part)
            and (not self.camera or camera_of(frame) == self.camera)
            and self._takes_reason(frame)
        )

    def _takes_reason(self, frame: KeptFrame) -> bool:
        if self.reason == NOT_ACCEPTED:
            return not is_accepted(frame)
        return self.reason in (ALL, reason_of(frame))


def reason_of(frame: KeptFrame) -> str:
    """Return one of `REASONS_OF_FRAMES`."""
    return (frame.record.reason if frame.record else None) or _NO_REASON


def is_accepted(frame: KeptFrame) -> bool:
    """Whether the line gave the frame a label; the sink keeps such frames as samples."""
    return frame.record is not None and frame.record.outcome == "recognised"


def camera_of(frame: KeptFrame) -> str:
    """Return the camera's name; empty for a frame without a record."""
    return frame.record.camera if frame.record else ""


@dataclass(frozen=True)
class FilterChoices:
    """Values that a person may choose, each with its number of frames.

    Attributes:
        parts, cameras, reasons: The values, by name.
        verdicts: All verdicts.
    """

    parts: Mapping[str, int]
    cameras: Mapping[str, int]
    reasons: Mapping[str, int]
    verdicts: Mapping[str, int]

    @classmethod
    def of(cls, frames: Iterable[KeptFrame], verdict: str) -> "FilterChoices":
        """Count the frames with a verdict, and the frames of each verdict."""
        verdicts = Counter[str](dict.fromkeys(VERDICTS, 0))
        parts, cameras, reasons = Counter[str](), Counter[str](), Counter[str]()
        for frame in frames:
            verdicts[frame.verdict] += 1
            if frame.verdict == verdict:
                parts[frame.answer or ""] += 1
                cameras[camera_of(frame)] += 1
                reasons[reason_of(frame)] += 1
        del parts[""], cameras[""]
        return cls(_sorted(parts), _sorted(cameras), _sorted(reasons), verdicts)


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
