"""How long does a frame wait for its label if frames arrive at a fixed rate?

A timer sends the frames, independent of the recogniser. Latency counts from the arrival, so it includes the wait for
the frame before. The benchmark measures at shares of the capacity, the rate of answers to one frame after the other.

Example:
    python -m benchmarks.speed.latency line3.partsight --data PARTS --provider openvino --precision int8 --seconds 60
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.common.frames import batches, line_frames, parse_size, size_text
from benchmarks.common.plot import BLUE, GREEN, RED, tidy
from benchmarks.common.results import make_parser, markdown_table, write_report
from benchmarks.common.rounds import timed
from partsight.runtime import Recognizer
from partsight.runtime.core import Pixels, progress_bar

CAPACITY_CALLS = 50
CLOSE_S = 0.0005
"""Seconds before an arrival at which the waiting thread stops sleeping and polls the clock, because sleep ends late."""
QUANTILES = (0.5, 0.99, 0.999)
_COLOURS = (GREEN, BLUE, RED)


@dataclass(frozen=True)
class Load:
    """Figures at one rate.

    Attributes:
        share: Share of the capacity.
        frames: Number of frames that arrived.
        interval_ms: Mean time between arrivals.
        deadline_ms: Deadline of the answer, from the arrival.
        p50_ms, p99_ms, p999_ms, max_ms: Latency.
        missed: Share of the frames whose answer came after the deadline.
        call_p50_ms, call_p99_ms: Time of the calls alone, without the wait for the frame before.
        woken_p99_ms: Delay of the thread that waits for a frame: the machine's share.
    """

    share: float
    frames: int
    interval_ms: float
    deadline_ms: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    missed: float
    call_p50_ms: float
    call_p99_ms: float
    woken_p99_ms: float


@dataclass(frozen=True)
class FrameTimes:
    """Seconds since the start of each frame: its arrival, and the start and end of its call."""

    arrival: np.ndarray
    start: np.ndarray
    end: np.ndarray


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    frames = line_frames(args.data, args.frames, args.frame_size)
    options: dict[str, Any] = {"batch_size": 1, "matching": not args.network_alone}
    with Recognizer(args.package, provider=args.provider, precision=args.precision, **options) as recognizer:
        recognizer.preload()  # as a line does
        capacity = measure_capacity(recognizer, frames)
        traces = {share: _run(recognizer, frames, capacity * share, args) for share in args.load}
    loads = [_load(share, trace, capacity * share, args.deadline_ms) for share, trace in traces.items()]
    settings = {name: getattr(args, name) for name in ("provider", "precision", "network_alone", "arrivals", "seconds")}
    text = f"{_about(args)} Capacity: {capacity:.1f} frames/s.\n\n{to_table(loads)}"
    results = settings | {"capacity_per_s": capacity, "loads": [asdict(load) for load in loads]}
    write_report(args, results, text, plot(traces, loads, f"{args.package.stem}, {_about(args)}".rstrip(".")))


def measure_capacity(recognizer: Recognizer, frames: list[Pixels]) -> float:
    """Return the rate of answers to one frame after the other, in frames a second."""
    source = batches(frames, 1)
    seconds = [timed(lambda: recognizer.recognize(next(source)[0]), 0.0) for _ in range(CAPACITY_CALLS)]
    return 1 / float(np.mean(seconds))


def arrivals(rate: float, seconds: float, kind: str) -> np.ndarray:
    """Return the arrival times of the frames, in seconds from the start."""
    count = max(1, int(rate * seconds))
    gaps = np.full(count, 1 / rate)
    if kind == "poisson":
        gaps = np.random.default_rng(0).exponential(1 / rate, count)
    return np.cumsum(gaps)


def _run(recognizer: Recognizer, frames: list[Pixels], rate: float, args: argparse.Namespace) -> FrameTimes:
    moments = arrivals(rate, args.seconds, args.arrivals)
    with progress_bar(len(moments), f"{rate:.1f}/s", "frame") as bar:
        return play(lambda index: recognizer.recognize(frames[index % len(frames)]), moments, bar.update)


def play(call: Callable[[int], object], moments: np.ndarray, tick: Callable[[], object]) -> FrameTimes:
    """Call with each frame's number at its arrival, or as soon as the previous call has ended."""
    starts, ends = np.empty(len(moments)), np.empty(len(moments))
    zero = time.perf_counter() + 0.05
    for index, moment in enumerate(moments):
        left = zero + moment - time.perf_counter()
        if left > CLOSE_S:
            time.sleep(left - CLOSE_S)
        while time.perf_counter() < zero + moment:
            pass
        starts[index] = time.perf_counter() - zero
        call(index)
        ends[index] = time.perf_counter() - zero
        tick()
    return FrameTimes(moments, starts, ends)


def _load(share: float, trace: FrameTimes, rate: float, deadline_ms: float | None) -> Load:
    latency_ms = (trace.end - trace.arrival) * 1000
    call_ms = (trace.end - trace.start) * 1000
    deadline_ms = deadline_ms or 1000 / rate
    before = np.concatenate([[0], trace.end[:-1]])
    woken_ms = (trace.start - np.maximum(trace.arrival, before)) * 1000
    return Load(
        share,
        len(latency_ms),
        1000 / rate,
        deadline_ms,
        *(float(value) for value in np.quantile(latency_ms, QUANTILES)),
        float(latency_ms.max()),
        float((latency_ms > deadline_ms).mean()),
        *(float(value) for value in np.quantile(call_ms, QUANTILES[:2])),
        float(np.quantile(woken_ms, 0.99)),
    )


def to_table(loads: list[Load]) -> str:
    """Return the figures as a Markdown table."""
    head = (
        "load", "frames", "interval", "p50", "p99", "p99.9", "most", "p99/p50", "deadline", "missed",
        "call alone p50, p99", "woken late p99",
    )  # fmt: skip
    lines = []
    for load in loads:
        # With fewer than 1,000 frames this percentile is just the largest value.
        p999 = f"{load.p999_ms:.1f} ms" if load.frames >= 1000 else "too few frames"
        lines.append(
            (
                f"{load.share:.0%}",
                str(load.frames),
                f"{load.interval_ms:.1f} ms",
                f"{load.p50_ms:.1f} ms",
                f"{load.p99_ms:.1f} ms",
                p999,
                f"{load.max_ms:.1f} ms",
                f"{load.p99_ms / load.p50_ms:.2f}",
                f"{load.deadline_ms:.1f} ms",
                f"{load.missed:.2%}",
                f"{load.call_p50_ms:.1f}, {load.call_p99_ms:.1f} ms",
                f"{load.woken_p99_ms:.2f} ms",
            )
        )
    return markdown_table(head, lines)


def _about(args: argparse.Namespace) -> str:
    stages = "network alone" if args.network_alone else "golden images compared"
    spacing = "fixed intervals" if args.arrivals == "fixed" else "Poisson arrivals"
    return f"{args.provider} {args.precision}, {stages}, {spacing}, frames {size_text(args.frame_size)}."


def plot(traces: dict[float, FrameTimes], loads: list[Load], title: str) -> Figure:
    """Draw the share of frames that wait longer than a time, and latency over time."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    tail, course = figure.subplots(1, 2, width_ratios=(2, 3))
    for (share, trace), load, colour in zip(traces.items(), loads, _COLOURS * len(loads), strict=False):
        latency_ms = (trace.end - trace.arrival) * 1000
        label = f"{share:.0%} load: p50 {load.p50_ms:.1f}, p99 {load.p99_ms:.1f} ms"
        _tail(tail, latency_ms, label, colour)
        course.plot(trace.arrival, latency_ms, ".", markersize=3, color=colour, alpha=0.6)
    tail.set(xlabel="latency from arrival, ms", ylabel="share of frames that wait longer", yscale="log")
    tail.legend(fontsize=8)
    course.set(xlabel="seconds", ylabel="latency from arrival, ms")
    course.set_ylim(0)
    for axes in (tail, course):
        tidy(axes, "both")
    figure.suptitle(title, fontsize=12, fontweight="bold")
    return figure


def _tail(axes: Axes, latency_ms: np.ndarray, label: str, colour: str) -> None:
    ordered = np.sort(latency_ms)
    axes.step(ordered, 1 - np.arange(len(ordered)) / len(ordered), where="post", color=colour, label=label)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "latency", frames=48)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--provider", default="cpu", help="default: %(default)s")
    parser.add_argument("--precision", default="fp32", help="default: %(default)s")
    parser.add_argument("--network-alone", action="store_true", help="do not compare frames with golden images")
    parser.add_argument(
        "--load", type=float, nargs="+", default=[0.3, 0.7, 0.9], help="shares of the capacity (default: 0.3 0.7 0.9)"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="seconds for each load (default: %(default)s)")
    parser.add_argument("--arrivals", choices=("fixed", "poisson"), default="fixed", help="default: %(default)s")
    parser.add_argument(
        "--deadline-ms", type=float, metavar="MS", help="deadline from the arrival (default: the interval)"
    )
    parser.add_argument("--frame-size", type=parse_size, default=(1280, 1024), help="default: 1280x1024")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
