"""Rounds: the speed of competitors, measured in fair turns.

`partsight.cli.bench.rounds` explains fair turns. Ratios are taken within rounds, so that a disturbance affects
both sides alike; benchmarks report the median of the rounds.
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
"""Takes a turn, and returns the seconds of its median call."""
Rounds = dict[str, list[float]]
"""Seconds of a call in each round, by competitor."""


def timed(task: Callable[[], object], turn_s: float = 0.1) -> float:
    """Take a turn: return the median seconds of its calls; see `times`."""
    return statistics.median(times(task, turn_s))


def times(task: Callable[[], object], turn_s: float) -> list[float]:
    """Take a turn: return the seconds of as many calls as `turn_s` seconds hold, at least one."""
    task()  # not timed: the turn before has filled the caches and put the threads to sleep
    seconds: list[float] = []
    ends = time.perf_counter() + turn_s
    while not seconds or time.perf_counter() < ends:
        started = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - started)
    return seconds


def interleave(turns: Mapping[str, Turn], rounds: int, what: str) -> Rounds:
    """Let all competitors take their turn in each round, as `partsight bench` does; the first round warms up.

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
    """Return the median time that one takes longer than the others together, within rounds."""
    return statistics.median(one - sum(rest) for one, *rest in zip(found, *others, strict=True))


def spread(found: Sequence[float]) -> tuple[float, float]:
    """Return the 10th and the 90th percentile of the rounds."""
    low, high = np.quantile(found, (0.1, 0.9))
    return float(low), float(high)
