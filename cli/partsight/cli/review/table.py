"""What `partsight review` prints of a folder."""

import sys
from dataclasses import asdict
from typing import Any

import msgspec

from partsight.runtime.feedback import Feedback, FeedbackSummary, KeptFrame, review_order, summarize

_MAX_SHOWN = 10
WORDS = {"open": "open", "confirmed": "confirmed", "not_taught": "not taught", "discarded": "discarded"}
"""Decisions as people read them."""


def print_table(feedback: Feedback) -> None:
    """Print a row for each frame: the open ones in the order of the review, then the decided ones by name."""
    frames = (*review_order(feedback.of("open")), *feedback.of("confirmed", "not_taught", "discarded"))
    rows = [("frame", "decision", "line's answer", "score", "needs", "reason", "shows"), *map(_row, frames)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()


def print_summary(feedback: Feedback, package: str | None) -> None:
    """Print counts, parts that are corrected often, mistakes, and what to do next."""
    summary = summarize(feedback.frames)
    counts = [f"{count} {WORDS[verdict]}" for verdict, count in summary.counts.items()]
    print(f"frames:     {', '.join(counts)}; {summary.corrected} of them corrected")
    for part in summary.often_corrected[:_MAX_SHOWN]:
        print(
            f"often corrected: {part.label}: {part.corrected_from} frames taken for it show something else, "
            f"{part.corrected_to} that show it were taken for another part, {part.confirmed} were right"
        )
    for mistake in summary.mistakes[:_MAX_SHOWN]:
        shows = mistake.shows or "a part that is not taught"
        accepted = f", {mistake.accepted} of them accepted" if mistake.accepted else ""
        frames = f"{mistake.frames} frame{'s' if mistake.frames > 1 else ''}"
        print(f"mistaken:   {shows} for {mistake.taken_for}: {frames}{accepted}")
    for name, hidden in (("parts", summary.often_corrected[_MAX_SHOWN:]), ("mistakes", summary.mistakes[_MAX_SHOWN:])):
        if hidden:
            print(f"and {len(hidden)} more {name}; --json shows all")
    _print_next(feedback, summary, package or "PACKAGE")


def print_json(feedback: Feedback) -> None:
    """Print frames, decisions, records, counts and faults as one JSON object."""
    summary = asdict(summarize(feedback.frames))
    facts = {
        "folder": str(feedback.folder),
        "frames": [_facts(frame) for frame in feedback.frames],
        **summary,
        "faults": {str(path): fault for path, fault in feedback.faults.items()},
    }
    print(msgspec.json.format(msgspec.json.encode(facts)).decode())


def print_faults(feedback: Feedback) -> None:
    """Print a warning for each file that cannot be read."""
    for path, fault in feedback.faults.items():
        print(f"partsight: warning: {path}: {fault}", file=sys.stderr)
    if feedback.faults:
        print(f"partsight: warning: {len(feedback.faults)} files are left out or lack a part", file=sys.stderr)


def _print_next(feedback: Feedback, summary: FeedbackSummary, package: str) -> None:
    if summary.counts["open"]:
        print(f"next:       partsight review {feedback.folder}")
    elif summary.counts["confirmed"]:
        print(f"next:       partsight commission {package} {feedback.folder} --out NEW")


def _row(frame: KeptFrame) -> tuple[str, ...]:
    record = frame.record
    answer = f"({frame.answer})" if frame.is_refused and frame.answer else frame.answer or "-"
    score = "-" if record is None or record.score is None else f"{record.score:.3f}"
    needs = "-" if record is None or record.threshold is None else f"{record.threshold:.3f}"
    reason = "-" if record is None else (record.reason or record.outcome).replace("_", " ")
    return frame.name, WORDS[frame.verdict], answer, score, needs, reason, frame.label or "-"


def _facts(frame: KeptFrame) -> dict[str, Any]:
    return {
        "frame": frame.name,
        "path": str(frame.path),
        "decision": frame.verdict,
        "label": frame.label,
        "corrected": frame.is_corrected,
        "record": frame.record,
    }
