"""Sections of the report about parts: weak ones, failed frames, look-alikes."""

from collections import Counter
from collections.abc import Iterable, Sequence

from partsight.runtime.core import Picture, Section, Table
from partsight.train.advice import counted, is_weak
from partsight.train.pictures import RunPictures, pair_name
from partsight.train.records import LookAlike, VariedFrame
from partsight.train.run_folder import RunRecord
from partsight.train.weak_parts import WeakPart, weakest_parts

_MAX_WEAK = 15
_MAX_NAMED = 30


def weak_parts(record: RunRecord) -> list[Section]:
    """Return the section with the weakest parts; no section for a run of an earlier partsight."""
    if not record.varied:
        return []
    parts = weakest_parts(record.varied)
    weak = sum(map(is_weak, parts))
    named = f"{counted(weak, 'part')} need{'s' if weak == 1 else ''} attention" if weak else "No part needs attention"
    head = ("part", "frames", "no label", "wrong", "lowest agreement", "lowest margin", "nearest part (agreement)")
    return [
        Section(
            "Which parts are weak?",
            f"{named}. The table shows the weakest of {len(parts):,} parts: by wrong answers, by frames without a "
            "label, then by the lowest margin, the lead over the second part. Agreement and margin go from 0 to 1. A "
            f"frame needs an agreement of {record.calibration.matched_decision.threshold:.3f}, and a margin of "
            f"{record.calibration.matching.least_margin:.0%} of its agreement.",
            table=Table(head, tuple(_weak_row(part, record.labels) for part in parts[:_MAX_WEAK])),
            note=_sample_note(record),
        )
    ]


def _weak_row(part: WeakPart, labels: Sequence[str]) -> tuple[str, ...]:
    nearest = f"{labels[part.nearest]} ({part.nearest_agreement:.2f})" if part.nearest_agreement else "none fits at all"
    return (
        labels[part.part],
        str(part.frames),
        str(part.unknown),
        str(part.wrong),
        f"{part.lowest_agreement:.2f}",
        f"{part.lowest_margin:.2f}",
        nearest,
    )


def _sample_note(record: RunRecord) -> str:
    left = len(record.labels) - len({frame.part for frame in record.varied})
    if left:
        return f"Training varied no golden image of {counted(left, 'part')}, which the table cannot name."
    return ""


def failed_frames(record: RunRecord, pictures: RunPictures) -> list[Section]:
    """Return the section with the frames that got no label or a wrong one."""
    if not record.varied:
        return []
    failed = [index for index, frame in enumerate(record.varied) if frame.answer != "right"]
    title = "Which simulated frames failed?"
    if not failed:
        return [Section(title, f"None of {len(record.varied):,}, so there is no picture here.")]
    failed.sort(key=lambda index: record.varied[index].answer != "wrong")
    cards = [card for index in failed for card in _failed_card(record, index, pictures)]
    text = (
        f"{len(failed):,} of {len(record.varied):,} failed; {len(cards)} are shown, wrong answers first. Left: the "
        "golden image of the part. Next: the frame, laid over it in the same light; the ring marks where they differ "
        "most. If another part fits better, its golden image follows."
    )
    return [Section(title, text, cards=tuple(cards))]


def _failed_card(record: RunRecord, index: int, pictures: RunPictures) -> list[Picture]:
    frame = record.varied[index]
    paths = pictures.failed(index, frame)
    return [Picture.read(record.labels[frame.part], *paths, note=_failed_note(record, frame))] if paths else []


def _failed_note(record: RunRecord, frame: VariedFrame) -> str:
    threshold = record.calibration.matched_decision.threshold
    best = record.labels[frame.best]
    if frame.answer == "wrong":
        return f"Wrong: answered {best} (agreement {frame.agreement:.2f})."
    if frame.agreement >= threshold:
        return f"No label: two parts fit, {best} best (margin {frame.margin:.3f})."
    return f"No label: agrees with none, {best} best ({frame.agreement:.3f}, needs {threshold:.3f})."


def several_references(labels: Iterable[str]) -> list[Section]:
    """Return the section with the parts that have several references; no section if there is none.

    Args:
        labels: Label of each further reference.
    """
    counts = Counter(labels)
    if not counts:
        return []
    rows = tuple((label, f"{1 + count} images") for label, count in sorted(counts.items()))
    return [
        Section(
            "Which parts have several references?",
            "partsight compares a frame with each image of these parts, and the best agreement counts.",
            rows=rows[:_MAX_NAMED],
            note=f"{len(rows) - _MAX_NAMED:,} more parts have several." if len(rows) > _MAX_NAMED else "",
        )
    ]


def look_alikes(record: RunRecord, pictures: RunPictures) -> list[Section]:
    """Return the section with the parts that look most alike; no section with a single part."""
    if len(record.labels) == 1:
        return []
    shown = [
        picture
        for number, pair in enumerate(record.look_alikes)
        for picture in pictures.of(pair_name(number), f"{record.labels[pair.first]} and {record.labels[pair.second]}.")
    ]
    head = ("part", "part", "agreement", "spot", "difference there, in tolerances", "distortion, %")
    rows = tuple(_pair_row(pair, record.labels) for pair in record.look_alikes)
    text = (
        "partsight laid their golden images over each other. An agreement of 1 means equal; from 0.5 on, noise and "
        "light explain all differences. The ring marks the spot that tells the two apart. If it can be hidden or dirty "
        "on the line, change the view. The agreement also falls with the distortion that lays one over the other."
    )
    return [
        Section(
            "Which parts look most alike?",
            f"{_likeness(record)} {text}",
            rows=tuple(("nearly equal images", f"{first} and {second}") for first, second in record.twins),
            table=Table(head, rows) if rows else None,
            pictures=tuple(shown),
        )
    ]


def _likeness(record: RunRecord) -> str:
    """Return how many pairs agree enough to be mistaken for each other."""
    threshold = record.calibration.matched_decision.threshold
    count = sum(pair.agreement >= threshold for pair in record.look_alikes)
    if not count:
        return f"No two golden images reach the threshold of {threshold:.3f}."
    return (
        f"{counted(count, 'pair')} of golden images reach the threshold of {threshold:.3f}, which "
        "each of the two needs: only the margin tells these parts apart."
    )


def _pair_row(pair: LookAlike, labels: Sequence[str]) -> tuple[str, ...]:
    return (
        labels[pair.first],
        labels[pair.second],
        f"{pair.agreement:.2f}",
        pair.where,
        f"{pair.tolerances:.1f}",
        f"{100 * pair.distortion:.1f}",
    )
