"""The decision about a kept frame, which moves the frame."""

import contextlib
from dataclasses import replace
from pathlib import Path

from partsight.runtime.core import USABLE, FeedbackError, flush, is_usable, write_file
from partsight.runtime.feedback.frame import KeptFrame, Verdict
from partsight.runtime.feedback.layout import folder_of


def decide(folder: str | Path, frame: KeptFrame, verdict: Verdict, label: str | None = None) -> KeptFrame:
    """Keep a decision about a frame: move its picture and its record to the place of the decision.

    The picture moves in one step, after a copy of its record is there. After a power cut it is in the old place or in
    the new one, with its record.

    Args:
        folder: Folder that the sink `images:` keeps.
        frame: The frame.
        verdict: The decision; `open` takes a decision back.
        label: Part that a confirmed frame shows; None for the part that the line named first.

    Returns:
        The frame in its new place.

    Raises:
        FeedbackError: the frame is gone, or has no label.
        OutputError: the folder cannot be written.
    """
    label = _checked(frame, label or frame.answer) if verdict == "confirmed" else None
    target = folder_of(Path(folder), verdict, label)
    moved = replace(frame, path=target / frame.path.name, verdict=verdict, label=label)
    if moved.path == frame.path:
        return moved
    old, new = frame.path.with_suffix(".json"), moved.path.with_suffix(".json")
    try:
        target.mkdir(parents=True, exist_ok=True)
        if old.exists():
            write_file(new, old.read_bytes())
        frame.path.replace(moved.path)
        with contextlib.suppress(OSError):  # the picture is in place; only a power cut could still undo it
            flush(target)
        old.unlink(missing_ok=True)
    except FileNotFoundError as error:
        new.unlink(missing_ok=True)
        raise FeedbackError(
            f"{frame.path}: is gone; the sink removes the oldest frames at its limits (max_files, max_mb), and others "
            "may decide, too: read the folder again"
        ) from error
    except OSError as error:
        raise FeedbackError(
            f"{frame.path}: cannot be moved to {target} ({error}); let this user write there, and close programs that "
            "show the picture"
        ) from error
    if frame.verdict == "confirmed":
        with contextlib.suppress(OSError):  # another frame of the part is in it
            frame.path.parent.rmdir()
    return moved


def _checked(frame: KeptFrame, label: str | None) -> str:
    if label is None:
        raise FeedbackError(f"{frame.path}: the line named no part for it; name the part that it shows")
    if not is_usable(label):
        raise FeedbackError(f"{frame.path}: {label!r} cannot be the name of a part; expected {USABLE}")
    return label
