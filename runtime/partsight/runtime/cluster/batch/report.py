"""The report of a comparison: one HTML file, the verdict first, with pictures of changed frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from partsight.runtime.cluster.batch.comparison import ChangedFrame, Comparison
from partsight.runtime.cluster.batch.rows import Change
from partsight.runtime.cluster.batch.verdict import ComparedPackage, judge_comparison, list_tasks, share
from partsight.runtime.cluster.batch.why import ExplainedChange, share_bar
from partsight.runtime.core import Picture, ReportPage, Section, Table, Verdict, write_file
from partsight.runtime.recognition import draw_explanation

_MAX_ROWS = 30
_MAX_EXPLAINED = 8  # frames with large pictures; each takes about 0.5 MB

_KINDS: tuple[tuple[Change, str], ...] = (
    ("same", "same answer"),
    ("other_label", "another label"),
    ("label_lost", "label → unknown"),
    ("label_gained", "unknown → label"),
)


@dataclass(frozen=True)
class ReportFacts:
    """What the report shows.

    Attributes:
        comparison: The comparison.
        explained: Explanations of sampled changes.
        old, new: The packages.
        source: Source of the frames.
        changes: CSV file of the changed frames.
    """

    comparison: Comparison
    explained: Sequence[ExplainedChange]
    old: ComparedPackage
    new: ComparedPackage
    source: Path
    changes: Path

    @property
    def verdict(self) -> Verdict:
        """Main point."""
        return judge_comparison(self.comparison, self.old, self.new)


def write_report(path: Path, facts: ReportFacts) -> None:
    """Write the report as an HTML file.

    Raises:
        OutputError: The file cannot be written.
    """
    done = facts.comparison
    sections = (
        _answers(done),
        _changed_frames(facts),
        _pairs(done),
        _parts(done, facts.changes),
        *_explanations(facts),
        _packages(facts),
    )
    page = ReportPage(
        title=f"{facts.new.path.name} compared with {facts.old.path.name}",
        verdict=facts.verdict,
        tasks=list_tasks(done, facts.changes, facts.source, facts.new),
        sections=tuple(section for section in sections if section is not None),
    )
    write_file(path, page.to_html().encode())


def _answers(done: Comparison) -> Section:
    rows = [(name, f"{done.counts[kind]:,}", share(done.counts[kind], done.compared)) for kind, name in _KINDS]
    return Section(
        "Answers",
        f"Both packages answered {done.compared:,} frames, each from the same pixels.",
        table=Table(("old package → new package", "frames", "share"), tuple(rows)),
        pictures=(Picture.encoded("", share_bar(done)),) if done.compared else (),
    )


def _changed_frames(facts: ReportFacts) -> Section | None:
    if not facts.explained:
        return None
    cards = [
        Picture.encoded(_change(item.frame), *item.pictures, note=f"{_scores(item.frame)} · {_short(item.frame)}")
        for item in facts.explained
    ]
    return Section(
        "Changed frames at a glance",
        "In the middle the frame, left the best golden image by the old package, right by the new one. First the "
        "clearest changes of each pair of labels: those far above their thresholds.",
        cards=tuple(cards),
        note=_rest(facts.comparison.changed, len(cards), "frames", facts.changes),
    )


def _pairs(done: Comparison) -> Section | None:
    if not done.pairs:
        return None
    ranked = sorted(done.pairs.items(), key=lambda item: (-item[1], item[0][0] or "", item[0][1] or ""))
    rows = [(old or "unknown", new or "unknown", f"{count:,}") for (old, new), count in ranked[:_MAX_ROWS]]
    return Section(
        "Most frequent changes",
        table=Table(("old label", "new label", "frames"), tuple(rows)),
        note=f"And {len(ranked) - _MAX_ROWS:,} more pairs." if len(ranked) > _MAX_ROWS else "",
    )


def _parts(done: Comparison, changes: Path) -> Section | None:
    ranked = sorted(
        (part for part in done.parts.values() if part.changed), key=lambda part: (-part.changed, part.label)
    )
    if not ranked:
        return None
    rows = [
        tuple(
            [part.label]
            + [
                f"{count:,}" if count else "–"
                for count in (part.before, part.now, part.to_other, part.to_none, part.from_other, part.from_none)
            ]
        )
        for part in ranked[:_MAX_ROWS]
    ]
    head = ("part", "frames before", "now", "→ another", "→ unknown", "from another", "from unknown")
    return Section(
        "By part",
        f"{len(done.parts) - len(ranked):,} of {len(done.parts):,} parts that have frames get the same answers.",
        table=Table(head, tuple(rows)),
        note=_rest(len(ranked), len(rows), "parts", changes),
    )


def _explanations(facts: ReportFacts) -> Iterator[Section]:
    for item in _in_turn(facts.explained):
        old = Picture.encoded(f"Before, by {facts.old.path.name}", draw_explanation(item.old))
        new = Picture.encoded(f"Now, by {facts.new.path.name}", draw_explanation(item.new))
        yield Section(f"Why: {_change(item.frame)}", item.frame.source, pictures=(old, new))


def _packages(facts: ReportFacts) -> Section:
    rows = []
    for name, package in (("old package", facts.old), ("new package", facts.new)):
        text = f"{package.path}: {package.package_id}, {len(package.labels):,} parts, of {package.created[:10]}"
        rows.append((name, text))
    return Section("Packages and frames", rows=(*rows, ("frames", str(facts.source)), ("changes", facts.changes.name)))


def _in_turn(explained: Sequence[ExplainedChange]) -> list[ExplainedChange]:
    """Return the changes with large pictures: those of each kind in turn."""
    kinds: dict[str, int] = {}
    ranked = list[tuple[int, int, ExplainedChange]]()
    for item in explained:
        rank = kinds[item.frame.change] = kinds.get(item.frame.change, -1) + 1
        ranked.append((rank, len(ranked), item))
    chosen = sorted(ranked, key=lambda each: each[:2])[:_MAX_EXPLAINED]
    return [item for _, _, item in sorted(chosen, key=lambda each: each[1])]


def _change(frame: ChangedFrame) -> str:
    return f"{frame.old_label or 'unknown'} → {frame.label or 'unknown'}"


def _scores(frame: ChangedFrame) -> str:
    return f"score {frame.old_score:.2f} → {frame.score:.2f}"


def _short(frame: ChangedFrame) -> str:
    return "/".join(frame.source.split("/")[-2:])


def _rest(total: int, shown: int, things: str, changes: Path) -> str:
    return f"The {shown:,} of {total:,} {things} that say most; {changes.name} has all." if total > shown else ""
