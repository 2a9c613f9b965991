"""Advice: whether a run may go on to a line, the reasons, and what to do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from partsight.runtime.calibration import wilson
from partsight.runtime.core import Level, Task, Verdict
from partsight.train.run_folder import RunRecord
from partsight.train.weak_parts import WeakPart, weakest_parts

MAX_LOST, MAX_LOST_WITH_CARE = 0.03, 0.10
"""Share of varied frames without their own label, on top of the allowed one: from the first on a run needs care, from
the second on it is bad."""

MAX_WRONG = 0.01
"""Share of varied frames with a wrong label, from which on a run is bad if the interval lies above it."""

MAX_FALSE_ACCEPT = 0.10
"""Share of frames of unknown parts with a label, from which on a run needs care."""

ALIKE = 0.5
"""Agreement of two golden images from which on they differ nowhere by more than noise and light explain."""

_WEAK, _MIN_FAILED = 0.25, 2  # a part is weak from this share of failed frames on; a single one is chance
_MAX_NAMED = 5
_LEVELS: tuple[Level, ...] = ("good", "care", "bad")


@dataclass(frozen=True)
class Finding:
    """A reason for the verdict, and what to do about it.

    Attributes:
        level: How bad it is.
        reason: Sentence with the datum.
        task: Remedy; None if there is nothing to do.
    """

    level: Level
    reason: str
    task: Task | None = None


@dataclass(frozen=True)
class Advice:
    """Verdict of a run and the to-do list."""

    verdict: Verdict
    tasks: tuple[Task, ...]


_WORDS: dict[Level, str] = {"good": "Ready", "care": "Ready, with care", "bad": "Not ready"}


def advise(record: RunRecord, run: Path) -> Advice:
    """Return the advice for a training.

    Args:
        record: Record of the run.
        run: Its folder, for the commands.
    """
    package = f"{run.name}.partsight"
    findings = findings_of(record, run, package)
    level = worst(findings)
    parts = counted(len(record.labels), "part")
    sentences = {
        "good": f"partsight tells {parts} apart: export the package and try it on the line.",
        "care": f"partsight tells most of {parts} apart. Some points need your attention before a line relies on it.",
        "bad": f"partsight does not yet tell {parts} apart well enough for a line.",
    }
    export = Task(
        "Make the package for the line. The report in it says how to fit it to the line.",
        f"partsight export {shown(run)} --out {shown(package)}",
    )
    sentence = sentences[level] if len(record.labels) > 1 else f"partsight learnt one part; the training is {level}."
    verdict = Verdict(level, _WORDS[level], sentence, tuple(item.reason for item in findings))
    return Advice(verdict, (*tasks_of(findings), *([export] if level != "bad" else [])))


def findings_of(record: RunRecord, run: Path, package: str) -> tuple[Finding, ...]:
    """Return the findings of a training, the worst first.

    Args:
        record: Record of the run.
        run: Its folder, for the commands.
        package: Path of the package, for the commands.
    """
    found = [_network(record, run), _answers(record), *_unknown(record, package), *_twins(record), *_alike(record)]
    found += _weak(record)
    return tuple(sorted(found, key=lambda item: -_LEVELS.index(item.level)))


def worst(findings: Sequence[Finding]) -> Level:
    """Return the worst level."""
    return max((item.level for item in findings), key=_LEVELS.index)


def tasks_of(findings: Sequence[Finding]) -> tuple[Task, ...]:
    """Return the remedies, each once."""
    return tuple(dict.fromkeys(item.task for item in findings if item.task))


def shown(path: str | Path) -> str:
    """Return a path as a shell takes it, on Linux and Windows."""
    return f'"{path}"' if " " in str(path) else str(path)


def fitted(package: str) -> str:
    """Return the path that the commands propose for a package that was fitted to its line."""
    return f"{package.removesuffix('.partsight')}_fitted.partsight"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, such as "1 part" or "1,424 parts"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def is_weak(part: WeakPart) -> bool:
    """Whether a part needs attention: a wrong answer, or many failed frames."""
    return part.wrong > 0 or part.failed >= max(_MIN_FAILED, _WEAK * part.frames)


def _network(record: RunRecord, run: Path) -> Finding:
    right = round(record.golden_accuracy * len(record.labels))
    reason = f"The network recognises {right:,} of {counted(len(record.labels), 'golden image')}."
    if record.reached:
        return Finding("good", reason)
    if record.config.budget == "quick":
        command = f"partsight train {shown(record.catalog)} --budget full --out {shown(f'{run}-full')}"
        task = Task("Train the end of the network as well.", command)
    else:
        task = Task("Give the network better images: see the golden images that it mistakes, and its look-alikes.")
    target = f"The target is {record.config.target_accuracy:.0%}."
    return Finding("bad", f"{reason} {target} Training: {record.outcome}.", task)


def _answers(record: RunRecord) -> Finding:
    found = record.calibration
    total = found.matched_decision.samples
    right, wrong = (round(share * total) for share in (found.expected_right, found.expected_wrong))
    lost = 1 - found.expected_right - record.config.max_false_reject
    level: Level = "bad" if lost >= MAX_LOST_WITH_CARE or wilson(wrong, total).low >= MAX_WRONG else "good"
    if level == "good" and (wrong or lost >= MAX_LOST):
        level = "care"
    reason = (
        f"Of {counted(total, 'simulated frame')}, {right:,} got the right part, {wrong or 'none'} a wrong part and "
        f"{total - right - wrong or 'none'} no label."
    )
    return Finding(level, reason)


def _unknown(record: RunRecord, package: str) -> Iterator[Finding]:
    accepted = record.calibration.matched_decision.expected_false_accept
    task = Task(
        "Collect frames of parts that the package does not know in a folder, for the commissioning.",
        f"partsight commission {shown(package)} frames --unknown FOLDER --out {shown(fitted(package))}",
    )
    if accepted is None:
        yield Finding("care", "With a single part there is no estimate for unknown parts.", task)
    elif accepted > MAX_FALSE_ACCEPT:
        yield Finding("care", f"Of parts that are unknown and resemble taught ones, {accepted:.0%} get a label.", task)


def _twins(record: RunRecord) -> Iterator[Finding]:
    task = Task(
        "Of two names for the same part, keep one. If they are two parts, take images that show the difference."
    )
    for first, second in record.twins[:_MAX_NAMED]:
        yield Finding("care", f"{first} and {second} have nearly the same golden image.", task)


def _alike(record: RunRecord) -> Iterator[Finding]:
    task = Task("Take images of the look-alikes from a side, or in a light, that shows the difference.")
    labels, twins = record.labels, {frozenset(pair) for pair in record.twins}
    for pair in record.look_alikes[:_MAX_NAMED]:
        names = (labels[pair.first], labels[pair.second])
        if pair.agreement >= ALIKE and frozenset(names) not in twins:
            yield Finding("care", f"{names[0]} and {names[1]} look alike (agreement {pair.agreement:.2f} of 1).", task)


def _weak(record: RunRecord) -> Iterator[Finding]:
    task = Task("Put a second image of each weak part, as the line sees it, into the part's folder, and train again.")
    weak = [part for part in weakest_parts(record.varied) if is_weak(part)]
    for part in weak[:_MAX_NAMED]:
        yield Finding(
            "care", f"{record.labels[part.part]} is weak: {part.failed} of {part.frames} simulated frames failed.", task
        )
    if len(weak) > _MAX_NAMED:
        yield Finding("care", f"{len(weak) - _MAX_NAMED} more parts are weak; the table names them.", task)
