"""Does a line keep its promises as long as it runs: counters that add up, memory that stays, swaps that lose nothing?

Paced cameras send frames at a rate of their own under the policy `latest`, or `queue`. They count what they sent, and a
listener what was answered; both are compared with the line's counters. With `--swap`, another package is put in place
of the one that answers again and again meanwhile, and back.

Example:
    python benchmarks/soak.py line3.partsight --data /data/parts --fps 200 --seconds 600
    python benchmarks/soak.py line3.partsight --data /data/parts --seconds 300 --swap line4.partsight --swaps 100
    python benchmarks/soak.py line3.partsight --data /data/parts --fps 30 --cameras 4 --seconds 86400
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

import _speed
import numpy as np
from _line_rig import Answers, PacedCamera, memory_mb
from _speed_plot import tidy
from matplotlib.figure import Figure

from partsight.runtime import Recognizer
from partsight.runtime.core import progress_bar
from partsight.runtime.line import Line, LineCounters, Policy
from partsight.runtime.sinks import open_sink

WARM_UP_SHARE = 0.1
"""Of the run, after which memory is taken to be what it will be."""


@dataclass(frozen=True)
class Course:
    """What was looked at once in a while; memory in MB at each of `seconds`."""

    seconds: list[float]
    memory: list[float]

    def settled(self) -> list[float]:
        """Return memory after the warm-up."""
        return self.memory[int(len(self.memory) * WARM_UP_SHARE) :]


@dataclass(frozen=True)
class Verdict:
    """What the issue is: each must hold.

    Attributes:
        sent, seen, accounted: frames that the cameras sent, that the line saw, and the sum of its other counters.
        answered, written, told_twice, without_package: answers by the listener, lines in the sink's file, and of them
            those that came twice, or do not say which package they are of.
        swaps: that were done.
    """

    sent: int
    seen: int
    accounted: int
    answered: int
    counted_answers: int
    written: int
    told_twice: int
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
        """Whether nothing was lost and nothing came twice."""
        return (
            self.sent == self.seen == self.accounted
            and self.answered == self.counted_answers == self.written
            and not self.told_twice
            and not self.without_package
        )


def main(arguments: list[str] | None = None) -> int:
    """Run, write what was found, and return 1 if anything was lost."""
    args = _parse(arguments)
    frames = _speed.line_frames(args.data, args.frames, args.frame_size)
    count = round(args.fps * args.seconds)
    cameras = {f"camera{place}": PacedCamera(frames, args.fps, count) for place in range(args.cameras)}
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
    _speed.report(args, results, text, _plot(args, answers, swap_times, course))
    return 0 if verdict.is_whole else 1


def _load(args: argparse.Namespace, package: str | Path) -> Recognizer:
    return Recognizer(package, provider=args.provider, precision=args.precision, batch_size=args.batch)


def _swap(args: argparse.Namespace, line: Line, times: list[tuple[float, float]]) -> None:
    """Swap between both packages, spread over the run, while it lasts; note when each swap began and ended."""
    if args.swap is None:
        return
    packages = itertools.cycle([args.swap, args.package])
    started = time.perf_counter()
    for number in range(args.swaps):
        wait_s = started + (number + 0.5) / args.swaps * args.seconds * 0.95 - time.perf_counter()
        if line.wait(max(0.0, wait_s)):
            return  # a swap without load shows nothing
        begun = time.perf_counter()
        line.swap(next(packages), lambda package: _load(args, package))
        times.append((begun, time.perf_counter()))


def _watch(args: argparse.Namespace, line: Line) -> Course:
    course = Course([], [])
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
    course: Course,
) -> Verdict:
    all_of = counters.cameras.values()
    latencies = np.array(answers.latencies_ms)
    pauses = np.diff(answers.times) * 1000
    ends = np.array(answers.times[1:])
    at_swap = np.zeros(len(pauses), bool)
    for begun, ended in swap_times:
        at_swap |= (ends >= begun) & (ends <= ended + 0.1)
    memory = course.settled() or [0.0]
    return Verdict(
        sent=sum(camera.count for camera in cameras.values()),
        seen=counters.seen,
        accounted=sum(it.recognised + it.unknown + it.skipped + it.late + it.partial + it.failed for it in all_of),
        answered=len(answers.times),
        counted_answers=sum(it.recognised + it.unknown + it.failed for it in all_of),
        written=written,
        told_twice=sum(number - 1 for number in Counter(answers.keys).values()),
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


def _table(args: argparse.Namespace, verdict: Verdict, counters: LineCounters) -> str:
    cameras = counters.cameras.values()
    outcomes = {
        name: sum(getattr(camera, name) for camera in cameras)
        for name in ("recognised", "unknown", "skipped", "late", "partial", "failed")
    }
    rows = [
        ("frames sent, by the cameras' own count", f"{verdict.sent:,}"),
        ("seen by the line", f"{verdict.seen:,}"),
        ("of these " + ", ".join(outcomes), ", ".join(f"{value:,}" for value in outcomes.values())),
        ("answers: counted, heard, written", f"{verdict.counted_answers:,}, {verdict.answered:,}, {verdict.written:,}"),
        ("answered twice, without a package's id", f"{verdict.told_twice}, {verdict.without_package}"),
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
        f"{args.cameras} × {args.fps:g} frames/s of {_speed.size_text(args.frame_size)} for {args.seconds:g} s, policy "
        f"{policy}, {args.provider} {args.precision}, batches of {args.batch}."
    )
    return f"{about}\n\n{_speed.markdown(('what', 'found'), rows)}"


def _plot(args: argparse.Namespace, answers: Answers, swaps: list[tuple[float, float]], course: Course) -> Figure:
    figure = Figure(figsize=(11, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    started = answers.times[0]
    times = np.array(answers.times) - started
    above.plot(times, answers.latencies_ms, ",", color="#2563eb")
    above.set(ylabel="latency, ms")
    for begun, _ in swaps:
        above.axvline(begun - started, color="#f59e0b", linewidth=0.5)
    below.plot(course.seconds, course.memory, color="#16a34a")
    below.set(ylabel="memory, MB", xlabel="seconds")
    below.set_ylim(0)
    for axes in (above, below):
        tidy(axes, "both")
    title = f"{args.cameras} × {args.fps:g} frames/s" + (f", {len(swaps)} swaps" if swaps else "")
    figure.suptitle(title, fontsize=12, fontweight="bold")
    return figure


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = _speed.parser(__doc__, "soak", rounds=None)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--provider", default="cpu", help="default: %(default)s")
    parser.add_argument("--precision", default="fp32", help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=4, help="most frames answered at once (default: %(default)s)")
    parser.add_argument(
        "--queue",
        type=int,
        default=0,
        metavar="FRAMES",
        help="of each camera that wait; 0 for the policy latest (default)",
    )
    parser.add_argument("--cameras", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--fps", type=float, default=200.0, help="of each camera (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=600.0, help="default: %(default)s")
    parser.add_argument("--frame-size", type=_speed.pixels, default=(640, 480), help="default: 640x480")
    parser.add_argument("--swap", metavar="PACKAGE", type=Path, help="put this one in place of the other, and back")
    parser.add_argument("--swaps", type=int, default=100, help="how often (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
