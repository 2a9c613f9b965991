"""The verdict: whether a commissioned package is ready for the line, and what to do first if not."""

from collections.abc import Iterator, Sequence
from shlex import quote

from partsight.runtime.calibration.commissioning.commissioned import FramesUsed, frames_for
from partsight.runtime.calibration.commissioning.failures import Confusion, PartFit
from partsight.runtime.calibration.commissioning.held_out import Outcome
from partsight.runtime.calibration.commissioning.measured_line import MeasuredLine
from partsight.runtime.calibration.commissioning.reference_trials import ReferenceTrial
from partsight.runtime.calibration.intervals import RateInterval
from partsight.runtime.core import Task, Verdict

_MAX_REFUSED, _BAD_REFUSED = 2.0, 6.0  # times the wanted share of refused frames
_MAX_EXPECTED = 6.0  # times that share: upper end of the interval, with which a statement is worth something
_MAX_ACCEPTED, _BAD_ACCEPTED = 0.05, 0.15  # share of frames of unknown parts that get a label
_BAD_WRONG = 0.01  # share of frames that get another part's label
_MAX_NAMED = 5
_MIN_SHARPNESS = 0.75  # of the golden images
_MAX_SCALE = 0.015  # away from 1
_MAX_TURN_DEG = 2.5  # that all parts share


def judge_outcome(after: Outcome, used: FramesUsed, misfit: str, max_false_reject: float) -> Verdict:
    """Return the main point for a person who reads nothing else.

    Args:
        after: Rates of the new package on held-out frames.
        used: The frames.
        misfit: Sentences on frames of another set-up, or copies of golden images; empty for none.
        max_false_reject: Wanted share of refused frames.
    """
    unknown = after.unknown or after.siblings
    reasons = tuple(_reasons(after, used))
    refused, accepted = after.refused.rate, unknown.rate
    if misfit:
        return Verdict("care", "Doubtful", "Do the first task below: these frames may not show the line.", reasons)
    if refused > _BAD_REFUSED * max_false_reject or accepted > _BAD_ACCEPTED or after.wrong.rate > _BAD_WRONG:
        return Verdict("bad", "Not ready", "Do the first task below before the line uses this package.", reasons)
    if not used.is_confirmed:
        return Verdict(
            "care", "Not proven", "The line may use this package, but no person confirmed the frames.", reasons
        )
    if after.refused.high > _MAX_EXPECTED * max_false_reject:
        return Verdict("care", "Usable", "The line may use this package, but few frames speak for it.", reasons)
    if refused > _MAX_REFUSED * max_false_reject or accepted > _MAX_ACCEPTED or after.wrong.hits:
        return Verdict("care", "Usable", "The line may use this package; the tasks below make it better.", reasons)
    return Verdict("good", "Ready", "This package is ready for the line.", reasons)


def _reasons(after: Outcome, used: FramesUsed) -> Iterator[str]:
    if used.is_confirmed:
        yield f"Of frames of its parts, the line will refuse {percent(after.refused)}."
        yield f"It will give {percent(after.wrong)} of them the label of another part."
    else:
        yield (
            f"Of the {after.refused.total:,} frames whose part is clear, it refuses {percent(after.refused)}. Unclear "
            "frames are left out, so the line will refuse more: no person confirmed these frames."
        )
    yield (
        f"With its own part not taught, a frame gets a label in {percent(after.siblings)}: so often the line will "
        "mistake an unknown part that looks like a taught one."
    )
    if after.unknown is not None:
        yield f"Of frames of unknown parts, the line will give {percent(after.unknown)} a label."


def percent(rate: RateInterval) -> str:
    """Return a rate with its prediction interval, such as "0.9 % (0.2 to 2.1 %)"."""
    digits = 2 if rate.high < 0.01 else 1
    low, middle, high = (f"{100 * share:.{digits}f}" for share in (rate.low, rate.rate, rate.high))
    return f"{middle} % ({low} to {high} %)"


def list_tasks(  # noqa: PLR0913 (facts of one result)
    after: Outcome,
    used: FramesUsed,
    misfit: str,
    line: MeasuredLine,
    confusions: Sequence[Confusion],
    parts: Sequence[PartFit],
    trials: Sequence[ReferenceTrial],
    *,
    max_false_reject: float,
    package: str,
    out: str,
) -> tuple[Task, ...]:
    """Return what to do, the first thing first, and the command for it."""
    found = [
        *([Task(misfit)] if misfit else []),
        *_on_line(line),
        *_on_labels(confusions),
        *_on_parts(parts, trials, out),
        *_on_unknown(after, out),
        *_on_frames(after, used, max_false_reject, package),
    ]
    run = Task(
        "Run the new package on the line; a running line swaps to it.", f"partsight run {quote(out)} --camera ..."
    )
    undo = Task(
        "If it answers worse than before, go back.", f"partsight commission {quote(out)} --undo --out BEFORE.partsight"
    )
    return (*found, run, undo)


def _on_line(line: MeasuredLine) -> Iterator[Task]:
    if line.focus and line.focus.middle < _MIN_SHARPNESS:
        yield Task(f"Focus the lens: the frames are {line.focus.middle:.2f} times as sharp as the golden images.")
    if line.scale and abs(line.scale.middle - 1) > _MAX_SCALE:
        where = "back" if line.scale.middle > 1 else "closer"
        yield Task(
            f"Move the camera {where}: the frames show parts at {line.scale.middle:.3f} times the size of the golden "
            "images."
        )
    turn = next(spread.middle for spread in line.poses if spread.unit == "°")
    if abs(turn) > _MAX_TURN_DEG:
        side = "clockwise" if turn > 0 else "counter-clockwise"
        yield Task(f"Turn the fixture or the camera back by {abs(turn):.1f}°: all parts lie turned {side}.")


def _on_labels(confusions: Sequence[Confusion]) -> Iterator[Task]:
    swapped = [item for item in confusions if item.frames == item.of_frames and item.of_frames > 1]
    for item in swapped[:_MAX_NAMED]:
        yield Task(
            f"Look at the frames of {item.label}: all {item.frames} fit {item.other} better. Correct their label, or "
            "the golden image."
        )


def _on_parts(parts: Sequence[PartFit], trials: Sequence[ReferenceTrial], out: str) -> Iterator[Task]:
    fixed = {trial.label for trial in trials if trial.added}
    weak = [part for part in parts if part.label not in fixed and 2 * part.failed >= part.frames > 1]
    for part in weak[:_MAX_NAMED]:
        yield Task(
            f"Take a new golden image of {part.label} on the line: {part.failed} of its {part.frames} frames fail.",
            f"partsight enroll {quote(out)} --replace --label {quote(part.label)} IMAGE --out NEW",
        )
    if len(weak) > _MAX_NAMED:
        yield Task(f"Do the same for {len(weak) - _MAX_NAMED} more parts that fit badly; the report lists them.")


def _on_unknown(after: Outcome, out: str) -> Iterator[Task]:
    accepted = after.unknown  # left-out parts are harder than what a line meets: they ask for no task
    if accepted is not None and accepted.rate > _MAX_ACCEPTED:
        yield Task(
            f"Teach the parts that the line also sees: {100 * accepted.rate:.1f} % of frames of unknown parts get a "
            "label.",
            f"partsight enroll {quote(out)} --label NAME IMAGE --out NEW",
        )


def _on_frames(after: Outcome, used: FramesUsed, max_false_reject: float, package: str) -> Iterator[Task]:
    command = f"partsight commission {quote(package)} MORE_FRAMES --out NEW"
    needed = frames_for(max_false_reject, after.refused.hits)
    if not used.is_confirmed:
        yield Task("Confirm frames: put them into one folder for each part, and commission again.", command)
    elif after.refused.total < needed:
        yield Task(
            f"Confirm more frames: {needed:,} are needed to show with 95 % confidence that at most "
            f"{100 * max_false_reject:g} % are refused; there are {after.refused.total:,}.",
            command,
        )
    if after.unknown is None:
        yield Task(
            "Keep frames of parts that the package does not have: nobody has yet seen how the line refuses them.",
            f"{command} --unknown FOLDER",
        )
