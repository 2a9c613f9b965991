"""Throughput and latency of several cameras that share one recogniser."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common.results import markdown_table
from benchmarks.common.rounds import median_of
from partsight.runtime import MicroBatcher, Recognizer
from partsight.runtime.core import Pixels, progress_bar

CAMERAS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class CamerasRow:
    """Figures for one number of cameras; medians of the rounds.

    Attributes:
        cameras: Number of cameras, each a thread that sends a frame after the answer to its last one.
        frames_per_s: Speed of all cameras together.
        p50_ms, p99_ms: Time from sending a frame to its answer.
    """

    cameras: int
    frames_per_s: float
    p50_ms: float
    p99_ms: float


def measure_cameras(package: Path, frames: list[Pixels], rounds: int, turn_s: float) -> list[CamerasRow]:
    """Measure each number of cameras, with a turn for each in every round."""
    found: dict[int, list[tuple[float, float, float]]] = {count: [] for count in CAMERAS}
    rng = np.random.default_rng(0)
    with (
        Recognizer(package) as recognizer,
        MicroBatcher(recognizer) as batcher,
        progress_bar((rounds + 1) * len(CAMERAS), "cameras", "turn") as bar,
    ):
        recognizer.preload()
        for number in range(rounds + 1):
            for count in rng.permutation(CAMERAS).tolist():
                answer = _turn(batcher, frames, count, turn_s)
                if number > 0:  # the first round warms up and reads golden images
                    found[count].append(answer)
                bar.update()
    return [
        CamerasRow(count, *(median_of(values) for values in zip(*answers, strict=True)))
        for count, answers in found.items()
    ]


def _turn(batcher: MicroBatcher, frames: list[Pixels], cameras: int, turn_s: float) -> tuple[float, float, float]:
    latencies: list[float] = []
    ends = time.perf_counter() + turn_s

    def camera(number: int) -> None:
        index = number * len(frames) // cameras
        while time.perf_counter() < ends:
            latencies.append(batcher.recognize(frames[index % len(frames)]).latency_ms)
            index += 1

    threads = [threading.Thread(target=camera, args=(number,)) for number in range(cameras)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed = time.perf_counter() - started
    middle, late = np.quantile(latencies, (0.5, 0.99))
    return len(latencies) / passed, float(middle), float(late)


def cameras_table(rows: list[CamerasRow]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        (
            str(row.cameras),
            f"{row.frames_per_s:.1f}",
            f"{row.p50_ms:.1f} ms",
            f"{row.p99_ms:.1f} ms",
        )
        for row in rows
    ]
    return markdown_table(("cameras", "frames/s together", "median wait", "99th percentile"), lines)
