"""The verdict: the meaning of a benchmark's facts, in words that a buyer understands."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from partsight.cli.bench.facts import CAMERA_FPS, BenchFacts, Configuration, LabelAgreement, Speed

MIN_AGREEMENT = 0.999
"""Least share of frames with the baseline's label, for a configuration to be recommended."""

_MAX_OVERDUE = 0.01  # share of frames; any machine misses so many deadlines once in a while
_TOO_MANY_OVERDUE = "stop all other programs on this machine and measure again, or plan with fewer cameras"
_UNSTEADY = 0.75  # share of the median; a slower round was disturbed
_CLEARLY = 1.05  # ratio of speeds from which one counts as faster than the other


@dataclass(frozen=True)
class BenchVerdict:
    """The verdict in words.

    Attributes:
        headline: Speed, and the number of cameras that it is enough for.
        sentences: Other findings, the most important first.
        warnings: Configurations to avoid, and the reason; signs that the figures are rough.
        command: `partsight run` with the options of the fastest configuration; empty if none is recommended.
        code: Python code for the same configuration.
    """

    headline: str
    sentences: tuple[str, ...]
    warnings: tuple[str, ...]
    command: str = ""
    code: str = ""


@dataclass(frozen=True)
class StageTime:
    """Time of one stage of a frame, in milliseconds and in percent of the frame's time."""

    name: str
    ms: float
    percent: int


def choose(speeds: Iterable[Speed], labels: Iterable[LabelAgreement], baseline: Configuration) -> Speed | None:
    """Return the fastest configuration whose labels agree with the baseline's; None if there is none.

    If others are at most 5 % slower, the baseline comes first, then fp32: a lower precision must pay.
    """
    configurations = {item.configuration for item in labels if agrees(item)} | {baseline}
    trusted = [speed for speed in speeds if speed.configuration in configurations]
    fastest = max((speed.frames_per_s for speed in trusted), default=0.0)
    return min(
        (speed for speed in trusted if speed.frames_per_s * _CLEARLY > fastest),
        key=lambda speed: (speed.configuration != baseline, speed.precision != "fp32", -speed.frames_per_s),
        default=None,
    )


def judge(facts: BenchFacts) -> BenchVerdict:
    """Put the facts into words."""
    name, chosen = PurePath(facts.setting.package).name, facts.chosen
    if chosen is None:
        return BenchVerdict(
            f"No configuration of {name} can be recommended on this machine: each one that was measured gives other "
            "labels than fp32.",
            (f"The baseline is {facts.baseline}. Add it to --provider and --precision to measure it too.",),
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
    found = [sentence for sentence in sentences if sentence]
    if facts.start:
        memory = "" if facts.start.peak_mb is None else f" and holds at most {facts.start.peak_mb:.0f} MB of memory"
        found.append(f"A new process gives its first answer after {facts.start.first_answer_s:.1f} s{memory}.")
    return BenchVerdict(
        f"On this machine {name} recognises {rate(chosen.frames_per_s)} frames a second ({describe(chosen)}): "
        f"{cameras(chosen)}.",
        tuple(found),
        _warnings(facts),
        f"partsight run {_quoted(facts.setting.package)} --camera folder:photos --provider {chosen.provider} "
        f"--precision {chosen.precision} --batch {chosen.batch}",
        f"Recognizer({facts.setting.package!r}, provider={chosen.provider!r}, precision={chosen.precision!r}, "
        f"batch_size={chosen.batch})".replace("'", '"'),
    )


def rate(frames_per_s: float) -> str:
    """Return frames a second as text, rounded down."""
    return f"{int(frames_per_s):,}" if frames_per_s >= 10 else f"{int(frames_per_s * 10) / 10:.1f}"


def milliseconds(value: float) -> str:
    """Return milliseconds as text, with their unit."""
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms" if value >= 0.1 else f"{value:.2f} ms"


def describe(speed: Speed) -> str:
    """Return configuration and batch size in words."""
    batch = "frame by frame" if speed.batch == 1 else f"batches of {speed.batch}"
    return f"{speed.provider}, {speed.precision}, {batch}"


def cameras(speed: Speed) -> str:
    """Return the number of cameras that a speed is enough for, in words."""
    if speed.cameras == 0:
        return f"less than one camera at {CAMERA_FPS} fps"
    return f"{speed.cameras:,} camera{'s' if speed.cameras > 1 else ''} at {CAMERA_FPS} fps"


def agrees(labels: LabelAgreement) -> bool:
    """Whether a configuration gives the baseline's labels."""
    return labels.share >= MIN_AGREEMENT


def is_trusted(facts: BenchFacts, speed: Speed) -> bool:
    """Whether a speed belongs to the baseline, or to a configuration that gives its labels."""
    labels = facts.labels_of(speed.configuration)
    return speed.configuration == facts.baseline if labels is None else agrees(labels)


def _single(facts: BenchFacts) -> str:
    single = facts.single
    if single is None:
        return ""
    return (
        f"A single frame takes {milliseconds(single.p50_ms)} from frame to label (median of {single.frames:,}; p99 "
        f"{milliseconds(single.p99_ms)})."
    )


def _pace(facts: BenchFacts) -> str:
    pace = facts.pace
    if pace is None:
        return ""
    overdue = "none" if pace.overdue == 0 else f"{pace.overdue:,}"
    too_many = "" if pace.overdue <= _MAX_OVERDUE * pace.frames else f" That is too many: {_TOO_MANY_OVERDUE}."
    return (
        f"When {rate(pace.frames_per_s)} frames a second arrived for {pace.seconds:.0f} s, half of the answers came "
        f"within {milliseconds(pace.p50_ms)} of the frame's arrival and 99 of 100 within "
        f"{milliseconds(pace.p99_ms)}, waiting included; {overdue} of {pace.frames:,} came after the deadline of "
        f"{milliseconds(pace.deadline_ms)}.{too_many}"
    )


def stages_of(facts: BenchFacts) -> list[StageTime]:
    """Return the time of each stage of a frame; nothing if it was not measured.

    The milliseconds add up to the time of a frame: one second divided by the frames a second of the chosen
    configuration. The percentages add up to 100: the largest remainders are rounded up.
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
        StageTime(name, 1000 * share / chosen.frames_per_s, percentage)
        for name, share, percentage in zip(names, shares, percentages, strict=True)
    ]


def where(chosen: Speed) -> str:
    """Return the configuration and the whole time that the stages belong to, in words."""
    return f"{describe(chosen)}: {milliseconds(1000 / chosen.frames_per_s)} a frame"


def _limit(facts: BenchFacts, chosen: Speed) -> str:
    stages = stages_of(facts)
    if not stages:
        return ""
    slowest = max(stages, key=lambda stage: stage.ms).name
    parts = ", ".join(f"{stage.name} {stage.percent}%" for stage in stages)
    name = "comparison with golden images" if slowest == "comparison" else slowest
    sentence = f"The {name} limits the speed. Shares of a frame's time ({where(chosen)}): {parts}."
    alone = chosen.network_frames_per_s
    if alone is None:
        return f"{sentence} The package holds no golden images to compare frames with."
    if slowest != "comparison" or alone < _CLEARLY * chosen.frames_per_s:
        return sentence
    return (
        f"{sentence} The network alone (matching=False) answers {rate(alone)} frames a second, but it confuses similar "
        "parts more often."
    )


def _queue(facts: BenchFacts) -> Iterator[str]:
    queue = facts.queue
    if queue is None:
        return
    overlapping = queue.overlapped_frames_per_s / queue.apart_frames_per_s
    if overlapping >= _CLEARLY:
        yield (f"Batches of waiting frames (--policy queue or block) overlap: that is {overlapping:.1f} times as fast.")


def _gain(facts: BenchFacts, chosen: Speed) -> str:
    others = [
        speed for speed in facts.speeds if speed.configuration == Configuration("cpu", "fp32") != chosen.configuration
    ]
    if not others:
        return ""
    default = max(others, key=lambda speed: speed.frames_per_s)
    ratio = chosen.frames_per_s / default.frames_per_s
    if ratio < _CLEARLY:
        return ""
    return f"The speed is {ratio:.1f} times that of the default ({describe(default)})."


def _labels(facts: BenchFacts, chosen: Speed) -> str:
    labels = facts.labels_of(chosen.configuration)
    if labels is None:
        return ""
    return f"{labels.equal:,} of {labels.frames:,} frames get the same label as in fp32."


def _warnings(facts: BenchFacts) -> tuple[str, ...]:
    wrong = tuple(
        f"Not recommended: {labels.configuration} gives {labels.frames - labels.equal:,} of {labels.frames:,} frames "
        f"another label than fp32 ({labels.other_part:,} another part, "
        f"{labels.frames - labels.equal - labels.other_part:,} unknown in one of the two)"
        f"{_speed_of(facts.speeds, labels.configuration)}."
        for labels in facts.labels
        if not agrees(labels)
    )
    cause = _disturbance(facts)
    if not cause:
        return wrong
    advice = "Stop all other programs on this machine and measure again, for longer (--seconds)."
    return (*wrong, f"These figures are rough: {cause}. {advice}")


def _disturbance(facts: BenchFacts) -> str:
    """Return the sign that the machine had other work at the same time; empty if there is none."""
    chosen, single = facts.chosen, facts.single
    if chosen is None:
        return ""
    if chosen.slowest_frames_per_s < _UNSTEADY * chosen.frames_per_s:
        return f"the slowest round had only {rate(chosen.slowest_frames_per_s)} frames a second"
    frame_ms = 1000 / chosen.frames_per_s
    if single is not None and single.p50_ms < _UNSTEADY * frame_ms:  # otherwise single frames would have been chosen
        before = f"{milliseconds(frame_ms)} a moment before ({describe(chosen)})"
        return f"a single frame took {milliseconds(single.p50_ms)}, but {before}"
    return ""


def _speed_of(speeds: Sequence[Speed], configuration: Configuration) -> str:
    fastest = max((speed.frames_per_s for speed in speeds if speed.configuration == configuration), default=None)
    return "" if fastest is None else f", at {rate(fastest)} frames a second"


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path
