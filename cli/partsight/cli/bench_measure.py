"""Measuring: speeds, labels, stages and pace, of open recognisers and by a clock that tests can replace.

All configurations take their turn within each round, in an order that is drawn anew, with a pause between turns in
which the threads of the one before go to sleep. What else the machine does then meets all of them alike. A turn is a
pass over as many frames as the largest batch has, in batches of the configuration's size.
"""

import bisect
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from partsight.cli.bench_facts import Labels, Latency, Pace, Speed, Stages, Way
from partsight.runtime import Recognizer
from partsight.runtime.decision import decide, decide_verified
from partsight.runtime.images import Pixels
from partsight.runtime.package import ModelPackage
from partsight.runtime.preprocess import preprocess
from partsight.runtime.references import References
from partsight.runtime.verification import verify

PACE_SHARE = 0.7
"""Of the speed, at which frames come in the paced run: a line that is planned tighter has no room for a hiccup."""

_PAUSE_S = 0.05  # between turns: threads spin for some ten milliseconds after each run
_LEAST_ROUNDS = 2
_TOP = 5  # candidates that a result names, as `Recognizer` does by default

Tick = Callable[[str], None]
"""Is told what is being measured, after each step."""


class _Turn(NamedTuple):
    """What takes its turn: with the comparison with golden images, or the network alone."""

    way: Way
    batch: int
    compares: bool


class Clock(Protocol):
    """What measures time, in seconds, and waits."""

    def now(self) -> float:
        """Return the seconds since any moment."""

    def sleep(self, seconds: float) -> None:
        """Wait; not at all for a negative time."""


class SystemClock:
    """The machine's own."""

    def now(self) -> float:
        """Return the seconds since any moment."""
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        """Wait; not at all for a negative time."""
        time.sleep(max(0.0, seconds))


def measure_speeds(
    recognizers: Mapping[Way, Recognizer],
    frames: Sequence[Pixels],
    batches: Iterable[int],
    seconds: float,
    clock: Clock,
    tick: Tick,
) -> tuple[list[Speed], int]:
    """Measure every way with every batch, with the comparison with golden images and by the network alone.

    Args:
        recognizers: open ones, whose batch size is at least the largest batch.
        frames: shown one after the other, over and over.
        batches: frames in one call.
        seconds: after which no further round begins; two are always measured.
        clock: to measure by.
        tick: is told of each turn.

    Returns:
        The speeds, and the number of rounds that they are medians of.
    """
    batches = sorted(set(batches))
    turns: dict[_Turn, Callable[[Sequence[Pixels]], object]] = {}
    for (way, recognizer), batch in itertools.product(recognizers.items(), batches):
        turns[_Turn(way, batch, True)] = recognizer.recognize_batch
        if recognizer.manifest.verification is not None:
            turns[_Turn(way, batch, False)] = recognizer.infer
    groups = group_frames(frames, max(batches))
    rng, keys = np.random.default_rng(0), list(turns)
    found: dict[_Turn, list[float]] = {key: [] for key in keys}
    ends = clock.now() + seconds
    for number in itertools.count():  # round 0 warms up
        if number > _LEAST_ROUNDS and clock.now() >= ends:
            break
        for place in rng.permutation(len(keys)):
            turn = keys[place]
            group = number + batches.index(turn.batch) * len(groups) // len(batches)
            clock.sleep(_PAUSE_S)
            frame_s = _time(turns[turn], groups[group % len(groups)], turn.batch, clock)
            if number > 0:
                found[turn].append(frame_s)
            tick("frames a second")
    rates = {turn: 1 / statistics.median(times) for turn, times in found.items()}
    speeds = [
        Speed(*turn.way, turn.batch, rate, rates.get(turn._replace(compares=False)))
        for turn, rate in rates.items()
        if turn.compares
    ]
    return speeds, number - 1


def pool_size(batch: int) -> int:
    """Return how many different frames speeds are best measured on, with batches of so many.

    So many that a frame only comes again when the golden images that it needs have long made room for those of others:
    the worst that a line does. It takes 128 of them, and a frame needs two at least; see `References`.
    """
    return max(64, 2 * batch)


def group_frames(frames: Sequence[Pixels], size: int) -> list[list[Pixels]]:
    """Split frames into groups of equal size, one for each turn; the last is filled up with the first frames."""
    endless = itertools.cycle(frames)
    return [list(itertools.islice(endless, size)) for _ in range(math.ceil(len(frames) / size))]


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
    equal, drift, largest = (dict.fromkeys(recognizers, 0.0) for _ in range(3))
    ends = clock.now() + seconds
    while (not seen or clock.now() < ends) and (batch := list(itertools.islice(frames, baseline.batch_size))):
        seen += len(batch)
        labels = [result.label for result in baseline.recognize_batch(batch)]
        score = baseline.infer(batch).score
        for way, recognizer in recognizers.items():
            others = [result.label for result in recognizer.recognize_batch(batch)]
            equal[way] += sum(one == other for one, other in zip(labels, others, strict=True))
            differences = np.abs(recognizer.infer(batch).score - score)
            drift[way] += float(differences.mean()) * len(batch)
            largest[way] = max(largest[way], float(differences.max()))
            tick("labels against fp32")
    return [Labels(*way, seen, int(equal[way]), drift[way] / seen, largest[way]) for way in recognizers]


def measure_stages(
    recognizer: Recognizer, package: ModelPackage, frames: Sequence[Pixels], seconds: float, clock: Clock, tick: Tick
) -> Stages:
    """Take the answer to single frames apart: the same steps as the recogniser's, timed one by one.

    Args:
        recognizer: an open one of the package.
        package: which brings the golden images.
        frames: shown one after the other, over and over.
        seconds: after which no further frame is begun.
        clock: to measure by.
        tick: is told of each frame.
    """
    spec, verification = package.manifest.preprocess, package.manifest.verification
    references = None
    if verification is not None:
        references = References(package.reference, (verification.spec.height, verification.spec.width))
    rows: list[tuple[float, float, float, float]] = []
    ends = clock.now() + seconds
    for frame in itertools.cycle(frames):
        begun = clock.now()
        preprocess([frame], spec)
        prepared_at = clock.now()
        score = recognizer.infer([frame]).score  # which prepares the frame again
        inferred_at = clock.now()
        preparing, inferring = prepared_at - begun, inferred_at - prepared_at
        if verification is None or references is None:
            decide(score, recognizer.labels, recognizer.threshold, _TOP)
            rows.append((preparing, max(0.0, inferring - preparing), 0.0, clock.now() - inferred_at))
        else:
            small = preprocess([frame], verification.spec.preprocess(spec))[0]
            shrunk_at = clock.now()
            verified = verify(small, score[0], references, verification.spec, recognizer.threshold)
            compared_at = clock.now()
            decide_verified(verified, verification.spec, recognizer.labels, recognizer.threshold, _TOP)
            decided_at = clock.now()
            rows.append(
                (
                    preparing + shrunk_at - inferred_at,
                    max(0.0, inferring - preparing),
                    compared_at - shrunk_at,
                    decided_at - compared_at,
                )
            )
        tick("stages of an answer")
        if clock.now() >= ends:
            break
    return Stages(*(statistics.median(column) * 1000 for column in zip(*rows, strict=True)))


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
        tick: is told of each call.
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


def _time(task: Callable[[Sequence[Pixels]], object], frames: Sequence[Pixels], batch: int, clock: Clock) -> float:
    """Return the seconds that a frame takes: the mean, for some take several times as long as others."""
    task(frames[-1:])  # not timed: the turn before has filled the caches and put the threads to sleep
    begun = clock.now()
    for start in range(0, len(frames), batch):
        task(frames[start : start + batch])
    return (clock.now() - begun) / len(frames)
