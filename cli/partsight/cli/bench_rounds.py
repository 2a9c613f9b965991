"""Rounds: how fast configurations are, measured in turns.

All configurations take their turn within each round, in an order that is drawn anew, with a pause between turns in
which the threads of the one before go to sleep. What else the machine does then meets all of them alike. A turn is a
pass over as many frames as the largest batch has, in batches of the configuration's size.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from partsight.cli.bench_clock import Clock, Tick
from partsight.cli.bench_facts import Queue, Speed, Way
from partsight.runtime import Recognizer
from partsight.runtime.core import Pixels

_PAUSE_S = 0.05  # between turns: threads spin for some ten milliseconds after each run
_MIN_ROUNDS = 2


class _Turn(NamedTuple):
    """What takes its turn: with the comparison with golden images, or the network alone."""

    way: Way
    batch: int
    compares: bool


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
        if recognizer.manifest.matching is not None:
            turns[_Turn(way, batch, False)] = recognizer.infer
    groups = group_frames(frames, max(batches))
    rng, keys = np.random.default_rng(0), list(turns)
    found: dict[_Turn, list[float]] = {key: [] for key in keys}
    ends = clock.now() + seconds
    for number in itertools.count():  # round 0 warms up
        if number > _MIN_ROUNDS and clock.now() >= ends:
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
        Speed(*turn.way, turn.batch, rate, rates.get(turn._replace(compares=False)), 1 / max(found[turn]))
        for turn, rate in rates.items()
        if turn.compares
    ]
    return speeds, number - 1


def measure_queue(
    recognizer: Recognizer,
    frames: Sequence[Pixels],
    seconds: float,
    clock: Clock,
    tick: Tick,
) -> Queue:
    """Measure what it brings that batches overlap. A turn is a pass over all frames.

    Args:
        recognizer: an open one, whose batch size is how many frames are answered at once.
        frames, seconds, clock, tick: see `measure_speeds`.
    """
    counts = (recognizer.batch_size, len(frames))
    found: tuple[list[float], ...] = ([], [])
    ends = clock.now() + seconds
    for number in itertools.count():  # round 0 warms up
        if number > _MIN_ROUNDS and clock.now() >= ends:
            break
        for count, times in zip(counts, found, strict=True):
            clock.sleep(_PAUSE_S)
            frame_s = _time(recognizer.recognize_batch, frames, count, clock)
            if number > 0:
                times.append(frame_s)
            tick("batch after batch")
    apart, overlapped = (1 / statistics.median(times) for times in found)
    return Queue(apart, overlapped)


def pool_size(batch: int) -> int:
    """Return how many different frames speeds are best measured on, with batches of so many.

    So many that a frame only comes again when the golden images that it needs have long made room for those of others:
    the worst that a line does. There is room for 64 of them, and a frame needs two at least; see `References`.
    """
    return max(64, 2 * batch)


def group_frames(frames: Sequence[Pixels], size: int) -> list[list[Pixels]]:
    """Split frames into groups of equal size, one for each turn; the last is filled up with the first frames."""
    endless = itertools.cycle(frames)
    return [list(itertools.islice(endless, size)) for _ in range(math.ceil(len(frames) / size))]


def _time(task: Callable[[Sequence[Pixels]], object], frames: Sequence[Pixels], batch: int, clock: Clock) -> float:
    """Return the seconds that a frame takes: the mean, for some take several times as long as others."""
    task(frames[-1:])  # not timed: the turn before has filled the caches and put the threads to sleep
    begun = clock.now()
    for start in range(0, len(frames), batch):
        task(frames[start : start + batch])
    return (clock.now() - begun) / len(frames)
