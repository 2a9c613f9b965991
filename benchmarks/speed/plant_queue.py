"""The model of a plant: cameras send frames to one queue, and cards answer them in batches.

- Each camera sends a frame in every period, at a random phase, with a jitter of its own for each frame.
- One queue, first in, first out. A free card takes all frames that wait, at most `batch` of them. An idle card may wait
  for more frames, at most `delay_s`.
- A card answers a batch in the time that a real one took for a batch of that size. Frames of a batch are answered
  together.
- Latency counts from the moment when a frame reaches the server until its answer leaves. The network is not in it.
"""

import heapq
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

WARM_UP = 0.2
"""Share of the simulated time whose frames do not count: the queue starts empty."""


@dataclass(frozen=True)
class Plant:
    """Cameras of a plant.

    Attributes:
        cameras: Number of cameras.
        rate: Frames per second of each.
        jitter: Largest shift of a frame from its time, to either side, as a share of the period.
    """

    cameras: int
    rate: float
    jitter: float = 0.1


@dataclass(frozen=True)
class Cards:
    """Cards of a server, or processors that each run the package.

    Attributes:
        count: Number of cards.
        batch: Most frames in a batch.
        delay_s: Most seconds for which an idle card waits for more frames.
    """

    count: int
    batch: int
    delay_s: float = 0.0


@dataclass(frozen=True)
class Served:
    """A simulated time at a server.

    Attributes:
        latency_s: Latency of each frame, in the order of the arrivals, (frames,).
        batches: Size of each batch, in the order of their starts, (batches,).
    """

    latency_s: np.ndarray
    batches: np.ndarray


def times_by_size(measured_s: Mapping[int, float], batch: int) -> list[float]:
    """Return the seconds of a batch of 0, 1, … `batch` frames: measured ones, and straight lines between them.

    Args:
        measured_s: Seconds of a batch by its size; 1 and `batch`, or a larger size, are among the sizes.
        batch: Largest size.

    Raises:
        ValueError: A size is missing, or a time is not above 0.
    """
    sizes = sorted(measured_s)
    if not sizes or sizes[0] != 1 or sizes[-1] < batch or min(measured_s.values()) <= 0:
        raise ValueError(
            f"received times of batches of {sizes}; expected times above 0 of 1, {batch} and sizes between them"
        )
    times = np.interp(np.arange(1, batch + 1), sizes, [measured_s[size] for size in sizes])
    return [0.0, *times.tolist()]


def capacity(batch_s: Sequence[float]) -> float:
    """Return the most frames per second that one card answers, in batches of the best size."""
    return max(size / batch_s[size] for size in range(1, len(batch_s)))


def arrivals(plant: Plant, seconds: float, seed: int) -> np.ndarray:
    """Return the times at which frames arrive, in seconds, rising.

    Args:
        plant: Cameras.
        seconds: Simulated time.
        seed: Seed of phases and jitter.
    """
    rng, period = np.random.default_rng(seed), 1 / plant.rate
    numbers = np.arange(-1, int(np.ceil(seconds * plant.rate)) + 1)
    phase = rng.random((plant.cameras, 1))
    shift = rng.uniform(-plant.jitter, plant.jitter, (plant.cameras, len(numbers)))
    times = np.sort(((numbers + phase + shift) * period).ravel())
    return np.asarray(times[(times >= 0) & (times < seconds)])


def serve(arriving_s: np.ndarray, batch_s: Sequence[float], cards: Cards) -> Served:
    """Answer frames.

    The card that is free first takes the next batch, so batches start in the order of the frames.

    Args:
        arriving_s: Time of each frame, rising, (frames,).
        batch_s: Seconds of a batch by its size, see `times_by_size`.
        cards: Cards.
    """
    times: list[float] = arriving_s.tolist()
    free, sizes, done = [0.0] * cards.count, [], np.empty(len(times))
    first = 0
    while first < len(times):
        start = max(heapq.heappop(free), times[first])
        if cards.delay_s:
            full = first + cards.batch - 1
            filled = times[full] if full < len(times) else np.inf
            start = max(start, min(times[first] + cards.delay_s, filled))
        stop = min(bisect_right(times, start, first), first + cards.batch)
        end = start + batch_s[stop - first]
        done[first:stop] = end
        sizes.append(stop - first)
        heapq.heappush(free, end)
        first = stop
    return Served(done - arriving_s, np.array(sizes, np.int64))
