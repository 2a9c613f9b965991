"""Measurements of open recognisers: labels, stages, single frames and a paced run."""

import bisect
import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from partsight.cli.bench.clock import Clock, Tick
from partsight.cli.bench.facts import Configuration, LabelAgreement, Latency, PacedRun, Speed, StageShares
from partsight.runtime import Recognizer
from partsight.runtime.core import FloatArray, Pixels

PACE_SHARE = 0.7
"""Pace of the paced run as a share of the speed: a line that is planned closer to the speed has no reserve."""


@dataclass
class _Agreement:
    """Counts of one configuration, added up over batches."""

    equal: int = 0
    other_part: int = 0
    drift: float = 0.0
    max_drift: float = 0.0

    def add(self, labels: Sequence[str | None], others: Sequence[str | None], differences: FloatArray) -> None:
        """Add a batch: its labels by the baseline and by the configuration; absolute differences of all scores."""
        pairs = list(zip(labels, others, strict=True))
        self.equal += sum(one == other for one, other in pairs)
        self.other_part += sum(one != other and None not in (one, other) for one, other in pairs)
        self.drift += float(differences.mean()) * len(pairs)
        self.max_drift = max(self.max_drift, float(differences.max()))


def compare_labels(
    recognizers: Mapping[Configuration, Recognizer],
    baseline: Recognizer,
    frames: Iterator[Pixels],
    seconds: float,
    clock: Clock,
    tick: Tick,
) -> list[LabelAgreement]:
    """Compare labels and scores with those of the baseline, on the same frames.

    Args:
        recognizers: Recognisers to compare.
        baseline: Recogniser whose answers count as right; its batch size is the number of frames answered at once.
        frames: Frames, each (height, width, 3) uint8 BGR; at least one batch is taken.
        seconds: Time after which no further batch starts.
        clock: Clock to measure by.
        tick: Called after each batch.
    """
    seen, ends = 0, clock.now() + seconds
    found = {configuration: _Agreement() for configuration in recognizers}
    while (not seen or clock.now() < ends) and (batch := list(itertools.islice(frames, baseline.batch_size))):
        seen += len(batch)
        labels = [result.label for result in baseline.recognize_batch(batch)]
        score = baseline.infer(batch).score
        for configuration, recognizer in recognizers.items():
            others = [result.label for result in recognizer.recognize_batch(batch)]
            found[configuration].add(labels, others, np.abs(recognizer.infer(batch).score - score))
            tick("labels against fp32")
    return [
        LabelAgreement(*configuration, seen, item.equal, item.other_part, item.drift / seen, item.max_drift)
        for configuration, item in found.items()
    ]


def measure_stages(
    recognizer: Recognizer, frames: Sequence[Pixels], batch: int, seconds: float, clock: Clock, tick: Tick
) -> StageShares:
    """Return the shares of a frame's time, as the recogniser itself times its stages.

    Args:
        recognizer: An open recogniser, whose batch size is at least `batch`.
        frames: Frames, each (height, width, 3) uint8 BGR; shown one after the other, over and over.
        batch: Number of frames in one call, as in the recommended configuration.
        seconds: Time after which no further call starts.
        clock: Clock to measure by.
        tick: Called after each call.
    """
    source, totals, ends = itertools.cycle(frames), np.zeros(3), clock.now() + seconds
    while not totals.any() or clock.now() < ends:
        spent = recognizer.recognize_batch(list(itertools.islice(source, batch)))[0].stages  # of the whole batch
        totals += (spent.prepare_ms, spent.network_ms, spent.compare_ms)
        tick("stages of an answer")
    return StageShares(*map(float, totals / totals.sum()))


def measure_single(
    recognizer: Recognizer, frames: Sequence[Pixels], seconds: float, clock: Clock, tick: Tick
) -> Latency:
    """Answer frames one at a time until the time is up."""
    found: list[float] = []
    ends = clock.now() + seconds
    for frame in itertools.cycle(frames):
        started = clock.now()
        recognizer.recognize(frame)
        found.append((clock.now() - started) * 1000)
        tick("single frames")
        if clock.now() >= ends:
            break
    return Latency(len(found), statistics.median(found), percentile_99(found))


def measure_pace(
    recognizer: Recognizer,
    frames: Sequence[Pixels],
    speed: Speed,
    deadline_ms: float,
    seconds: float,
    clock: Clock,
    tick: Tick,
) -> PacedRun:
    """Let frames arrive at an even pace, and answer waiting frames together, as a line does.

    Args:
        recognizer: An open recogniser.
        frames: Frames, each (height, width, 3) uint8 BGR; shown one after the other, over and over.
        speed: Speed of the recogniser. The pace is `PACE_SHARE` of it, and its batch is the most frames in one call.
        deadline_ms: Time in milliseconds after a frame is due; a later answer is overdue.
        seconds: Time during which frames arrive. Frames without an answer after twice that time are overdue.
        clock: Clock to measure by.
        tick: Called after each call.
    """
    frames_per_s = PACE_SHARE * speed.frames_per_s
    count = max(1, round(frames_per_s * seconds))
    source, found = itertools.cycle(frames), list[float]()
    started = clock.now()
    due = [started + index / frames_per_s for index in range(count)]
    while len(found) < count and (not found or clock.now() < started + 2 * seconds):
        clock.sleep(due[len(found)] - clock.now())
        arrived = max(bisect.bisect_right(due, clock.now()), len(found) + 1)  # a clock may wake up a moment early
        waiting = due[len(found) : arrived][: speed.batch]
        recognizer.recognize_batch(list(itertools.islice(source, len(waiting))))
        ready = clock.now()
        found += [(ready - moment) * 1000 for moment in waiting]
        tick("paced run")
    overdue = sum(latency > deadline_ms for latency in found) + count - len(found)
    p50_ms, p99_ms = statistics.median(found), percentile_99(found)
    return PacedRun(frames_per_s, seconds, count, overdue, deadline_ms, p50_ms, p99_ms)


def percentile_99(values: Sequence[float]) -> float:
    """Return the measured value that 99 of 100 values do not exceed; no interpolation."""
    return float(np.quantile(values, 0.99, method="inverted_cdf"))
