"""How many frames a second several cameras get through one recogniser, and how long each waits."""

import itertools
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import _speed
import numpy as np
from tqdm import tqdm

from partsight.runtime import MicroBatcher, Recognizer
from partsight.runtime.images import Pixels

CAMERAS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class CamerasRow:
    """What was found for one number of cameras; medians of the rounds.

    Attributes:
        comparers: processes beside the recogniser's own that compare frames with golden images.
        cameras: how many, each a thread that sends its next frame when the last one is answered.
        frames_per_s: of all together.
        p50_ms, p99_ms: from handing a frame in to its answer.
    """

    comparers: int
    cameras: int
    frames_per_s: float
    p50_ms: float
    p99_ms: float


def measure_cameras(
    package: Path, frames: list[Pixels], comparers: Sequence[int], rounds: int, turn_s: float
) -> list[CamerasRow]:
    """Let each number of cameras take its turn in every round, with each number of comparers."""
    turns = list(itertools.product(comparers, CAMERAS))
    found: dict[tuple[int, int], list[tuple[float, float, float]]] = {turn: [] for turn in turns}
    rng = np.random.default_rng(0)
    with ExitStack() as stack:
        batchers = {count: stack.enter_context(MicroBatcher(_open(package, count, stack))) for count in comparers}
        progress = stack.enter_context(tqdm(total=(rounds + 1) * len(turns), desc="cameras", unit="turn", disable=None))
        for number in range(rounds + 1):
            for place in rng.permutation(len(turns)).tolist():
                answer = _turn(batchers[turns[place][0]], frames, turns[place][1], turn_s)
                if number > 0:  # the first warms up, and reads golden images
                    found[turns[place]].append(answer)
                progress.update()
    return [
        CamerasRow(*turn, *(_speed.median_of(values) for values in zip(*answers, strict=True)))
        for turn, answers in found.items()
    ]


def _open(package: Path, comparers: int, stack: ExitStack) -> Recognizer:
    recognizer = stack.enter_context(Recognizer(package, comparers=comparers))
    recognizer.hold()
    return recognizer


def _turn(batcher: MicroBatcher, frames: list[Pixels], cameras: int, turn_s: float) -> tuple[float, float, float]:
    latencies: list[float] = []
    ends = time.perf_counter() + turn_s

    def camera(number: int) -> None:
        place = number * len(frames) // cameras
        while time.perf_counter() < ends:
            latencies.append(batcher.recognize(frames[place % len(frames)]).latency_ms)
            place += 1

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
            str(row.comparers),
            str(row.cameras),
            f"{row.frames_per_s:.1f}",
            f"{row.p50_ms:.1f} ms",
            f"{row.p99_ms:.1f} ms",
        )
        for row in rows
    ]
    return _speed.markdown(("comparers", "cameras", "frames/s together", "median wait", "99th percentile"), lines)
