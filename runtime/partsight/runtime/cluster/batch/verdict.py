"""The verdict of a comparison: whether a factory may swap to the new package, and what to look at first."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from partsight.runtime.cluster.batch.comparison import Comparison
from partsight.runtime.core import Task, Verdict

BAD_SHARE = 0.01
"""Share of the frames with a label that may lose it or get another one; above it the verdict says no."""

_MAX_NAMED = 5


@dataclass(frozen=True)
class ComparedPackage:
    """A package of a comparison.

    Attributes:
        path: Its folder, as the command named it.
        package_id: Its id.
        labels: Its parts.
        created: Time of its export.
    """

    path: Path
    package_id: str
    labels: frozenset[str]
    created: str


def judge_comparison(done: Comparison, old: ComparedPackage, new: ComparedPackage) -> Verdict:
    """Return the main point for a person who reads nothing else.

    Args:
        done: The comparison.
        old, new: The packages.
    """
    reasons = tuple(_reasons(done, old, new))
    removed = sum(done.pairs[label, None] for label in old.labels - new.labels)  # on purpose
    against = done.counts["other_label"] + done.counts["label_lost"] - removed
    if not done.compared:
        return Verdict("bad", "Nothing compared", "No frame has an answer from both packages.", reasons)
    if done.failed_now > BAD_SHARE * done.compared:
        text = f"The new package cannot answer {frames(done.failed_now)} that the old one answers."
        return Verdict("bad", "Do not swap yet", text, reasons)
    if against > BAD_SHARE * done.labelled:
        text = f"{share(against, done.labelled)} of {frames(done.labelled)} with a label lose it or get another one."
        return Verdict("bad", "Do not swap yet", text, reasons)
    if done.changed or done.failed_now:
        text = f"{done.changed:,} of {frames(done.compared)} get another answer. Look at them before you swap."
        return Verdict("care", "Look at the changes", text, reasons)
    text = f"Both packages give the same answer to all {done.compared:,} frames."
    return Verdict("good", "Same answers", text, reasons)


def list_tasks(done: Comparison, changes: Path, source: Path, new: ComparedPackage) -> tuple[Task, ...]:
    """Return what to do, the first thing first.

    Args:
        done: The comparison.
        changes: CSV file of the changed frames.
        source: Source of the frames.
        new: The new package.
    """
    tasks = []
    if done.counts["other_label"]:
        tasks.append(
            Task("Look at the frames with another label: one of the two packages is wrong. Their pictures are below.")
        )
    if done.counts["label_lost"]:
        text = "Look at the frames without a label now. If a part fits badly, fit the package to frames of the line."
        tasks.append(Task(text, f"partsight commission {quote(str(new.path))} FRAMES --out FITTED.partsight"))
    if done.counts["label_gained"]:
        tasks.append(
            Task("Check a few of the new labels: each is right, or an unknown part that looks like a taught one.")
        )
    if done.changed > len(done.sample):
        tasks.append(Task(f"Read the list of all {done.changed:,} changed frames in {changes.name}."))
        if source.is_dir():
            text = "Explain any frame of the list."
            tasks.append(Task(text, f"partsight explain {quote(str(new.path))} FRAME --out why"))
    text = "Run the new package; a running line swaps to it."
    swap = f"If the changes are right, {text[0].lower()}{text[1:]}" if done.changed else text
    return (*tasks, Task(swap, f"partsight run {quote(str(new.path))} --camera ..."))


def frames(count: int) -> str:
    """Return a number of frames in words."""
    return f"{count:,} frame{'' if count == 1 else 's'}"


def share(count: int, total: int) -> str:
    """Return a share in percent, with enough digits that a few of many do not show as none."""
    percent = 100 * count / total if total else 0.0
    return f"{percent:.2g} %" if 0 < percent < 1 else f"{percent:.1f} %"


def _reasons(done: Comparison, old: ComparedPackage, new: ComparedPackage) -> Iterator[str]:
    counts, labelled = done.counts, done.labelled
    if counts["other_label"]:
        yield f"Another part's label: {frames(counts['other_label'])}, {share(counts['other_label'], labelled)}."
    if counts["label_lost"]:
        yield f"No label any more: {frames(counts['label_lost'])}, {share(counts['label_lost'], labelled)}."
    if counts["label_gained"]:
        before = done.compared - labelled
        share_of = f"{share(counts['label_gained'], before)} of {frames(before)} that had none"
        yield f"A label for the first time: {frames(counts['label_gained'])}, {share_of}."
    if done.failed_now:
        yield f"Only the old package can answer {frames(done.failed_now)}."
    if done.failed_before:
        yield f"Only the new package can answer {frames(done.failed_before)}."
    if done.unreadable:
        yield f"Not compared: {frames(done.unreadable)} that neither package can answer."
    if gone := old.labels - new.labels:
        count = sum(done.parts[label].before for label in gone if label in done.parts)
        yield f"The new package lacks {_named(gone)}, the label of {frames(count)} before."
    if added := new.labels - old.labels:
        count = sum(done.parts[label].now for label in added if label in done.parts)
        yield f"The new package adds {_named(added)}, the label of {frames(count)} now."
    if done.changed:
        yield "partsight does not know which of two answers is right: a person has to look."


def _named(labels: Collection[str]) -> str:
    first = ", ".join(sorted(labels)[:_MAX_NAMED]) + (", …" if len(labels) > _MAX_NAMED else "")
    return f"the part {first}" if len(labels) == 1 else f"{len(labels):,} parts ({first})"
