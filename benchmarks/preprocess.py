"""What does it cost to bring a frame to the network's size, and how far is the result from the mean over the area?

OpenCV's INTER_AREA is that mean and slow; its INTER_LINEAR skips pixels when it shrinks by more than two, so that
fine lines come and go. partsight's takes the same mean in faster steps (`partsight.runtime.preprocess.resize`): with
one thread, as OpenCV shares it among threads, and as the runtime prepares a batch, by several workers.

Differences are grey levels of 255, between results, on pictures of parts that were enlarged and given a camera's noise.
With `--package` the network says, too, for how many frames it names the same part either way, and the right one, and
how much of an answer preprocessing takes.

Example:
    python benchmarks/preprocess.py --package line3.partsight --data /data/parts --rounds 20
"""

import argparse
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import _speed
import cv2
import numpy as np
from _speed_plot import BLUE, GREEN, GREY, ORANGE, Bar, bar_figure
from matplotlib.figure import Figure

from partsight.runtime import Recognizer
from partsight.runtime.images import Pixels
from partsight.runtime.prepare import Preparer
from partsight.runtime.preprocess import PreprocessSpec, preprocess, resize

SIZES = ((256, 256), (640, 480), (1280, 1024), (1920, 1080), (2448, 2048))
SIDES = (150, 224)
BATCH = 16
NOISE_LEVELS = 4.0
MOST_SHARE, MOST_SHARE_SIZE = 0.05, (1280, 1024)
"""Of an answer in FP32, that preprocessing was promised to take at most, at that size of frame."""

AREA, LINEAR = "cv2 INTER_AREA", "cv2 INTER_LINEAR (skips pixels)"
ONE, OURS, SHARED = "partsight, one thread", "partsight", f"partsight, batch of {BATCH} by workers"
_COLOURS = {AREA: GREY, LINEAR: ORANGE, ONE: BLUE, OURS: GREEN, SHARED: GREEN}


@dataclass(frozen=True)
class Row:
    """What was found of one way to prepare frames.

    Attributes:
        frame: size of the frames.
        side_px: height and width of the result.
        name: of the way.
        frame_ms: of one frame.
        times_area: how many times as fast as INTER_AREA.
        mean_levels, most_levels: difference to INTER_AREA's result.
    """

    frame: str
    side_px: int
    name: str
    frame_ms: float
    times_area: float
    mean_levels: float
    most_levels: float


@dataclass(frozen=True)
class Agreement:
    """What the network of a package says of frames of one size.

    Attributes:
        frame: size of the frames.
        frames: how many.
        same_label: share of them that it names alike, prepared by INTER_AREA and by partsight.
        right_by_area, right_by_ours: share that it names right.
        preprocessing_ms, label_ms: of a single frame: of preprocessing alone, and of all from frame to label.
        share: of preprocessing in that.
    """

    frame: str
    frames: int
    same_label: float
    right_by_area: float
    right_by_ours: float
    preprocessing_ms: float
    label_ms: float
    share: float


def main(arguments: list[str] | None = None) -> None:
    """Measure, print tables and write result files."""
    args = _parse(arguments)
    rows: list[Row] = []
    agreements: list[Agreement] = []
    opened = Recognizer(args.package, verify=False) if args.package else nullcontext()
    with opened as recognizer, ThreadPoolExecutor() as workers:
        for size in args.frame_size:
            frames, shown = _frames(args.data, args.frames, size)
            for side in args.side:
                rows += _measure(frames, size, side, workers, args.rounds)
            if recognizer is not None:
                agreements.append(_agreement(recognizer, frames, shown, args.rounds))
    text = [to_table(rows)] + ([to_agreement_table(agreements)] if agreements else [])
    results: dict[str, Any] = {"rows": [asdict(row) for row in rows], "frames": args.frames, "rounds": args.rounds}
    results["agreement"] = [asdict(agreement) for agreement in agreements]
    _speed.report(args, results, "\n\n".join(text), plot(rows))


def _frames(data: Path, count: int, size: tuple[int, int]) -> tuple[list[Pixels], list[str]]:
    """Return frames with a camera's noise, and the part that each shows.

    Enlarged pictures are smoother than a sensor's, and would flatter every shortcut.
    """
    frames = _speed.line_frames(data, count, size)
    cv2.setRNGSeed(0)
    noise = [cv2.randn(np.empty(frame.shape, np.int16), (0,) * 3, (NOISE_LEVELS,) * 3) for frame in frames]
    noisy = [cv2.add(frame, levels, dtype=cv2.CV_8U) for frame, levels in zip(frames, noise, strict=True)]
    return noisy, [path.parent.name for path in _speed.line_paths(data, count)]


def _measure(
    frames: list[Pixels], size: tuple[int, int], side: int, workers: ThreadPoolExecutor, rounds: int
) -> list[Row]:
    turns = {
        AREA: _each(frames, lambda frame: _plain(frame, side, cv2.INTER_AREA)),
        LINEAR: _each(frames, lambda frame: _plain(frame, side, cv2.INTER_LINEAR)),
        ONE: _alone(_each(frames, lambda frame: _ours(frame, side))),
        OURS: _each(frames, lambda frame: _ours(frame, side)),
        SHARED: _shared(frames, side, workers),
    }
    found = _speed.interleave(turns, rounds, f"{_speed.size_text(size)} to {side} px")
    area = [_plain(frame, side, cv2.INTER_AREA).astype(np.int16) for frame in frames]

    def row(name: str, results: list[Pixels]) -> Row:
        levels = [np.abs(result - expected) for result, expected in zip(results, area, strict=True)]
        frame_ms, times = _speed.median_of(found[name]) * 1000, _speed.median_of(found[AREA], found[name])
        mean, most = float(np.mean(levels)), float(np.max(levels))
        return Row(_speed.size_text(size), side, name, frame_ms, times, mean, most)

    ours = [_ours(frame, side) for frame in frames]
    linear = [_plain(frame, side, cv2.INTER_LINEAR) for frame in frames]
    results = {AREA: [_plain(frame, side, cv2.INTER_AREA) for frame in frames], LINEAR: linear}
    return [row(name, results.get(name, ours)) for name in turns]


def _plain(frame: Pixels, side: int, interpolation: int) -> Pixels:
    return np.asarray(cv2.resize(frame, (side, side), interpolation=interpolation), np.uint8)


def _ours(frame: Pixels, side: int) -> Pixels:
    out = np.empty((side, side, 3), np.uint8)
    resize(frame, out)
    return out


def _each(frames: list[Pixels], prepare: Callable[[Pixels], Pixels]) -> _speed.Turn:
    source = itertools.cycle(frames)
    return lambda: _speed.timed(lambda: prepare(next(source)))


def _alone(turn: _speed.Turn) -> _speed.Turn:
    """Let OpenCV use one thread in a turn."""

    def alone() -> float:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            return turn()
        finally:
            cv2.setNumThreads(threads)

    return alone


def _shared(frames: list[Pixels], side: int, workers: ThreadPoolExecutor) -> _speed.Turn:
    preparer = Preparer(PreprocessSpec(height=side, width=side), BATCH, workers)
    source = _speed.batches(frames, BATCH)

    def prepare() -> None:
        prepared = preparer.start(next(source))
        prepared.wait()
        prepared.release()

    return lambda: _speed.timed(prepare) / BATCH


def _agreement(recognizer: Recognizer, frames: list[Pixels], shown: list[str], rounds: int) -> Agreement:
    height, width = frames[0].shape[:2]
    size = _speed.size_text((width, height))
    spec = recognizer.manifest.preprocess
    ready = [cv2.resize(frame, (spec.width, spec.height), interpolation=cv2.INTER_AREA) for frame in frames]
    labels = np.array(recognizer.labels)
    area, ours = (labels[recognizer.infer(pictures).score.argmax(axis=1)] for pictures in (ready, frames))
    turns = {
        "preprocessing": _each(frames, lambda frame: preprocess([frame], spec)),
        "label": _each(frames, recognizer.recognize),
    }
    found = _speed.interleave(turns, rounds, f"{size} share")
    preparing, label = found["preprocessing"], found["label"]
    return Agreement(
        size,
        len(frames),
        *(float((one == other).mean()) for one, other in ((area, ours), (area, shown), (ours, shown))),
        _speed.median_of(preparing) * 1000,
        _speed.median_of(label) * 1000,
        _speed.median_of(preparing, label),
    )


def to_table(rows: list[Row]) -> str:
    """Return costs and differences as a Markdown table."""
    head = ("frame", "network", "way", "ms a frame", "times INTER_AREA", "mean difference", "largest difference")
    lines = [
        (
            row.frame,
            f"{row.side_px} px",
            row.name,
            f"{row.frame_ms:.3f}",
            f"{row.times_area:.1f}",
            f"{row.mean_levels:.2f}",
            f"{row.most_levels:.0f}",
        )
        for row in rows
    ]
    return _speed.markdown(head, lines)


def to_agreement_table(agreements: list[Agreement]) -> str:
    """Return what the network says as a Markdown table, and whether the promise is kept."""
    head = (
        "frame",
        "frames",
        "same label as INTER_AREA",
        "right label, INTER_AREA",
        "right label",
        "preprocessing",
        "frame to label, cpu fp32",
        "share",
    )
    lines = [
        (
            found.frame,
            str(found.frames),
            f"{found.same_label:.2%}",
            f"{found.right_by_area:.2%}",
            f"{found.right_by_ours:.2%}",
            f"{found.preprocessing_ms:.2f} ms",
            f"{found.label_ms:.2f} ms",
            f"{found.share:.1%}",
        )
        for found in agreements
    ]
    promised = [found for found in agreements if found.frame == _speed.size_text(MOST_SHARE_SIZE)]
    notes = [
        f"Promised at {found.frame}: at most {MOST_SHARE:.0%}; {'kept' if found.share <= MOST_SHARE else 'NOT KEPT'}."
        for found in promised
    ]
    return "\n\n".join([_speed.markdown(head, lines), *notes])


def plot(rows: list[Row]) -> Figure:
    """Draw milliseconds a frame, one panel for each size of the network."""
    panels = []
    for side in sorted({row.side_px for row in rows}):
        bars = [
            Bar(f"{row.frame}  {row.name}", row.frame_ms, f"{row.frame_ms:.2f}", _COLOURS[row.name])
            for row in rows
            if row.side_px == side
        ]
        panels.append((f"to {side} px", bars))
    return bar_figure(panels, "ms a frame", "Preprocessing: bringing a frame to the network's size")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = _speed.parser(__doc__, "preprocess", frames=32)
    parser.add_argument("--package", metavar="PACKAGE", type=Path, help="whose network says if it names frames alike")
    parser.add_argument(
        "--frame-size", type=_speed.pixels, nargs="+", default=SIZES, help="default: 256x256 to 2448x2048"
    )
    parser.add_argument("--side", type=int, nargs="+", default=SIDES, help="of the network, in px (default: 150 224)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
