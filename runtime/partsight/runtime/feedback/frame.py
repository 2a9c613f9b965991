"""A frame that the line kept, with its record and the decision of a person."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from partsight.runtime.core import normalized
from partsight.runtime.sinks import KeptRecord

Verdict = Literal["open", "confirmed", "not_taught", "discarded"]
"""What a person said of a frame: nothing yet, it shows a part of the package, it shows none, it is of no use."""


@dataclass(frozen=True)
class KeptFrame:
    """A frame that the line kept.

    Attributes:
        path: Path of its picture.
        verdict: What a person said of it.
        label: Part that it shows, as a person said; None if it shows no taught part, or if nobody has said.
        record: The line's record of it; None for a picture without one.
    """

    path: Path
    verdict: Verdict
    label: str | None = None
    record: KeptRecord | None = None

    @property
    def name(self) -> str:
        """Name of the picture without its suffix; it begins with the time at which the frame came."""
        return self.path.stem

    @property
    def answer(self) -> str | None:
        """Label that the line answered; for an unknown frame that of its best candidate; None without candidates."""
        if self.record is None:
            return None
        return self.record.label or next((candidate.label for candidate in self.record.top), None)

    @property
    def is_refused(self) -> bool:
        """Whether the line answered unknown."""
        return self.record is not None and self.record.outcome == "unknown"

    @property
    def is_corrected(self) -> bool:
        """Whether a person contradicted the line: it named another part first, or it recognised a part not taught."""
        if self.record is None or self.verdict in ("open", "discarded"):
            return False
        if self.label is None:
            return self.record.label is not None
        return self.answer is None or normalized(self.answer) != normalized(self.label)

    @property
    def stands_for(self) -> int:
        """Number of the line's frames for which this one stands, see `KeptRecord`; 1 for a picture without a record."""
        return self.record.stands_for if self.record else 1
