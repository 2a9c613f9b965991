"""Comparison: how the answers of a new package differ from those of an old one, in counts, by part and by frame."""

import csv
import heapq
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partsight.runtime.cluster.batch.rows import OLD, Change
from partsight.runtime.core import new_file
from partsight.runtime.sinks import escape_formula

SAMPLE = 24
"""Most changed frames that the report shows."""

_KINDS: tuple[Change, ...] = ("other_label", "label_lost", "label_gained")
_COLUMNS = (
    *("index", "source", "change", "old_label", "label", "old_score", "old_threshold", "score", "threshold"),
    *("old_reason", "reason", "old_error", "error"),
)
_READ = [*_COLUMNS, "outcome", "old_outcome"]


@dataclass(frozen=True)
class ChangedFrame:
    """A frame whose answer changed.

    Attributes:
        index: Its index in the source.
        source: Its origin.
        change: How the answer changed.
        old_label, label: Label by the old and by the new package; None for none.
        old_score, score: Score of the best candidate.
        old_threshold, threshold: Score that it needed.
    """

    index: int
    source: str
    change: Change
    old_label: str | None
    label: str | None
    old_score: float
    score: float
    old_threshold: float
    threshold: float

    @property
    def clearness(self) -> float:
        """How far the labels are above their thresholds: the larger, the more a change of them says."""
        leads = ((self.old_label, self.old_score - self.old_threshold), (self.label, self.score - self.threshold))
        return min(lead for label, lead in leads if label is not None)


@dataclass
class PartChanges:
    """Changes of the answers that name one part.

    Attributes:
        label: The part.
        before, now: Number of frames with this label by the old and by the new package.
        same: Number of frames with this label by both.
        to_other, to_none: Number of frames that had this label and have another, or none.
        from_other, from_none: Number of frames that have this label and had another, or none.
    """

    label: str
    before: int = 0
    now: int = 0
    same: int = 0
    to_other: int = 0
    to_none: int = 0
    from_other: int = 0
    from_none: int = 0

    @property
    def changed(self) -> int:
        """Number of changed frames that name the part."""
        return self.to_other + self.to_none + self.from_other + self.from_none


@dataclass
class Comparison:
    """Counts of a comparison, while rows are added and afterwards.

    Attributes:
        counts: Number of frames by change.
        labelled: Number of compared frames with a label by the old package.
        failed_before, failed_now: Number of frames that only the old, or only the new package could not answer.
        unreadable: Number of frames that neither could answer.
        parts: Changes by part.
        pairs: Number of frames by old and new label, of changed answers; None stands for no label.
    """

    counts: Counter[Change] = field(default_factory=Counter)
    labelled: int = 0
    failed_before: int = 0
    failed_now: int = 0
    unreadable: int = 0
    parts: dict[str, PartChanges] = field(default_factory=dict)
    pairs: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    _clearest: dict[tuple[str | None, str | None], list[tuple[float, int, ChangedFrame]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    @property
    def compared(self) -> int:
        """Number of frames that both packages answered."""
        return sum(self.counts[kind] for kind in ("same", *_KINDS))

    @property
    def changed(self) -> int:
        """Number of frames with another answer."""
        return sum(self.counts[kind] for kind in _KINDS)

    @property
    def sample(self) -> list[ChangedFrame]:
        """The most telling changes, at most `SAMPLE`: of each kind and each pair of labels in turn, the clearest first.

        The same rows always give the same sample.
        """
        by_kind: dict[Change, list[tuple[int, float, int, ChangedFrame]]] = defaultdict(list)
        for found in self._clearest.values():
            for rank, (clearness, _, frame) in enumerate(sorted(found, key=lambda each: (-each[0], -each[1]))):
                by_kind[frame.change].append((rank, -clearness, frame.index, frame))
        ranked = [
            (rank, _KINDS.index(kind), frame)
            for kind, frames in by_kind.items()
            for rank, (*_, frame) in enumerate(sorted(frames, key=lambda each: each[:3]))
        ]
        chosen = sorted(ranked, key=lambda each: each[:2])[:SAMPLE]
        return [frame for _, _, frame in sorted(chosen, key=lambda each: (each[1], each[0]))]

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row of a frame."""
        change: Change = row["change"]
        self.counts[change] += 1
        if change == "not_compared":
            self.failed_now += row[f"{OLD}outcome"] != "failed"
            self.failed_before += row["outcome"] != "failed"
            self.unreadable += row["outcome"] == row[f"{OLD}outcome"]
            return
        old, new = row[f"{OLD}label"], row["label"]
        self.labelled += old is not None
        self._count_parts(change, old, new)
        if change != "same":
            self.pairs[old, new] += 1
            self._keep(row)

    def _count_parts(self, change: Change, old: str | None, new: str | None) -> None:
        for label, is_old in ((old, True), (new, False)):
            if label is None:
                continue
            part = self.parts.setdefault(label, PartChanges(label))
            if is_old:
                part.before += 1
                part.same += change == "same"
                part.to_other += change == "other_label"
                part.to_none += change == "label_lost"
            else:
                part.now += 1
                part.from_other += change == "other_label"
                part.from_none += change == "label_gained"

    def _keep(self, row: Mapping[str, Any]) -> None:
        frame = ChangedFrame(
            row["index"],
            row["source"],
            row["change"],
            row[f"{OLD}label"],
            row["label"],
            *(_value(row[name]) for name in (f"{OLD}score", "score", f"{OLD}threshold", "threshold")),
        )
        found = self._clearest[frame.old_label, frame.label]
        heapq.heappush(found, (frame.clearness, -frame.index, frame))
        if len(found) > SAMPLE:
            heapq.heappop(found)


def compare(tables: Iterable[Any], changes: Path) -> Comparison:
    """Compare the answers of two packages, and write the frames whose answers differ.

    Args:
        tables: Rows in order, a pyarrow.Table each, with the columns of both answers.
        changes: CSV file to write: a row for each frame with another answer, or that only one package could answer.

    Raises:
        OutputError: The file cannot be written.
    """
    comparison = Comparison()
    with new_file(changes) as file:
        file.write(_line(_COLUMNS))
        for table in tables:
            for row in table.select(_READ).to_pylist():
                comparison.add(row)
                if _is_listed(row):
                    file.write(_line([_cell(row[name]) for name in _COLUMNS]))
    return comparison


def _is_listed(row: Mapping[str, Any]) -> bool:
    if row["change"] == "not_compared":
        return bool(row["outcome"] != row[f"{OLD}outcome"])
    return bool(row["change"] != "same")


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    return "" if value is None else escape_formula(value) if isinstance(value, str) else str(value)


def _value(number: float | None) -> float:
    return float("nan") if number is None else number
