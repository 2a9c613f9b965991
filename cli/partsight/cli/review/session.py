"""A review in the terminal: one open frame after the other, and a key for each decision."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from partsight.cli.review.labels import Labels
from partsight.cli.review.table import WORDS
from partsight.cli.review.why import WhyPictures
from partsight.runtime.core import FeedbackError
from partsight.runtime.feedback import Feedback, KeptFrame, Verdict, decide, review_order

_CANDIDATES = 3
_REASONS = {
    "recognised": "recognised",
    "agrees_with_none": "unknown: it agrees with no part",
    "two_parts_fit": "unknown: two parts fit",
}
_PROMPT = "Enter confirms; 1-3, l LABEL, u not taught, d discard, b back, q quit > "


class Session:
    """Asks a person about the open frames of a folder."""

    def __init__(self, feedback: Feedback, labels: Labels, package: str | Path | None) -> None:
        """Take the frames.

        Args:
            feedback: Frames of the folder.
            labels: Labels that the person may name.
            package: Package that explains its answers; None for no explanation.
        """
        self._folder = feedback.folder
        self._frames = list(review_order(feedback.of("open")))
        self._labels = labels
        self._why = WhyPictures(feedback.folder, package) if package is not None else None
        self._index = 0

    def run(self) -> None:
        """Ask about each frame, until the last one, `q` or the end of standard input."""
        while self._index < len(self._frames):
            self._show(self._frames[self._index])
            while not self._take(_ask()):
                pass
        print()

    def _show(self, frame: KeptFrame) -> None:
        alike = sum(other.answer == frame.answer for other in self._frames)
        is_first = self._index == 0 or self._frames[self._index - 1].answer != frame.answer
        if is_first and alike > 1:
            print(f"\n=== {frame.answer or 'no candidate'}: {alike} frames")
        print(f"\n[{self._index + 1}/{len(self._frames)}] {frame.path}")
        for line in _describe(frame):
            print(f"  {line}")
        if self._why is not None:
            print(f"  why: {self._why.of(frame)}")

    def _take(self, text: str | None) -> bool:
        """Do what the person wrote; return False if the command asks again."""
        key, _, rest = (text or "").strip().partition(" ")
        key = key.lower()
        if text is None or key == "q":
            self._index = len(self._frames)
        elif key == "b":
            self._index = max(0, self._index - 1)
        else:
            try:
                return self._decide(key, rest.strip())
            except FeedbackError as error:
                print(f"  {error}")
                is_gone = not self._frames[self._index].path.exists()
                self._index += is_gone
                return is_gone
        return True

    def _decide(self, key: str, rest: str) -> bool:
        frame = self._frames[self._index]
        verdicts: dict[str, Verdict] = {"u": "not_taught", "d": "discarded"}
        if key in ("", "y"):
            self._keep(frame, "confirmed", None)
        elif key in verdicts:
            self._keep(frame, verdicts[key], None)
        elif key == "l" and rest:
            self._keep(frame, "confirmed", self._labels.find(rest))
        elif key.isdecimal() and 1 <= int(key) <= len(_candidates(frame)):
            self._keep(frame, "confirmed", _candidates(frame)[int(key) - 1])
        else:
            print("  expected a key of the list; another part is `l LABEL`")
            return False
        return True

    def _keep(self, frame: KeptFrame, verdict: Verdict, label: str | None) -> None:
        decided = decide(self._folder, frame, verdict, label)
        print(f"  {WORDS[verdict]}{': ' + decided.label if decided.label else ''}")
        self._frames[self._index] = decided
        self._index += 1


def _ask() -> str | None:
    """Return what a person writes; None at the end of standard input."""
    print(_PROMPT, end="", flush=True)
    return sys.stdin.readline() or None


def _candidates(frame: KeptFrame) -> list[str]:
    return [candidate.label for candidate in frame.record.top[:_CANDIDATES]] if frame.record else []


def _describe(frame: KeptFrame) -> list[str]:
    record = frame.record
    if record is None:
        return ["no record"]
    said = _REASONS.get(record.reason or "", record.outcome) + (f" ({record.error})" if record.error else "")
    lines = [f"{record.camera} {record.sequence}, {_time(record.timestamp)}, from {record.source}", said]
    width = max((len(label) for label in _candidates(frame)), default=0)
    for number, candidate in enumerate(record.top[:_CANDIDATES], 1):
        score = "-" if candidate.score is None else f"{candidate.score:.3f}"
        needs = f"   needs {record.threshold:.3f}" if number == 1 and record.threshold is not None else ""
        lines.append(f"{number}  {candidate.label:<{width}}  {score}{needs}")
    if frame.verdict != "open":
        lines.append(f"decided: {WORDS[frame.verdict]} {frame.label or ''}")
    return lines


def _time(timestamp: float) -> str:
    try:
        return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):  # a damaged record
        return f"at {timestamp:g}"
