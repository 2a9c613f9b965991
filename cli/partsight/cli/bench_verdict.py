"""The verdict: what the facts of a benchmark mean, in words that a buyer understands."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from partsight.cli.bench_facts import CAMERA_FPS, Facts, Labels, Speed, Way

MIN_AGREEMENT = 0.999
"""Share of frames that must get the baseline's label for a configuration to be recommended."""

_FEW_LATE = 0.01  # share of frames; that many come late once in a while on any machine
_TOO_MANY_LATE = "let nothing else run on this machine and measure again, or plan with fewer cameras"
_UNSTEADY = 0.75  # of the median: a round that is slower still was disturbed
_CLEARLY = 1.05  # from this ratio of speeds on, one is called faster than the other


@dataclass(frozen=True)
class Verdict:
    """What to tell people.

    Attributes:
        headline: how fast, and how many cameras that is.
        sentences: what else matters, most important first.
        warnings: what must not be used, and why.
        command: `partsight run` with the options of the fastest configuration; empty if none can be recommended.
        code: the same for Python.
    """

    headline: str
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]
    command: str = ""
    code: str = ""


def choose(speeds: Iterable[Speed], labels: Iterable[Labels], baseline: Way) -> Speed | None:
    """Return the fastest configuration whose labels agree with the baseline's; None if there is none.

    Of those that are hardly slower, the baseline itself is taken first, then fp32: a lower precision must be worth it.
    """
    ways = {item.way for item in labels if agrees(item)} | {baseline}
    trusted = [speed for speed in speeds if speed.way in ways]
    fastest = max((speed.frames_per_s for speed in trusted), default=0.0)
    return min(
        (speed for speed in trusted if speed.frames_per_s * _CLEARLY > fastest),
        key=lambda speed: (speed.way != baseline, speed.precision != "fp32", -speed.frames_per_s),
        default=None,
    )


def judge(facts: Facts) -> Verdict:
    """Put the facts into words."""
    name, chosen = PurePath(facts.setting.package).name, facts.chosen
    if chosen is None:
        return Verdict(
            f"No configuration of {name} that was measured can be recommended on this machine: "
            "each gives other labels than fp32.",
            (f"The labels of {facts.baseline} are the measure: let --provider and --precision take it in.",),
            _warnings(facts),
        )
    sentences = (
        _single(facts),
        _pace(facts),
        _limit(facts, chosen),
        *_queue(facts),
        _gain(facts, chosen),
        _labels(facts, chosen),
    )
    said = [sentence for sentence in sentences if sentence]
    if facts.start:
        memory = "" if facts.start.peak_mb is None else f" and holds at most {facts.start.peak_mb:.0f} MB of memory"
        said.append(f"A new process gives its first answer after {facts.start.first_answer_s:.1f} s{memory}.")
    return Verdict(
        f"On this machine {name} recognises {rate(chosen.frames_per_s)} frames a second ({describe(chosen)}): "
        f"{cameras(chosen)}.",
        tuple(said),
        _warnings(facts),
        f"partsight run {_quoted(facts.setting.package)} --camera folder:photos --provider {chosen.provider} "
        f"--precision {chosen.precision} --batch {chosen.batch}",
        f"Recognizer({facts.setting.package!r}, provider={chosen.provider!r}, precision={chosen.precision!r}, "
        f"batch_size={chosen.batch})".replace("'", '"'),
    )


def rate(frames_per_s: float) -> str:
    """Return frames a second as people read them, never rounded up to more than was measured."""
    return f"{int(frames_per_s):,}" if frames_per_s >= 10 else f"{int(frames_per_s * 10) / 10:.1f}"


def milliseconds(value: float) -> str:
    """Return milliseconds as people read them."""
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms" if value >= 0.1 else f"{value:.2f} ms"


def describe(speed: Speed) -> str:
    """Return a configuration in words."""
    batch = "frame by frame" if speed.batch == 1 else f"batches of {speed.batch}"
    return f"{speed.provider}, {speed.precision}, {batch}"


def cameras(speed: Speed) -> str:
    """Return how many cameras a configuration keeps up with, in words."""
    if speed.cameras == 0:
        return f"less than one camera at {CAMERA_FPS} fps"
    return f"{speed.cameras:,} camera{'s' if speed.cameras > 1 else ''} at {CAMERA_FPS} fps"


def agrees(labels: Labels) -> bool:
    """Say whether a way gives the baseline's labels."""
    return labels.share >= MIN_AGREEMENT


def is_trusted(facts: Facts, speed: Speed) -> bool:
    """Say whether a configuration is the baseline's way, or gives its labels."""
    labels = facts.labels_of(speed.way)
    return speed.way == facts.baseline if labels is None else agrees(labels)


def _single(facts: Facts) -> str:
    single = facts.single
    if single is None:
        return ""
    return (
        f"A frame that is answered alone takes {milliseconds(single.p50_ms)} from frame to label (median of "
        f"{single.frames:,}; p99 {milliseconds(single.p99_ms)})."
    )


def _pace(facts: Facts) -> str:
    pace = facts.pace
    if pace is None:
        return ""
    late = "none" if pace.late == 0 else f"{pace.late:,}"
    too_many = "" if pace.late <= _FEW_LATE * pace.frames else f" That is too many: {_TOO_MANY_LATE}."
    return (
        f"With {rate(pace.frames_per_s)} frames a second coming for {pace.seconds:.0f} s, half of the answers were "
        f"there within {milliseconds(pace.p50_ms)} of the frame's arrival and 99 of 100 within "
        f"{milliseconds(pace.p99_ms)}, waiting included; {late} of {pace.frames:,} came later than "
        f"{milliseconds(pace.late_ms)}.{too_many}"
    )


def stages_of(facts: Facts) -> list[tuple[str, float, int]]:
    """Return name, milliseconds and percentage of each stage of a frame; none if they were not measured.

    The milliseconds add up to the time of a frame in the chosen configuration: a second by its frames a second.
    The percentages add up to 100.
    """
    stages, chosen = facts.stages, facts.chosen
    if stages is None or chosen is None:
        return []
    shares = (stages.preprocessing, stages.network, stages.comparison)
    names = ("preprocessing", "network", "comparison" if facts.setting.compares else "decision")
    percentages = [math.floor(100 * share) for share in shares]
    by_rest = sorted(range(len(shares)), key=lambda index: percentages[index] - 100 * shares[index])
    for index in by_rest[: 100 - sum(percentages)]:
        percentages[index] += 1
    return [
        (name, 1000 * share / chosen.frames_per_s, percentage)
        for name, share, percentage in zip(names, shares, percentages, strict=True)
    ]


def where(chosen: Speed) -> str:
    """Return of what the stages are, in words."""
    return f"{describe(chosen)}: {milliseconds(1000 / chosen.frames_per_s)} a frame"


def _limit(facts: Facts, chosen: Speed) -> str:
    stages = stages_of(facts)
    if not stages:
        return ""
    slowest = max(stages, key=lambda stage: stage[1])[0]
    parts = ", ".join(f"{name} {percentage}%" for name, _, percentage in stages)
    name = "comparison with golden images" if slowest == "comparison" else slowest
    said = f"What limits it is the {name}. The time of a frame ({where(chosen)}): {parts}."
    alone = chosen.network_frames_per_s
    if alone is None:
        return f"{said} The package brings no golden images to compare frames with."
    if slowest != "comparison" or alone < _CLEARLY * chosen.frames_per_s:
        return said
    return (
        f"{said} The network alone (verify=False) would answer {rate(alone)} frames a second, but it mistakes similar "
        "parts for each other more often."
    )


def _queue(facts: Facts) -> Iterator[str]:
    queue = facts.queue
    if queue is None:
        return
    overlapping = queue.overlapped_frames_per_s / queue.apart_frames_per_s
    if overlapping >= _CLEARLY:
        yield (
            f"Frames that wait for their turn (--policy queue or block) go {overlapping:.1f} times as fast, since "
            "batches overlap."
        )


def _gain(facts: Facts, chosen: Speed) -> str:
    others = [speed for speed in facts.speeds if speed.way == Way("cpu", "fp32") != chosen.way]
    if not others:
        return ""
    default = max(others, key=lambda speed: speed.frames_per_s)
    ratio = chosen.frames_per_s / default.frames_per_s
    if ratio < _CLEARLY:
        return ""
    return f"That is {ratio:.1f} times the speed of the default ({describe(default)})."


def _labels(facts: Facts, chosen: Speed) -> str:
    labels = facts.labels_of(chosen.way)
    if labels is None:
        return ""
    return f"Its labels are those of fp32 for {labels.equal:,} of {labels.frames:,} frames."


def _warnings(facts: Facts) -> tuple[str, ...]:
    wrong = tuple(
        f"Not recommended: {labels.way} answers {labels.frames - labels.equal:,} of {labels.frames:,} frames otherwise "
        f"than fp32 ({labels.other_part:,} as another part, {labels.frames - labels.equal - labels.other_part:,} "
        f"unknown to one of the two){_its_speed(facts.speeds, labels.way)}."
        for labels in facts.labels
        if not agrees(labels)
    )
    cause = _disturbance(facts)
    if not cause:
        return wrong
    advice = "Let nothing else run on this machine and measure again, for longer (--seconds)."
    return (*wrong, f"These figures are rough: {cause}. {advice}")


def _disturbance(facts: Facts) -> str:
    """Return what shows that the machine had other work meanwhile; empty if nothing does."""
    chosen, single = facts.chosen, facts.single
    if chosen is None:
        return ""
    if chosen.slowest_frames_per_s < _UNSTEADY * chosen.frames_per_s:
        return f"in one round it was only {rate(chosen.slowest_frames_per_s)} frames a second"
    frame_ms = 1000 / chosen.frames_per_s
    if single is not None and single.p50_ms < _UNSTEADY * frame_ms:  # else batches would not have been chosen
        before = f"a moment before {milliseconds(frame_ms)} ({describe(chosen)})"
        return f"a frame alone took {milliseconds(single.p50_ms)}, {before}"
    return ""


def _its_speed(speeds: Sequence[Speed], way: Way) -> str:
    fastest = max((speed.frames_per_s for speed in speeds if speed.way == way), default=None)
    return "" if fastest is None else f", at {rate(fastest)} frames a second"


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path
