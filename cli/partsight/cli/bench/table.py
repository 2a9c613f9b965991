"""The table: facts and verdict of a benchmark as text for a terminal, and as Markdown."""

from collections.abc import Sequence

from partsight.cli.bench.facts import CAMERA_FPS, BenchFacts, Speed
from partsight.cli.bench.verdict import BenchVerdict, agrees, milliseconds, stages_of, where

_BAR_WIDTH = 30

HEAD = ("provider", "precision", "batch", "frames/s", f"{CAMERA_FPS}-fps cameras", "network alone", "labels as fp32")


def to_text(facts: BenchFacts, verdict: BenchVerdict) -> str:
    """Return the text for a terminal."""
    rows = [cells(facts, speed) for speed in by_speed(facts)]
    widths = [max(len(row[column]) for row in (HEAD, *rows)) for column in range(len(HEAD))]
    lines = [
        what_was_measured(facts),
        "",
        *("  ".join(_aligned(row, widths)).rstrip() for row in (HEAD, *rows)),
        *_unavailable(facts, "  ", "\ndoes not work here (run `partsight doctor`; it shows how to fix it)"),
    ]
    if facts.stages and facts.chosen:
        lines += ["", f"the time of a frame ({where(facts.chosen)})", *_stage_lines(facts)]
    lines += ["", verdict.headline, *(f"  {sentence}" for sentence in (*verdict.sentences, *verdict.warnings))]
    if verdict.command:
        lines += ["", "to use it", f"  {verdict.command}", f"  {verdict.code}"]
    return "\n".join(lines)


def to_markdown(facts: BenchFacts, verdict: BenchVerdict) -> str:
    """Return the same as Markdown."""
    rows = [cells(facts, speed) for speed in by_speed(facts)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (HEAD, ("---",) * len(HEAD), *rows))
    parts = [
        f"**{verdict.headline}**",
        "\n".join(f"- {sentence}" for sentence in (*verdict.sentences, *verdict.warnings)),
    ]
    if verdict.command:
        parts.append(f"```\n{verdict.command}\n```\n\n```python\n{verdict.code}\n```")
    parts += [table, "\n".join(_unavailable(facts, "- ", "Does not work here:\n"))]
    if facts.stages and facts.chosen:
        stages = "\n".join(
            f"| {stage.name} | {milliseconds(stage.ms)} | {stage.percent}% |" for stage in stages_of(facts)
        )
        parts.append(f"| the time of a frame ({where(facts.chosen)}) | | |\n| --- | --- | --- |\n{stages}")
    parts.append(what_was_measured(facts))
    return "\n\n".join(filter(None, parts)) + "\n"


def by_speed(facts: BenchFacts) -> list[Speed]:
    """Return the speeds, fastest first."""
    return sorted(facts.speeds, key=lambda speed: -speed.frames_per_s)


def cells(facts: BenchFacts, speed: Speed) -> tuple[str, ...]:
    """Return a row of the table; `HEAD` names its columns."""
    alone = "–" if speed.network_frames_per_s is None else f"{speed.network_frames_per_s:,.1f}"
    figures = (str(speed.batch), f"{speed.frames_per_s:,.1f}", f"{speed.cameras:,}", alone)
    return (speed.provider, speed.precision, *figures, _label_text(facts, speed))


def what_was_measured(facts: BenchFacts) -> str:
    """Return package, machine, frames and method in a few lines."""
    setting, frames = facts.setting, facts.frames
    versions = ", ".join(f"{name} {version}" for name, version in setting.versions.items())
    drifts = ", ".join(
        f"{item.configuration} {item.mean_score_drift:.1g} (at most {item.max_score_drift:.1g})"
        for item in facts.labels
    )
    lines = [
        f"{setting.package}: {setting.parts:,} parts, {setting.backbone}, package {setting.package_id}",
        f"{setting.processor}, {setting.cores} cores for this process; {versions}",
        f"{frames.different} {frames.source}, {frames.width}×{frames.height} px; medians of {facts.rounds} rounds, in "
        "which all configurations take turns",
    ]
    return "\n".join([*lines, f"mean drift of scores against {facts.baseline}: {drifts}"] if drifts else lines)


def _label_text(facts: BenchFacts, speed: Speed) -> str:
    """Return the share of frames with the baseline's label, in few words."""
    labels = facts.labels_of(speed.configuration)
    if labels is None:
        return "baseline" if speed.configuration == facts.baseline else "not compared"
    text = f"{labels.equal:,} of {labels.frames:,}"
    return text if agrees(labels) else f"{text}: NO"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        text.rjust(width) if 2 <= column < len(HEAD) - 1 else text.ljust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]


def _unavailable(facts: BenchFacts, indent: str, title: str) -> list[str]:
    lines = [f"{indent}{item.provider} ({', '.join(item.precisions)}): {item.reason}" for item in facts.absent]
    return [title, *lines] if lines else []


def _stage_lines(facts: BenchFacts) -> list[str]:
    stages = stages_of(facts)
    total = sum(stage.ms for stage in stages)
    lines = [
        f"  {stage.name:<14}{milliseconds(stage.ms):>8}{stage.percent:>5}%  "
        f"{'█' * round(_BAR_WIDTH * stage.percent / 100)}".rstrip()
        for stage in stages
    ]
    return [*lines, f"  {'total':<14}{milliseconds(total):>8}  100%"]
