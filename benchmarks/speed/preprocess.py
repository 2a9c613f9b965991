"""How long does it take to shrink a frame to the network's size, and how exact is the result?

The exact result is the mean over the area of each pixel, OpenCV's INTER_AREA, which is slow. INTER_LINEAR skips pixels
if it shrinks by more than two, so that fine lines vanish. partsight computes the same mean in faster steps
(`partsight.runtime.images.resize`). The benchmark measures it with one thread, with OpenCV's threads, and for a batch
by several workers, as the runtime does.

Differences are in grey levels of 0 to 255, on enlarged pictures of parts with a camera's noise. With `--package`, the
benchmark also compares the network's labels for both results, and measures the share of preprocessing in an answer.

Example:
    python -m benchmarks.speed.preprocess --package line3.partsight --data PARTS --rounds 20
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from benchmarks.common.frames import batches, line_frames, line_paths, parse_size, size_text
from benchmarks.common.plot import BLUE, GREEN, GREY, ORANGE, PlotBar, bar_figure
from benchmarks.common.results import make_parser, markdown_table, write_report
from benchmarks.common.rounds import Turn, interleave, median_of, timed
from benchmarks.speed.agreement import Agreement, each, measure_agreement, to_agreement_table
from partsight.runtime import Recognizer
from partsight.runtime.core import Pixels
from partsight.runtime.images import PreprocessSpec, resize
from partsight.runtime.recognition import Preparer

SIZES = ((256, 256), (640, 480), (1280, 1024), (1920, 1080), (2448, 2048))
SIDES = (150, 224)
BATCH = 16
NOISE_LEVELS = 4.0
AREA, LINEAR = "cv2 INTER_AREA", "cv2 INTER_LINEAR (skips pixels)"
ONE, OURS, SHARED = "partsight, one thread", "partsight", f"partsight, batch of {BATCH} by workers"
_COLOURS = {AREA: GREY, LINEAR: ORANGE, ONE: BLUE, OURS: GREEN, SHARED: GREEN}


@dataclass(frozen=True)
class PreprocessRow:
    """Costs and exactness of one method to prepare frames.

    Attributes:
        frame: Size of the frames.
        side_px: Height and width of the result, in px.
        name: Name of the method.
        frame_ms: Time of one frame.
        times_area: Speed as a multiple of INTER_AREA's.
        mean_levels, most_levels: Mean and largest difference to INTER_AREA's result, in grey levels.
    """

    frame: str
    side_px: int
    name: str
    frame_ms: float
    times_area: float
    mean_levels: float
    most_levels: float


def main(arguments: list[str] | None = None) -> None:
    """Measure, print tables and write result files."""
    args = _parse(arguments)
    rows: list[PreprocessRow] = []
    agreements: list[Agreement] = []
    opened = Recognizer(args.package, matching=False) if args.package else nullcontext()
    with opened as recognizer, ThreadPoolExecutor() as workers:
        for size in args.frame_size:
            frames, shown = _frames(args.data, args.frames, size)
            for side in args.side:
                rows += _measure(frames, size, side, workers, args.rounds)
            if recognizer is not None:
                agreements.append(measure_agreement(recognizer, frames, shown, args.rounds))
    text = [to_table(rows)] + ([to_agreement_table(agreements)] if agreements else [])
    results: dict[str, Any] = {"rows": [asdict(row) for row in rows], "frames": args.frames, "rounds": args.rounds}
    results["agreement"] = [asdict(agreement) for agreement in agreements]
    write_report(args, results, "\n\n".join(text), plot(rows))


def _frames(data: Path, count: int, size: tuple[int, int]) -> tuple[list[Pixels], list[str]]:
    """Return frames with a camera's noise, and the part that each shows.

    Without noise, enlarged pictures are smoother than a sensor's, and every fast method would look too exact.
    """
    frames = line_frames(data, count, size)
    cv2.setRNGSeed(0)
    noise = [cv2.randn(np.empty(frame.shape, np.int16), (0,) * 3, (NOISE_LEVELS,) * 3) for frame in frames]
    noisy = [cv2.add(frame, levels, dtype=cv2.CV_8U) for frame, levels in zip(frames, noise, strict=True)]
    return noisy, [path.parent.name for path in line_paths(data, count)]


def _measure(
    frames: list[Pixels], size: tuple[int, int], side: int, workers: ThreadPoolExecutor, rounds: int
) -> list[PreprocessRow]:
    turns = {
        AREA: each(frames, lambda frame: _plain(frame, side, cv2.INTER_AREA)),
        LINEAR: each(frames, lambda frame: _plain(frame, side, cv2.INTER_LINEAR)),
        ONE: _alone(each(frames, lambda frame: _ours(frame, side))),
        OURS: each(frames, lambda frame: _ours(frame, side)),
        SHARED: _shared(frames, side, workers),
    }
    found = interleave(turns, rounds, f"{size_text(size)} to {side} px")
    area = [_plain(frame, side, cv2.INTER_AREA).astype(np.int16) for frame in frames]

    def row(name: str, results: list[Pixels]) -> PreprocessRow:
        levels = [np.abs(result - expected) for result, expected in zip(results, area, strict=True)]
        frame_ms, times = median_of(found[name]) * 1000, median_of(found[AREA], found[name])
        mean, most = float(np.mean(levels)), float(np.max(levels))
        return PreprocessRow(size_text(size), side, name, frame_ms, times, mean, most)

    ours = [_ours(frame, side) for frame in frames]
    linear = [_plain(frame, side, cv2.INTER_LINEAR) for frame in frames]
    results = {AREA: [_plain(frame, side, cv2.INTER_AREA) for frame in frames], LINEAR: linear}
    return [row(name, results.get(name, ours)) for name in turns]


def _plain(frame: Pixels, side: int, interpolation: int) -> Pixels:
    return np.asarray(cv2.resize(frame, (side, side), interpolation=interpolation), np.uint8)


def _ours(frame: Pixels, side: int) -> Pixels:
    out = np.empty((side, side, 3), np.uint8)
    resize(frame, [out])
    return out


def _alone(turn: Turn) -> Turn:
    """Limit OpenCV to one thread in a turn."""

    def alone() -> float:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            return turn()
        finally:
            cv2.setNumThreads(threads)

    return alone


def _shared(frames: list[Pixels], side: int, workers: ThreadPoolExecutor) -> Turn:
    preparer = Preparer([PreprocessSpec(height=side, width=side)], BATCH, workers)
    source = batches(frames, BATCH)

    def prepare() -> None:
        prepared = preparer.start(next(source))
        prepared.wait()
        prepared.release()

    return lambda: timed(prepare) / BATCH


def to_table(rows: list[PreprocessRow]) -> str:
    """Return costs and differences as a Markdown table."""
    head = ("frame", "network", "method", "ms a frame", "times INTER_AREA", "mean difference", "largest difference")
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
    return markdown_table(head, lines)


def plot(rows: list[PreprocessRow]) -> Figure:
    """Draw milliseconds a frame, one panel for each size of the network."""
    panels = []
    for side in sorted({row.side_px for row in rows}):
        bars = [
            PlotBar(f"{row.frame}  {row.name}", row.frame_ms, f"{row.frame_ms:.2f}", _COLOURS[row.name])
            for row in rows
            if row.side_px == side
        ]
        panels.append((f"to {side} px", bars))
    return bar_figure(panels, "ms a frame", "Preprocessing: bringing a frame to the network's size")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "preprocess", rounds=10, frames=32)
    parser.add_argument("--package", metavar="PACKAGE", type=Path, help="package whose network compares labels")
    parser.add_argument("--frame-size", type=parse_size, nargs="+", default=SIZES, help="default: 256x256 to 2448x2048")
    parser.add_argument(
        "--side",
        type=int,
        nargs="+",
        default=SIDES,
        help="height and width of the network's input, in px (default: 150 224)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
