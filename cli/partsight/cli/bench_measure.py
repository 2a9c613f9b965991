"""Measuring: labels, stages, single frames and pace, of open recognisers and by a clock that tests can replace."""

import bisect
import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from partsight.cli.bench_clock import Clock, Tick
from partsight.cli.bench_facts import Labels, Latency, Pace, Speed, Stages, Way
from partsight.runtime import Recognizer
from partsight.runtime.core import Pixels

PACE_SHARE = 0.7
"""Of the speed, at which frames come in the paced run: a line that is planned tighter has no room for a hiccup."""


def compare_labels(
    recognizers: Mapping[Way, Recognizer],
    baseline: Recognizer,
    frames: Iterator[Pixels],
    seconds: float,
    clock: Clock,
    tick: Tick,
) -> list[Labels]:
    """Compare answers and scores with the baseline's, on the same frames.

    Args:
        recognizers: to compare.
        baseline: whose answers count as right; its batch size is how many frames are answered at once.
        frames: taken until the time is up, a batch at least.
        seconds: after which no further batch is begun.
        clock: to measure by.
        tick: is told of each batch.
    """
    seen = 0
    equal, other_part = (dict.fromkeys(recognizers, 0) for _ in range(2))
    drift, largest = (dict.fromkeys(recognizers, 0.0) for _ in range(2))
    ends = clock.now() + seconds
    while (not seen or clock.now() < ends) and (batch := list(itertools.islice(frames, baseline.batch_size))):
        seen += len(batch)
        labels = [result.label for result in baseline.recognize_batch(batch)]
        score = baseline.infer(batch).score
        for way, recognizer in recognizers.items():
            others = [result.label for result in recognizer.recognize_batch(batch)]
            pairs = list(zip(labels, others, strict=True))
            equal[way] += sum(one == other for one, other in pairs)
            other_part[way] += sum(one != other and None not in (one, other) for one, other in pairs)
            differences = np.abs(recognizer.infer(batch).score - score)
            drift[way] += float(differences.mean()) * len(batch)
            largest[way] = max(largest[way], float(differences.max()))
            tick("labels against fp32")
    return [Labels(*way, seen, equal[way], other_part[way], drift[way] / seen, largest[way]) for way in recognizers]


def measure_stages(
    recognizer: Recognizer, frames: Sequence[Pixels], batch: int, seconds: float, clock: Clock, tick: Tick
) -> Stages:
    """Say where the time of a frame goes, as the recogniser itself times its stages.

    Args:
        recognizer: an open one, whose batch size is at least `batch`.
        frames: shown one after the other, over and over.
        batch: frames in one call, as in the configuration that is recommended.
        seconds: time after which no further call starts.
        clock: to measure by.
        tick: called after each call.
    """
    source, totals, ends = itertools.cycle(frames), np.zeros(3), clock.now() + seconds
    while not totals.any() or clock.now() < ends:
        spent = recognizer.recognize_batch(list(itertools.islice(source, batch)))[0].stages  # of the whole batch
        totals += (spent.prepare_ms, spent.network_ms, spent.compare_ms)
        tick("stages of an answer")
    return Stages(*map(float, totals / totals.sum()))


def measure_single(
    recognizer: Recognizer, frames: Sequence[Pixels], seconds: float, clock: Clock, tick: Tick
) -> Latency:
    """Answer frames one at a time until the time is up."""
    found: list[float] = []
    ends = clock.now() + seconds
    for frame in itertools.cycle(frames):
        begun = clock.now()
        recognizer.recognize(frame)
        found.append((clock.now() - begun) * 1000)
        tick("single frames")
        if clock.now() >= ends:
            break
    return Latency(len(found), statistics.median(found), percentile_99(found))


def measure_pace(
    recognizer: Recognizer,
    frames: Sequence[Pixels],
    speed: Speed,
    late_ms: float,
    seconds: float,
    clock: Clock,
    tick: Tick,
) -> Pace:
    """Let frames come at an even pace; those that are there are answered together, as a line does.

    Args:
        recognizer: an open one.
        frames: shown one after the other, over and over.
        speed: of the recogniser: the pace is `PACE_SHARE` of it, and its batch the most that are answered together.
        late_ms: a frame that is answered later than so long after it was due is late.
        seconds: how long frames come. What is not answered after twice that time is late.
        clock: to measure by.
        tick: called after each call.
    """
    frames_per_s = PACE_SHARE * speed.frames_per_s
    count = max(1, round(frames_per_s * seconds))
    source, found = itertools.cycle(frames), list[float]()
    started = clock.now()
    due = [started + place / frames_per_s for place in range(count)]
    while len(found) < count and (not found or clock.now() < started + 2 * seconds):
        clock.sleep(due[len(found)] - clock.now())
        come = max(bisect.bisect_right(due, clock.now()), len(found) + 1)  # a clock may wake up a moment early
        waiting = due[len(found) : come][: speed.batch]
        recognizer.recognize_batch(list(itertools.islice(source, len(waiting))))
        ready = clock.now()
        found += [(ready - moment) * 1000 for moment in waiting]
        tick("paced run")
    late = sum(latency > late_ms for latency in found) + count - len(found)
    return Pace(frames_per_s, seconds, count, late, late_ms, statistics.median(found), percentile_99(found))


def percentile_99(values: Sequence[float]) -> float:
    """Return the value that 99 of 100 do not exceed: one that was measured, not one between two."""
    return float(np.quantile(values, 0.99, method="inverted_cdf"))
