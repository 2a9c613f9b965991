"""Rounds: the speed of configurations, measured in turns.

All configurations take a turn in each round, in a random order. Whatever else the machine does then affects all of them
alike. A pause before each turn lets the threads of the turn before go to sleep. A turn is one pass over as many frames
as the largest batch has, in batches of the configuration's size.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from partsight.cli.bench.clock import Clock, Tick
from partsight.cli.bench.facts import Configuration, OverlapSpeed, Speed
from partsight.runtime import Recognizer
from partsight.runtime.core import Pixels

_PAUSE_S = 0.05  # between turns: ONNX Runtime's threads spin for some ten milliseconds after each run
_MIN_ROUNDS = 2

Key = TypeVar("Key", bound=Hashable)
Task = Callable[[Sequence[Pixels]], object]


class _Turn(NamedTuple):
    """One competitor: with the comparison with golden images, or the network alone."""

    configuration: Configuration
    batch: int
    compares: bool


def take_turns(
    turns: Mapping[Key, Callable[[int], float]],
    seconds: float,
    clock: Clock,
    tick: Callable[[], object],
    min_rounds: int = _MIN_ROUNDS,
) -> dict[Key, list[float]]:
    """Let all competitors take a turn in each round, in an order drawn for each round. Round 0 only warms up.

    Args:
        turns: A function for each competitor: it takes the number of the round, and returns its figure in seconds.
        seconds: Time after which no further round starts.
        clock: Clock to measure by.
        tick: Called after each turn.
        min_rounds: Number of rounds that count in any case.

    Returns:
        The figures of each competitor, one a round.
    """
    rng, keys = np.random.default_rng(0), list(turns)
    found: dict[Key, list[float]] = {key: [] for key in keys}
    ends = clock.now() + seconds
    number = 0
    while number <= min_rounds or clock.now() < ends:
        for index in rng.permutation(len(keys)):
            clock.sleep(_PAUSE_S)
            figure = turns[keys[index]](number)
            if number > 0:
                found[keys[index]].append(figure)
            tick()
        number += 1
    return found


def measure_speeds(
    recognizers: Mapping[Configuration, Recognizer],
    frames: Sequence[Pixels],
    batches: Iterable[int],
    seconds: float,
    clock: Clock,
    tick: Tick,
) -> tuple[list[Speed], int]:
    """Measure each configuration at each batch size, with the comparison with golden images and without it.

    Args:
        recognizers: Open recognisers, whose batch size is at least the largest batch.
        frames: Frames, each (height, width, 3) uint8 BGR; shown one after the other, over and over.
        batches: Numbers of frames in one call.
        seconds: Time after which no further round starts; at least two rounds count.
        clock: Clock to measure by.
        tick: Called after each turn.

    Returns:
        The speeds, and the number of rounds that each is the median of.
    """
    sizes = sorted(set(batches))
    groups = group_frames(frames, max(sizes))
    turns: dict[_Turn, Callable[[int], float]] = {}
    for (configuration, recognizer), (rank, size) in itertools.product(recognizers.items(), enumerate(sizes)):
        first = rank * len(groups) // len(sizes)  # so that the sizes of one round see different frames
        answer = partial(_time, recognizer.recognize_batch, groups, first, size, clock)
        turns[_Turn(configuration, size, True)] = answer
        if recognizer.manifest.matching is not None:
            turns[_Turn(configuration, size, False)] = partial(_time, recognizer.infer, groups, first, size, clock)
    found = take_turns(turns, seconds, clock, partial(tick, "frames a second"))
    rates = {turn: 1 / statistics.median(times) for turn, times in found.items()}
    speeds = [
        Speed(*turn.configuration, turn.batch, rate, rates.get(turn._replace(compares=False)), 1 / max(found[turn]))
        for turn, rate in rates.items()
        if turn.compares
    ]
    return speeds, min(map(len, found.values()))


def measure_queue(
    recognizer: Recognizer, frames: Sequence[Pixels], seconds: float, clock: Clock, tick: Tick
) -> OverlapSpeed:
    """Measure the gain by overlapping batches. A turn is one pass over all frames: batch by batch, or in one call.

    Args:
        recognizer: An open recogniser, whose batch size is the number of frames that are answered at once.
        frames, seconds, clock, tick: See `measure_speeds`.
    """
    sizes = {"apart": recognizer.batch_size, "overlapped": len(frames)}
    turns = {name: partial(_time, recognizer.recognize_batch, [frames], 0, size, clock) for name, size in sizes.items()}
    found = take_turns(turns, seconds, clock, partial(tick, "batch after batch"))
    return OverlapSpeed(*(1 / statistics.median(found[name]) for name in sizes))


def pool_size(batch: int) -> int:
    """Return the number of different frames to measure speeds on, at batches of `batch` frames.

    With so many frames, a frame comes again only after the cache of references has dropped those that it needs, which
    is the worst case of a line. The cache holds 64 references, and a frame needs at least two; see `References`.
    """
    return max(64, 2 * batch)


def group_frames(frames: Sequence[Pixels], size: int) -> list[list[Pixels]]:
    """Split frames into groups of equal size, one a turn; the first frames fill up the last group."""
    endless = itertools.cycle(frames)
    return [list(itertools.islice(endless, size)) for _ in range(math.ceil(len(frames) / size))]


def _time(task: Task, groups: Sequence[Sequence[Pixels]], first: int, batch: int, clock: Clock, number: int) -> float:
    """Return the seconds for a frame: the mean of one pass, since some frames take several times as long as others.

    Args:
        task: Function to time.
        groups: Groups of frames; each round takes the next one.
        first: Index of the group for round 0.
        batch: Number of frames in one call.
        clock: Clock to measure by.
        number: Number of the round.
    """
    frames = groups[(number + first) % len(groups)]
    task(frames[-1:])  # not timed: the turn before has filled the caches and put the threads to sleep
    started = clock.now()
    for start in range(0, len(frames), batch):
        task(frames[start : start + batch])
    return (clock.now() - started) / len(frames)
