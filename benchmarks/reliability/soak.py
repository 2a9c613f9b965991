"""Do a line's counters add up, does its memory stay constant, and do swaps lose no frame, however long it runs?

Cameras send frames at a fixed rate under the policy `latest`, or `queue`. They count the frames that they send, and a
listener counts the answers; the benchmark compares both with the line's counters. With `--swap`, the line swaps between
two packages again and again during the run.

Example:
    python -m benchmarks.reliability.soak line3.partsight --data PARTS --fps 200 --seconds 600
    python -m benchmarks.reliability.soak line3.partsight --data PARTS --seconds 300 --swap line4.partsight --swaps 100
    python -m benchmarks.reliability.soak line3.partsight --data PARTS --fps 30 --cameras 4 --seconds 86400
"""

import argparse
import itertools
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.common.frames import line_frames, parse_size, size_text
from benchmarks.common.plot import tidy
from benchmarks.common.results import make_parser, markdown_table, write_report
from benchmarks.reliability.line_rig import Answers, PacedCamera, memory_mb
from partsight.runtime import Recognizer
from partsight.runtime.core import progress_bar
from partsight.runtime.line import Line, LineCounters, Policy
from partsight.runtime.sinks import open_sink

WARM_UP_SHARE = 0.1
"""Share of the run that counts as warm-up; after it, memory should stay constant."""


@dataclass(frozen=True)
class MemoryCourse:
    """Memory of the process over time, in MB at each of `seconds`."""

    seconds: list[float]
    memory: list[float]

    def settled(self) -> list[float]:
        """Return memory after the warm-up."""
        return self.memory[int(len(self.memory) * WARM_UP_SHARE) :]


@dataclass(frozen=True)
class SoakFindings:
    """Counts of a run, and its latencies.

    Attributes:
        sent, seen, accounted: Number of frames that the cameras sent, that the line saw, and the sum of the line's
            other counters.
        answered, written: Number of answers at the listener, and of lines in the sink's file.
        repeated, without_package: Number of answers that came twice, and of answers that name no package.
        swaps: Number of swaps.
    """

    sent: int
    seen: int
    accounted: int
    answered: int
    counted_answers: int
    written: int
    repeated: int
    without_package: int
    swaps: int
    packages: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    longest_pause_ms: float
    longest_pause_at_swap_ms: float
    memory_mb: float
    memory_spread: float

    @property
    def is_whole(self) -> bool:
        """Whether the line lost no frame and repeated no answer."""
        return (
            self.sent == self.seen == self.accounted
            and self.answered == self.counted_answers == self.written
            and not self.repeated
            and not self.without_package
        )


def main(arguments: list[str] | None = None) -> int:
    """Run, write result files, and return 1 if the line lost or repeated a result."""
    args = _parse(arguments)
    frames = line_frames(args.data, args.frames, args.frame_size)
    count = round(args.fps * args.seconds)
    cameras = {f"camera{index}": PacedCamera(frames, args.fps, count) for index in range(args.cameras)}
    answers, swap_times = Answers(), []
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "results.jsonl"
        line = Line(
            _load(args, args.package),
            {name: lambda camera=camera: camera for name, camera in cameras.items()},  # type: ignore[misc]
            {"file": open_sink(f"jsonl:{written}?sync_every=1000")},
            policy=Policy("queue", args.queue) if args.queue else Policy(),
            on_result=answers,
        )
        with line:
            swapping = threading.Thread(target=_swap, args=(args, line, swap_times), daemon=True)
            swapping.start()
            course = _watch(args, line)
            swapping.join()
        with written.open("rb") as file:
            lines = sum(1 for _ in file)
    verdict = _judge(line.counters(), cameras, answers, swap_times, lines, course)
    text = _table(args, verdict, line.counters())
    results: dict[str, Any] = {
        "arguments": {
            "fps": args.fps,
            "seconds": args.seconds,
            "cameras": args.cameras,
            "queue": args.queue,
            "swaps": len(swap_times),
        },
        "verdict": asdict(verdict) | {"is_whole": verdict.is_whole},
        "counters": {name: asdict(camera) for name, camera in line.counters().cameras.items()},
        "memory": {"seconds": course.seconds, "mb": course.memory},
    }
    write_report(args, results, text, _plot(args, answers, swap_times, course))
    return 0 if verdict.is_whole else 1


def _load(args: argparse.Namespace, package: str | Path) -> Recognizer:
    return Recognizer(package, provider=args.provider, precision=args.precision, batch_size=args.batch)


def _swap(args: argparse.Namespace, line: Line, times: list[tuple[float, float]]) -> None:
    """Swap between both packages again and again during the run; record start and end of each swap."""
    if args.swap is None:
        return
    packages = itertools.cycle([args.swap, args.package])
    started = time.perf_counter()
    for number in range(args.swaps):
        wait_s = started + (number + 0.5) / args.swaps * args.seconds * 0.95 - time.perf_counter()
        if line.wait(max(0.0, wait_s)):
            return  # a swap without load shows nothing
        started_at = time.perf_counter()
        line.swap(next(packages), lambda package: _load(args, package))
        times.append((started_at, time.perf_counter()))


def _watch(args: argparse.Namespace, line: Line) -> MemoryCourse:
    course = MemoryCourse([], [])
    started = time.perf_counter()
    every_s = max(0.1, args.seconds / 600)
    with progress_bar(round(args.seconds), "running", "s") as bar:
        while not line.wait(every_s):
            course.seconds.append(time.perf_counter() - started)
            course.memory.append(memory_mb())
            bar.update(min(round(args.seconds), int(course.seconds[-1])) - bar.n)
    return course


def _judge(
    counters: LineCounters,
    cameras: dict[str, PacedCamera],
    answers: Answers,
    swap_times: list[tuple[float, float]],
    written: int,
    course: MemoryCourse,
) -> SoakFindings:
    all_of = counters.cameras.values()
    latencies = np.array(answers.latencies_ms)
    pauses = np.diff(answers.times) * 1000
    ends = np.array(answers.times[1:])
    at_swap = np.zeros(len(pauses), bool)
    for started_at, ended in swap_times:
        at_swap |= (ends >= started_at) & (ends <= ended + 0.1)
    memory = course.settled() or [0.0]
    return SoakFindings(
        sent=sum(camera.count for camera in cameras.values()),
        seen=counters.seen,
        accounted=sum(it.recognised + it.unknown + it.skipped + it.expired + it.partial + it.failed for it in all_of),
        answered=len(answers.times),
        counted_answers=sum(it.recognised + it.unknown + it.failed for it in all_of),
        written=written,
        repeated=sum(number - 1 for number in Counter(answers.keys).values()),
        without_package=answers.packages.count(""),
        swaps=counters.swaps,
        packages=len(set(answers.packages)),
        p50_ms=float(np.quantile(latencies, 0.5)),
        p99_ms=float(np.quantile(latencies, 0.99)),
        p999_ms=float(np.quantile(latencies, 0.999)),
        longest_pause_ms=float(pauses[~at_swap].max(initial=0)),
        longest_pause_at_swap_ms=float(pauses[at_swap].max(initial=0)),
        memory_mb=float(np.median(memory)),
        memory_spread=(max(memory) - min(memory)) / 2 / max(float(np.median(memory)), 1.0),
    )


def _table(args: argparse.Namespace, verdict: SoakFindings, counters: LineCounters) -> str:
    cameras = counters.cameras.values()
    outcomes = {
        name: sum(getattr(camera, name) for camera in cameras)
        for name in ("recognised", "unknown", "skipped", "expired", "partial", "failed")
    }
    rows = [
        ("frames sent, as the cameras count", f"{verdict.sent:,}"),
        ("seen by the line", f"{verdict.seen:,}"),
        ("of these " + ", ".join(outcomes), ", ".join(f"{value:,}" for value in outcomes.values())),
        ("answers: counted, heard, written", f"{verdict.counted_answers:,}, {verdict.answered:,}, {verdict.written:,}"),
        ("answered twice, without a package's id", f"{verdict.repeated}, {verdict.without_package}"),
        ("answers a second", f"{verdict.answered / args.seconds:.1f}"),
        (
            "p50, p99, p99.9 from arrival to answer",
            f"{verdict.p50_ms:.1f}, {verdict.p99_ms:.1f}, {verdict.p999_ms:.1f} ms",
        ),
        ("longest pause between answers", f"{verdict.longest_pause_ms:.0f} ms"),
        ("memory: median, and half of its range", f"{verdict.memory_mb:.0f} MB, ± {verdict.memory_spread:.1%}"),
    ]
    if verdict.swaps:
        rows += [
            ("swaps, packages that answered", f"{verdict.swaps}, {verdict.packages}"),
            ("longest pause during a swap", f"{verdict.longest_pause_at_swap_ms:.0f} ms"),
        ]
    rows.append(("nothing lost, nothing twice", "yes" if verdict.is_whole else "NO"))
    policy = f"queue of {args.queue}" if args.queue else "latest"
    about = (
        f"{args.cameras} × {args.fps:g} frames/s of {size_text(args.frame_size)} for {args.seconds:g} s, policy "
        f"{policy}, {args.provider} {args.precision}, batches of {args.batch}."
    )
    return f"{about}\n\n{markdown_table(('what', 'found'), rows)}"


def _plot(args: argparse.Namespace, answers: Answers, swaps: list[tuple[float, float]], course: MemoryCourse) -> Figure:
    figure = Figure(figsize=(11, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    started = answers.times[0]
    times = np.array(answers.times) - started
    above.plot(times, answers.latencies_ms, ",", color="#2563eb")
    above.set(ylabel="latency, ms")
    for started_at, _ in swaps:
        above.axvline(started_at - started, color="#f59e0b", linewidth=0.5)
    below.plot(course.seconds, course.memory, color="#16a34a")
    below.set(ylabel="memory, MB", xlabel="seconds")
    below.set_ylim(0)
    for axes in (above, below):
        tidy(axes, "both")
    title = f"{args.cameras} × {args.fps:g} frames/s" + (f", {len(swaps)} swaps" if swaps else "")
    figure.suptitle(title, fontsize=12, fontweight="bold")
    return figure


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "soak", frames=48)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--provider", default="cpu", help="default: %(default)s")
    parser.add_argument("--precision", default="fp32", help="default: %(default)s")
    parser.add_argument(
        "--batch", type=int, default=4, help="largest number of frames in a batch (default: %(default)s)"
    )
    parser.add_argument(
        "--queue",
        type=int,
        default=0,
        metavar="FRAMES",
        help="frames of each camera that may wait; 0 for the policy latest (default)",
    )
    parser.add_argument("--cameras", type=int, default=1, help="default: %(default)s")
    parser.add_argument(
        "--fps", type=float, default=200.0, help="frames a second of each camera (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="default: %(default)s")
    parser.add_argument("--frame-size", type=parse_size, default=(640, 480), help="default: 640x480")
    parser.add_argument("--swap", metavar="PACKAGE", type=Path, help="swap to this package, and back")
    parser.add_argument("--swaps", type=int, default=100, help="number of swaps (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
