"""How many cards a plant needs: latencies at rising numbers of cards, and at rising loads."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.speed.plant_queue import WARM_UP, Cards, Plant, arrivals, capacity, serve
from partsight.runtime.core import progress

LOADS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
"""Loads of a curve: frames that arrive, as a share of those that the cards can answer."""


@dataclass(frozen=True)
class Server:
    """A kind of card and how it is simulated.

    Attributes:
        batch_s: Seconds of a batch by its size, see `times_by_size`.
        cards: Cards; `simulate` sets their number.
        seconds: Simulated time.
        seeds: Seeds, one for each repetition.
    """

    batch_s: Sequence[float]
    cards: Cards
    seconds: float
    seeds: Sequence[int]

    @property
    def capacity(self) -> float:
        """The most frames per second that one card answers."""
        return capacity(self.batch_s)


@dataclass(frozen=True)
class PlantRow:
    """A plant at a server, simulated.

    Attributes:
        cards: Number of cards.
        cameras: Number of cameras.
        load: Frames that arrive, as a share of those that the cards can answer. From 1 on the queue only grows, and the
            other figures are None.
        p50_ms, p99_ms, max_ms: Latency.
        mean_batch: Mean size of a batch.
    """

    cards: int
    cameras: int
    load: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None
    mean_batch: float | None = None

    def meets(self, limit_ms: float) -> bool:
        """Return whether 99 of 100 frames are answered in time."""
        return self.p99_ms is not None and self.p99_ms <= limit_ms


def simulate(plant: Plant, server: Server, count: int) -> PlantRow:
    """Return the latencies of a plant at a number of cards, over all repetitions."""
    row = PlantRow(count, plant.cameras, plant.cameras * plant.rate / (count * server.capacity))
    if row.load >= 1:
        return row
    latencies, batches = [], []
    for seed in server.seeds:
        arriving = arrivals(plant, server.seconds, seed)
        served = serve(arriving, server.batch_s, replace(server.cards, count=count))
        latencies.append(served.latency_s[arriving >= WARM_UP * server.seconds])
        batches.append(served.batches)
    p50, p99, most = (float(value) for value in np.quantile(np.concatenate(latencies) * 1000, (0.5, 0.99, 1)))
    return replace(row, p50_ms=p50, p99_ms=p99, max_ms=most, mean_batch=float(np.concatenate(batches).mean()))


def size_plant(plant: Plant, server: Server, limit_ms: float) -> list[PlantRow]:
    """Return the plant at rising numbers of cards, from too few on.

    The last row has a quarter more cards than the limit needs. If no number of cards meets it, because one batch alone
    takes longer, the last row has four times as many cards as the plant needs at least.
    """
    least = max(1, math.floor(plant.cameras * plant.rate / server.capacity))
    last, rows = 4 * (least + 1), []
    for count in range(least, last + 1):
        rows.append(simulate(plant, server, count))
        if rows[-1].meets(limit_ms):
            last = min(last, math.ceil(1.25 * count))
        if count >= last:
            break
    return rows


def cards_needed(rows: Sequence[PlantRow], limit_ms: float) -> int | None:
    """Return the fewest cards that meet the limit; None if none of the rows does."""
    return next((row.cards for row in rows if row.meets(limit_ms)), None)


def curve(plant: Plant, server: Server, count: int) -> list[PlantRow]:
    """Return plants of rising load at a number of cards; the number of cameras rises, each as fast as before."""
    rows = []
    for load in progress(LOADS, len(LOADS), f"{count} cards", "load"):
        cameras = max(1, round(load * count * server.capacity / plant.rate))
        rows.append(simulate(replace(plant, cameras=cameras), server, count))
    return [row for row in rows if row.p99_ms is not None]
