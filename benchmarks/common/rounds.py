"""Rounds: the speed of competitors, measured in fair turns (see `partsight.cli.bench.rounds`).

Benchmarks compute ratios within each round, because a disturbance affects both sides of a round alike. They report the
median of the rounds.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from partsight.cli.bench.clock import SystemClock
from partsight.cli.bench.rounds import take_turns
from partsight.runtime.core import progress_bar

Turn = Callable[[], float]
"""Function that takes a turn and returns the seconds of its median call."""
Rounds = dict[str, list[float]]
"""Seconds of the median call in each round, by competitor."""


def timed(task: Callable[[], object], turn_s: float = 0.1) -> float:
    """Take a turn and return the median seconds of its calls; see `times`."""
    return statistics.median(times(task, turn_s))


def times(task: Callable[[], object], turn_s: float) -> list[float]:
    """Take a turn: call for `turn_s` seconds, at least once, and return the seconds of each call."""
    task()  # not timed: after another competitor's turn, caches are cold and threads sleep
    seconds: list[float] = []
    ends = time.perf_counter() + turn_s
    while not seconds or time.perf_counter() < ends:
        started = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - started)
    return seconds


def interleave(turns: Mapping[str, Turn], rounds: int, what: str) -> Rounds:
    """Give each competitor a turn in each round, as `partsight bench` does; the first round warms up.

    Args:
        turns: Turn of each competitor, by its name.
        rounds: Number of rounds that count.
        what: Label of the progress bar.
    """
    numbered = {name: partial(_ignore_number, turn) for name, turn in turns.items()}
    with progress_bar((rounds + 1) * len(turns), what, "turn") as bar:
        return take_turns(numbered, 0.0, SystemClock(), bar.update, min_rounds=rounds)


def _ignore_number(turn: Turn, _number: int) -> float:
    return turn()


def median_of(found: Sequence[float], reference: Sequence[float] | None = None) -> float:
    """Return the median of all rounds; with a reference, the median of the ratios within rounds."""
    if reference is None:
        return statistics.median(found)
    return statistics.median(one / other for one, other in zip(found, reference, strict=True))


def difference(found: Sequence[float], *others: Sequence[float]) -> float:
    """Return the median, within rounds, of one competitor's time minus the sum of the others' times."""
    return statistics.median(one - sum(rest) for one, *rest in zip(found, *others, strict=True))


def spread(found: Sequence[float]) -> tuple[float, float]:
    """Return the 10th and the 90th percentile of the rounds."""
    low, high = np.quantile(found, (0.1, 0.9))
    return float(low), float(high)
