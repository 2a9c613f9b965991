"""The page: a benchmark as one HTML file with its pictures inside, for a browser without internet."""

import html
import math
import re
from collections.abc import Sequence

from partsight.cli.bench_facts import CAMERA_FPS, Facts, Speed
from partsight.cli.bench_table import HEAD, by_speed, cells, what_was_measured
from partsight.cli.bench_verdict import Verdict, cameras, describe, is_trusted, milliseconds, rate, stages_of, where

_WIDTH_PX = 880
_NAMES_PX = 150  # left of the bars
_VALUES_PX = 150  # right of them
_ROW_PX = 34

_CHOSEN, _OTHER, _REFUSED, _NETWORK = "#0f766e", "#94a3b8", "#dc2626", "#e2e8f0"
_STAGE_COLOURS = {
    "preprocessing": "#f59e0b",
    "network": "#2563eb",
    "comparison": "#0f766e",
    "decision": "#64748b",
}

_STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #f1f5f9; color: #0f172a; }
body { font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 880px; margin: 0 auto; padding: 32px 24px 48px; }
h1 { font-size: 26px; line-height: 1.3; margin: 0 0 20px; }
h2 { font-size: 18px; margin: 0 0 4px; }
section { background: #fff; border-radius: 12px; padding: 20px 24px; margin-top: 16px; box-shadow: 0 1px 2px #0002; }
.cards { display: flex; flex-wrap: wrap; gap: 16px; }
.card { flex: 1 1 130px; background: #fff; border-radius: 12px; padding: 14px 18px; box-shadow: 0 1px 2px #0002; }
.card b { display: block; font-size: 30px; line-height: 1.2; color: #0f766e; }
.card span, .note { color: #475569; font-size: 14px; }
.note { margin: 0 0 12px; }
table + .note { margin: 14px 0 6px; }
.key { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin: 0 5px 0 14px; }
.key:first-child { margin-left: 0; }
ul { margin: 8px 0 0; padding-left: 20px; }
li { margin-bottom: 4px; }
.warning { color: #b91c1c; font-weight: 600; }
pre { background: #0f172a; color: #e2e8f0; border-radius: 8px; padding: 12px 16px; margin: 12px 0 0; font-size: 12.5px;
  white-space: pre-wrap; }
pre span { white-space: nowrap; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { padding: 6px 10px; text-align: left; border-bottom: 1px solid #e2e8f0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.chosen { background: #ccfbf1; font-weight: 600; }
tr.refused { color: #b91c1c; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 13px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; fill: #0f172a; }
svg text.faint { fill: #64748b; font-size: 12px; }
svg text.light { fill: #fff; }
@media print { body { background: #fff; } section, .card { box-shadow: none; border: 1px solid #e2e8f0; } }
"""


def to_html(facts: Facts, verdict: Verdict) -> str:
    """Return the page."""
    name = html.escape(facts.setting.package)
    parts = [
        f"<h1>{html.escape(verdict.headline)}</h1>",
        _cards(facts),
        _section("What that means", "", _sentences(verdict)),
        _section("Frames a second, from frame to label", _speeds_note(facts), speed_bars(facts)),
    ]
    if facts.stages and facts.chosen:
        note = html.escape(where(facts.chosen))
        parts.append(_section("The time of a frame", note, stage_bar(stages_of(facts))))
    parts.append(_section("All figures", "", _table(facts) + _absences(facts)))
    lines = "<br>".join(map(html.escape, what_was_measured(facts).splitlines()))
    parts.append(_section("What was measured, and where", "", f'<p class="note">{lines}</p>'))
    body = "\n".join(filter(None, parts))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Speed of {name}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def speed_bars(facts: Facts) -> str:
    """Return an SVG of a bar for each configuration, fastest first, on a scale of cameras."""
    speeds = by_speed(facts)
    most = max(max(speed.frames_per_s, speed.network_frames_per_s or 0.0) for speed in speeds)
    scale = (_WIDTH_PX - _NAMES_PX - _VALUES_PX) / most
    height = _ROW_PX * len(speeds) + 30
    marks = [
        f'<line x1="{x:.1f}" y1="22" x2="{x:.1f}" y2="{height}" stroke="#cbd5e1" stroke-dasharray="3 4"/>'
        f'<text class="faint" x="{x:.1f}" y="14" text-anchor="middle">{count:,}</text>'
        for count in camera_marks(most)
        for x in (_NAMES_PX + count * CAMERA_FPS * scale,)
    ]
    axis = f'<text class="faint" x="{_NAMES_PX - 10}" y="14" text-anchor="end">cameras at {CAMERA_FPS} fps</text>'
    rows = [_speed_row(facts, speed, 28 + _ROW_PX * place, scale) for place, speed in enumerate(speeds)]
    return _svg(height, "Frames a second by configuration", [axis, *marks, *rows])


def stage_bar(stages: Sequence[tuple[str, float, int]]) -> str:
    """Return an SVG of one bar that is stacked of the stages of a frame, with a key below it."""
    total = sum(value for _, value, _ in stages)
    x, keys, shapes = 0.0, [], []
    for place, (name, value, share) in enumerate(stages):
        width, colour = _WIDTH_PX * value / total, _STAGE_COLOURS[name]
        shapes.append(f'<rect x="{x:.1f}" y="0" width="{width:.1f}" height="46" fill="{colour}"/>')
        if width > 80:
            middle = x + width / 2
            shapes.append(f'<text class="light" x="{middle:.1f}" y="28" text-anchor="middle">{name}</text>')
        left = place * _WIDTH_PX / 4
        keys.append(f'<rect x="{left:.0f}" y="62" width="12" height="12" rx="3" fill="{colour}"/>')
        keys.append(f'<text x="{left + 18:.0f}" y="73">{name} {milliseconds(value)} ({share}%)</text>')
        x += width
    return _svg(80, "Stages of a frame", [*shapes, *keys])


def camera_marks(most: float) -> list[int]:
    """Return the numbers of cameras to mark on a scale that ends at `most` frames a second: at most eight."""
    count = math.floor(most / CAMERA_FPS)
    step = next(step for power in range(12) for step in (10**power, 2 * 10**power, 5 * 10**power) if count <= 8 * step)
    return list(range(step, count + 1, step))


def _camera_word(count: int) -> str:
    return " camera" if count == 1 else " cameras"


def _speed_row(facts: Facts, speed: Speed, top: int, scale: float) -> str:
    middle, is_chosen = top + 17, speed == facts.chosen
    colour = _CHOSEN if is_chosen else _OTHER if is_trusted(facts, speed) else _REFUSED
    width = speed.frames_per_s * scale
    shapes = []
    if speed.network_frames_per_s is not None:
        alone = speed.network_frames_per_s * scale
        shapes.append(f'<rect x="{_NAMES_PX}" y="{top}" width="{alone:.1f}" height="24" rx="4" fill="{_NETWORK}"/>')
    shapes.append(f'<rect x="{_NAMES_PX}" y="{top}" width="{width:.1f}" height="24" rx="4" fill="{colour}"/>')
    weight = ' font-weight="700"' if is_chosen else ""
    name = f"{speed.provider} {speed.precision}, {'single' if speed.batch == 1 else f'by {speed.batch}'}"
    shapes.append(f'<text x="{_NAMES_PX - 10}" y="{middle}" text-anchor="end"{weight}>{html.escape(name)}</text>')
    said = f"{rate(speed.frames_per_s)}/s, {speed.cameras:,}{_camera_word(speed.cameras)}"
    said += "" if is_trusted(facts, speed) else ", other labels"
    shapes.append(f'<text x="{_NAMES_PX + width + 8:.1f}" y="{middle}"{weight}>{said}</text>')
    title = f"{describe(speed)}: {rate(speed.frames_per_s)} frames a second, {cameras(speed)}"
    return f"<g><title>{html.escape(title)}</title>{''.join(shapes)}</g>"


def _svg(height: float, title: str, shapes: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH_PX} {height:.0f}" role="img" aria-label="{html.escape(title)}" '
        f'xmlns="http://www.w3.org/2000/svg">\n{chr(10).join(shapes)}\n</svg>'
    )


def _section(title: str, note: str, body: str) -> str:
    said = f'\n<p class="note">{note}</p>' if note else ""
    return f"<section>\n<h2>{title}</h2>{said}\n{body}\n</section>"


def _cards(facts: Facts) -> str:
    chosen, cards = facts.chosen, []
    if chosen is None:
        return ""
    cards.append((rate(chosen.frames_per_s), f"frames a second ({describe(chosen)})"))
    cards.append((f"{chosen.cameras:,}", f"camera{'' if chosen.cameras == 1 else 's'} at {CAMERA_FPS} fps"))
    if facts.single:
        cards.append(
            (milliseconds(facts.single.p50_ms), f"to answer a frame alone (p99 {milliseconds(facts.single.p99_ms)})")
        )
    labels = facts.labels_of(chosen.way)
    if labels:
        cards.append((f"{labels.equal:,} of {labels.frames:,}", "frames get the label of fp32"))
    shown = "".join(f'<div class="card"><b>{value}</b><span>{html.escape(text)}</span></div>' for value, text in cards)
    return f'<div class="cards">{shown}</div>'


def _sentences(verdict: Verdict) -> str:
    items = [f"<li>{html.escape(sentence)}</li>" for sentence in verdict.sentences]
    items += [f'<li class="warning">{html.escape(warning)}</li>' for warning in verdict.warnings]
    # An option stays on one line with its value.
    words = re.sub(r"--\S+ \S+", r"<span>\g<0></span>", html.escape(verdict.command))
    command = f"<pre>{words}\n\n{html.escape(verdict.code)}</pre>" if verdict.command else ""
    return f"<ul>{''.join(items)}</ul>\n{command}"


def _speeds_note(facts: Facts) -> str:
    keys = [(_CHOSEN, "recommended"), (_OTHER, "same labels as fp32")]
    if any(not is_trusted(facts, speed) for speed in facts.speeds):
        keys.append((_REFUSED, "other labels than fp32: not recommended"))
    if facts.setting.compares:
        keys.append((_NETWORK, "the network alone, without golden images"))
    return "".join(f'<span class="key" style="background:{colour}"></span>{text}' for colour, text in keys)


def _table(facts: Facts) -> str:
    kinds = [' class="number"' if 2 <= column < len(HEAD) - 1 else "" for column in range(len(HEAD))]
    head = "".join(f"<th{kind}>{name}</th>" for kind, name in zip(kinds, HEAD, strict=True))
    rows = []
    for speed in by_speed(facts):
        row = "chosen" if speed == facts.chosen else "" if is_trusted(facts, speed) else "refused"
        line = "".join(
            f"<td{kind}>{html.escape(text)}</td>" for kind, text in zip(kinds, cells(facts, speed), strict=True)
        )
        rows.append(f'<tr class="{row}">{line}</tr>')
    return f"<table>\n<tr>{head}</tr>\n{chr(10).join(rows)}\n</table>"


def _absences(facts: Facts) -> str:
    items = [
        f"<li>{item.provider} ({', '.join(item.precisions)}): {html.escape(item.reason)}</li>" for item in facts.absent
    ]
    if not items:
        return ""
    return '\n<p class="note">Not to be had here; <code>partsight doctor</code> says how to mend it:</p>' + (
        f'<ul class="note">{"".join(items)}</ul>'
    )
