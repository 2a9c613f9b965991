"""The report of a commissioning: one HTML file in the package, the verdict first."""

from partsight.runtime.calibration.commissioning.commissioned import Commissioned, frames_for
from partsight.runtime.calibration.commissioning.line_answers import SeenFrames
from partsight.runtime.calibration.commissioning.pictures import MAX_PICTURES, spread_picture, why_pictures
from partsight.runtime.calibration.commissioning.verdict import percent
from partsight.runtime.core import Picture, ReportPage, Section, Table
from partsight.runtime.package import Decision

_MAX_ROWS, _MAX_NAMED = 40, 10
_STATEMENTS = (0.05, 0.02, 0.01, 0.005, 0.001)


def to_html(done: Commissioned, name: str, seen: SeenFrames) -> str:
    """Return the report.

    Args:
        done: Facts; its package is the new one, perhaps still under a temporary name.
        name: Name that the package will have.
        seen: Frames, in the order that `FailedFrame.index` counts.
    """
    sections = (
        _rates(done),
        _failed(done, seen),
        _weak_parts(done),
        _confusions(done),
        _references(done),
        _line(done),
        _statements(done),
        _used(done),
        _decision(done),
    )
    return ReportPage(
        title=f"Commissioning of {name}",
        verdict=done.verdict,
        tasks=done.tasks,
        sections=tuple(section for section in sections if section is not None),
    ).to_html()


def _rates(done: Commissioned) -> Section:
    rows = (
        ("Frames of its parts: right part first", "right_first"),
        ("Frames of its parts: no label", "refused"),
        ("Frames of its parts: another part's label", "wrong"),
        ("Frames whose part is not taught (each part left out): a label", "siblings"),
    )
    table = [(name, percent(getattr(done.before, field)), percent(getattr(done.after, field))) for name, field in rows]
    if done.before.unknown and done.after.unknown:
        table.append(("Frames of unknown parts: a label", percent(done.before.unknown), percent(done.after.unknown)))
    return Section(
        "Before and after",
        "The fit did not see the frames that it is judged on: each tenth of the parts is answered by a decision that "
        "the others give.",
        table=Table(("share of frames", "before", "after"), tuple(table)),
        note="In brackets: 19 of 20 times, as many new frames of this line will lie in this range.",
    )


def _failed(done: Commissioned, seen: SeenFrames) -> Section | None:
    if not done.failed:
        return None
    shown = min(MAX_PICTURES, len(done.failed))
    return Section(
        "Frames that fail",
        f"The new package gives {len(done.failed)} of these frames no label or a wrong one. The pictures show "
        f"{shown if shown < len(done.failed) else 'all'} of them.",
        pictures=why_pictures(done.package, seen, done.failed),
    )


def _weak_parts(done: Commissioned) -> Section | None:
    if not done.parts:
        return None
    rows = [
        (part.label, str(part.frames), str(part.refused), str(part.wrong), f"{part.agreement:.2f}")
        for part in done.parts[:_MAX_ROWS]
    ]
    return Section(
        "Parts that fit badly",
        table=Table(("part", "frames", "no label", "wrong label", "median agreement"), tuple(rows)),
        note=_more(len(done.parts)),
    )


def _confusions(done: Commissioned) -> Section | None:
    if not done.confusions:
        return None
    rows = [
        (item.label, item.other, f"{item.frames} of {item.of_frames}", str(item.accepted))
        for item in done.confusions[:_MAX_ROWS]
    ]
    return Section(
        "Parts that are mistaken for others",
        "If all frames of a part fit another part better, their label is wrong, or the golden image is.",
        table=Table(("frames show", "fit better", "frames", "that get its label"), tuple(rows)),
        note=_more(len(done.confusions)),
    )


def _references(done: Commissioned) -> Section | None:
    single = [part.label for part in done.parts if part.frames == 1]
    if not (done.trials or single):
        return None
    rows = [
        (
            trial.label,
            f"{trial.failed} of {trial.frames}",
            str(len(trial.added)),
            f"{trial.fixed} more frame{'s' if trial.fixed > 1 else ''} recognised" if trial.added else trial.reason,
        )
        for trial in done.trials[:_MAX_ROWS]
    ]
    names = f"{', '.join(single[:_MAX_NAMED])}{', …' if len(single) > _MAX_NAMED else ''}"
    return Section(
        "Further references",
        "A frame becomes a further reference only if it helps other frames of its part, and harms no frame of another.",
        table=Table(("part", "frames that fit badly", "added", "result"), tuple(rows)) if rows else None,
        note=f"{_more(len(done.trials))} {_no_trial(len(single), names)}".strip(),
    )


def _no_trial(count: int, names: str) -> str:
    if not count:
        return ""
    return f"No trial for {count} part{'s' if count > 1 else ''} with a single frame, which none could check: {names}."


def _line(done: Commissioned) -> Section:
    line = done.line
    unusual = [spread.name for spread in line.spreads if not spread.is_expected]
    text = (
        f"{line.frames:,} frames next to the golden images of their parts. Grey: the range that varied golden images "
        "covered in training. Bar: 98 % of the frames. Black mark: the middle, an offset that all parts share. Shifts "
        "are in percent of the longest side."
    )
    rows = [(spread.name, spread.describe()) for spread in line.spreads if spread.expected_low is None]
    return Section(
        "The line",
        text,
        tuple(rows),
        pictures=(Picture.encoded("Pose, light, noise and scale of the line", spread_picture(line.spreads)),),
        note=f"Beyond the expected range: {', '.join(unusual)}." if unusual else "All lie in the expected range.",
    )


def _statements(done: Commissioned) -> Section:
    hits, total = done.after.refused.hits, done.after.refused.total
    rows = [
        (f"at most {100 * share:g} % refused", f"{frames_for(share):,}", f"{frames_for(share, max(hits, 1)):,}")
        for share in _STATEMENTS
    ]
    return Section(
        "How many frames a statement needs",
        f"To say it with 95 % confidence. There are {total:,} frames with {hits} refused.",
        table=Table(("statement", "frames, none refused", f"frames, {max(hits, 1)} refused"), tuple(rows)),
        note="Frames of one part are alike: take few frames of many parts rather than many frames of few.",
    )


def _used(done: Commissioned) -> Section:
    used = done.used
    rows = [
        ("frames of taught parts", f"{used.taught:,} of {used.parts:,} parts: fit and rates"),
        ("frames of unknown parts", f"{used.unknown:,}: fit and rates"),
        ("frames that became references", f"{used.references:,}: not in the rates"),
        ("labels", "confirmed by a person" if used.is_confirmed else "found by the package: not confirmed"),
    ]
    if used.unfair:
        rows.append(("frames that the line kept because it was not sure", f"{used.unfair:,}: references, no rates"))
    if used.unclear:
        rows.append(("left out, part not clear", f"{used.unclear:,}"))
    faults = [(str(path), cause) for path, cause in list(used.faults.items())[:_MAX_ROWS]]
    return Section(
        "Frames",
        rows=tuple(rows),
        table=Table(("file left out", "cause"), tuple(faults)) if faults else None,
        note=_more(len(used.faults)),
    )


def _decision(done: Commissioned) -> Section:
    return Section(
        "Decision",
        "A frame gets the label of the best part if its agreement reaches a threshold.",
        (("before", _formula(done.decision_before)), ("after", _formula(done.decision))),
    )


def _formula(decision: Decision) -> str:
    parts = [f"{decision.threshold:.3f}"]
    parts += [f"{decision.by_margin:.3g} × margin"] if decision.by_margin else []
    parts += [f"{decision.by_network:.3g} × lead of the network"] if decision.by_network else []
    return f"agreement ≥ {' − '.join(parts)}"


def _more(count: int) -> str:
    return f"And {count - _MAX_ROWS} more." if count > _MAX_ROWS else ""
