"""Decisions from a table, for scripts."""

import csv
from dataclasses import dataclass
from pathlib import Path

from partsight.cli.review.labels import Labels
from partsight.runtime.core import FeedbackError
from partsight.runtime.feedback import Feedback, KeptFrame, decide

_COLUMNS = {"file", "label"}
_MAX_SHOWN = 20


@dataclass(frozen=True)
class _Decision:
    frame: KeptFrame
    label: str | None


def apply_decisions(path: str | Path, feedback: Feedback, labels: Labels) -> None:
    """Keep the decisions of a table: all of them, or none if the table has a fault.

    Args:
        path: CSV file in UTF-8 with the columns `file`, a picture's name with or without suffix and folder, and
            `label`, empty for a part that is not taught.
        feedback: Frames of the folder.
        labels: Labels that the table may name.

    Raises:
        FeedbackError: the table has faults, all of which the message names; or a frame cannot be moved.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if not set(reader.fieldnames or ()) >= _COLUMNS:
                first = ",".join(reader.fieldnames or ())
                raise FeedbackError(f"{path}: the first line is {first!r}; expected the columns file,label")
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FeedbackError(f"{path}: cannot be read ({error}); expected a CSV file in UTF-8") from error
    for decision in _read(path, rows, feedback, labels):
        decide(feedback.folder, decision.frame, "confirmed" if decision.label else "not_taught", decision.label)


def _read(
    path: str | Path, rows: list[tuple[int, dict[str, str]]], feedback: Feedback, labels: Labels
) -> tuple[_Decision, ...]:
    frames = {name: frame for frame in feedback.frames for name in (frame.name, frame.path.name)}
    decisions: dict[str, _Decision] = {}
    faults = []
    for line, row in rows:
        name, label = Path((row["file"] or "").strip()).name, (row["label"] or "").strip()
        try:
            if name not in frames:
                raise FeedbackError(f"there is no frame {name!r} in {feedback.folder}")
            frame = frames[name]
            if frame.name in decisions:
                raise FeedbackError(f"{frame.name} is named twice; keep one of the lines")
            decisions[frame.name] = _Decision(frame, labels.find(label) if label else None)
        except FeedbackError as fault:
            faults.append(f"line {line}: {fault}")
    if faults:
        more = [f"and {len(faults) - _MAX_SHOWN} more"] if len(faults) > _MAX_SHOWN else []
        raise FeedbackError(
            "\n  ".join([f"{path}: no decision is taken, {len(faults)} to fix", *faults[:_MAX_SHOWN], *more])
        )
    return tuple(decisions.values())
