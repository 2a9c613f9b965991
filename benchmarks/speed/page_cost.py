"""What does the page cost the line? Frames/s and latency without a page, with a page, and with browsers open.

Each round measures one line without a page, one with a page that nobody watches, and one with browsers: first at a
share of its capacity (`latest`), then at saturation (`block`). The browsers run on the same machine, so at saturation
they take processor time from the line; frames per processor second of its process show the cost of the page alone.

Example:
    python -m benchmarks.speed.page_cost line3.partsight --data PARTS --rounds 10
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import numpy as np

from benchmarks.common.frames import line_frames, parse_size, size_text
from benchmarks.common.results import make_parser, markdown_table, write_results
from benchmarks.speed.page_processes import cpu_s, forget_peak, page_cpu_s, peak_mb, tree
from partsight.runtime import Recognizer
from partsight.runtime.cameras import Frame
from partsight.runtime.core import Pixels, progress_bar
from partsight.runtime.line import Line, Policy
from partsight.runtime.page import Page, PageSettings, Role
from partsight.runtime.page.web.call import session_cookie
from partsight.runtime.sinks import FrameEvent

CONFIGURATIONS = ("no page", "page, nobody", "page, browsers")
WARM_S = 1.0


@dataclass(frozen=True)
class Turn:
    """Figures of one line over some seconds.

    Attributes:
        frames_per_s: Answers a second, of all cameras.
        p50_ms, p99_ms: Latency from a frame's arrival to its answer.
        line_cpu: Processor seconds a second of the line's process, with its page.
        page_cpu: Processor seconds a second of the page's own threads, without the helpers of OpenCV.
        browsers_cpu: Processor seconds a second of all browsers.
        frames_per_cpu_s: Answers for each processor second of the line's process.
        peak_mb: Largest resident memory of the line's process, in MB.
    """

    frames_per_s: float
    p50_ms: float
    p99_ms: float
    line_cpu: float
    page_cpu: float
    browsers_cpu: float
    frames_per_cpu_s: float
    peak_mb: float


class PacedCamera:
    """A camera that sends frames at a fixed rate, or as fast as the line takes them."""

    ends = False

    def __init__(self, name: str, frames: list[Pixels], rate: float | None) -> None:
        """Take frames and their rate, in frames a second; None for no limit."""
        self._name, self._frames, self._rate = name, frames, rate
        self._closed, self._count, self._due = threading.Event(), 0, time.monotonic()

    def read(self) -> Frame | None:
        """Wait until the next frame is due and return it; None once the camera is closed."""
        if self._rate:
            self._due = max(self._due + 1 / self._rate, time.monotonic() - 1)
            self._closed.wait(max(0.0, self._due - time.monotonic()))
        if self._closed.is_set():
            return None
        image = self._frames[self._count % len(self._frames)]
        self._count += 1
        return Frame(image, self._name, self._count - 1, time.time())

    def close(self) -> None:
        """Send no more."""
        self._closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Bench:
    """Measures turns of one package."""

    def __init__(self, args: argparse.Namespace, frames: list[Pixels], folder: Path) -> None:
        """Take the options, the frames and a folder for the page's data."""
        self._args, self._frames, self._folder = args, frames, folder

    def turn(self, configuration: str, rate: float | None) -> Turn:
        """Run a line for a turn.

        Args:
            configuration: One of `CONFIGURATIONS`.
            rate: Frames a second of each camera; None for saturation.
        """
        latencies: list[float] = []
        with contextlib.ExitStack() as stack:
            line = self._line(rate)
            page = None if configuration == "no page" else stack.enter_context(self._page(line))
            line.listen(lambda event: note(event, latencies))
            stack.enter_context(line)
            browsers = self._browsers(stack, page) if page and configuration == "page, browsers" else []
            time.sleep(WARM_S)
            return _measure(latencies, browsers, self._args.seconds)

    def _line(self, rate: float | None) -> Line:
        recognizer = Recognizer(self._args.package, provider=self._args.provider, batch_size=self._args.batch_size)
        names = [f"camera {number}" for number in range(self._args.cameras)]
        opened = {
            name: PacedCamera(name, self._frames[number:] + self._frames[:number], rate)
            for number, name in enumerate(names)
        }
        policy = Policy("block", 2 * recognizer.batch_size) if rate is None else Policy()
        return Line(recognizer, {name: lambda name=name: opened[name] for name in names}, policy=policy)  # type: ignore[misc]

    def _page(self, line: Line) -> Page:
        return Page(line, PageSettings(port=0, data=str(self._folder)), self._args.package)

    def _browsers(self, stack: contextlib.ExitStack, page: Page) -> list[int]:
        """Open the browsers and return their processes."""
        accounts, count = page.context.accounts, self._args.browsers
        account = accounts.find("operator") or accounts.add("operator", Role.OPERATOR, "a password of the benchmark")
        options = [page.url, f"{session_cookie(urlsplit(page.url).port or 0)}={page.context.sessions.begin(account)}"]
        if self._args.chromium:
            return [stack.enter_context(_browser([*options, "--chromium", str(count)]))]
        return [stack.enter_context(_browser(options)) for _ in range(count)]


def note(event: FrameEvent, latencies: list[float]) -> None:
    """Note the latency of an answer."""
    if event.record.latency_ms is not None:
        latencies.append(event.record.latency_ms)


@contextlib.contextmanager
def _browser(options: list[str]) -> Iterator[int]:
    """Run a browser until it shows the screen, and yield its process; end it on exit."""
    command = [sys.executable, "-m", "benchmarks.speed.page_client", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            if process.stdout is None or process.stdout.readline() != b"ready\n":
                raise RuntimeError("a browser of the benchmark ended; run benchmarks.speed.page_client to see why")
            yield process.pid
        finally:
            for pid in reversed(tree([process.pid])):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 15)


def _measure(latencies: list[float], browsers: list[int], seconds: float) -> Turn:
    forget_peak()
    line_before, page_before, browsers_before = time.process_time(), page_cpu_s(), cpu_s(browsers)
    latencies.clear()
    started = time.perf_counter()
    time.sleep(seconds)
    count, passed = len(latencies), time.perf_counter() - started
    line_cpu, page_cpu = time.process_time() - line_before, page_cpu_s() - page_before
    browsers_cpu = cpu_s(browsers) - browsers_before
    middle, late = np.quantile(latencies[:count], (0.5, 0.99))
    return Turn(
        frames_per_s=count / passed,
        p50_ms=float(middle),
        p99_ms=float(late),
        line_cpu=line_cpu / passed,
        page_cpu=page_cpu / passed,
        browsers_cpu=browsers_cpu / passed,
        frames_per_cpu_s=count / line_cpu,
        peak_mb=peak_mb(),
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    frames = line_frames(args.data, args.frames, args.frame_size)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, frames, Path(folder))
        capacity = bench.turn("no page", None).frames_per_s
        rates = {"paced": args.load * capacity / args.cameras, "saturated": None}
        rounds = measure(bench, rates, args.rounds)
    text = f"{_about(args, capacity)}\n\n{to_table(rounds)}"
    print(text)
    settings = {
        name: getattr(args, name)
        for name in ("provider", "batch_size", "cameras", "browsers", "chromium", "load", "seconds")
    }
    results = settings | {
        "capacity_per_s": capacity,
        "rounds": {
            load: {name: [asdict(turn) for turn in turns] for name, turns in found.items()}
            for load, found in rounds.items()
        },
    }
    write_results(args.out, args.name, results, text)
    print(f"written to {args.out / args.name}.json and .md")


def measure(bench: Bench, rates: dict[str, float | None], rounds: int) -> dict[str, dict[str, list[Turn]]]:
    """Return the turns of each configuration at each load, by the load; their order changes from round to round."""
    found: dict[str, dict[str, list[Turn]]] = {load: {name: [] for name in CONFIGURATIONS} for load in rates}
    rng = np.random.default_rng(0)
    with progress_bar(rounds * len(rates) * len(CONFIGURATIONS), "page", "turn") as bar:
        for _ in range(rounds):
            for load, rate in rates.items():
                for name in rng.permutation(CONFIGURATIONS).tolist():
                    found[load][name].append(bench.turn(name, rate))
                    bar.update()
    return found


def to_table(rounds: dict[str, dict[str, list[Turn]]]) -> str:
    """Return medians of the rounds, and in brackets medians of the ratios to "no page" within the rounds."""
    head = (
        "load", "", "frames/s", "p50", "p99", "processor s/s of the line", "of its page",
        "of the browsers",
        "frames per processor s of the line", "peak memory",
    )  # fmt: skip
    rows = []
    for load, found in rounds.items():
        for name, turns in found.items():

            def cell(field: str, form: str, *, turns: list[Turn] = turns, base: list[Turn] = found["no page"]) -> str:
                values, others = ([getattr(turn, field) for turn in each] for each in (turns, base))
                text = form.format(statistics.median(values))
                if turns is base:
                    return text
                return f"{text} ({statistics.median(a / b for a, b in zip(values, others, strict=True)):.3f})"

            rows.append(
                (
                    load,
                    name,
                    cell("frames_per_s", "{:.1f}"),
                    cell("p50_ms", "{:.1f} ms"),
                    cell("p99_ms", "{:.1f} ms"),
                    cell("line_cpu", "{:.3f}"),
                    f"{statistics.median(turn.page_cpu for turn in turns):.4f}",
                    f"{statistics.median(turn.browsers_cpu for turn in turns):.3f}",
                    cell("frames_per_cpu_s", "{:.1f}"),
                    cell("peak_mb", "{:.0f} MB"),
                )
            )
    return markdown_table(head, rows)


def _about(args: argparse.Namespace, capacity: float) -> str:
    browsers = "tabs of Chromium" if args.chromium else "programs that ask as browsers do"
    return (
        f"{args.provider}, {args.cameras} cameras, {args.browsers} {browsers}, frames {size_text(args.frame_size)}, "
        f"{args.rounds} rounds of {args.seconds:g} s, paced at {args.load:.0%} of {capacity:.1f} frames/s. "
        "Medians of the rounds; in brackets the median of the ratios to the line without a page within the rounds."
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "page_cost", rounds=10, frames=100)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--provider", default="cpu", help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--cameras", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--browsers", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--chromium", action="store_true", help="browsers are tabs of Chromium")
    parser.add_argument("--load", type=float, default=0.5, help="share of the capacity (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="seconds of a turn (default: %(default)s)")
    parser.add_argument("--frame-size", type=parse_size, default=(1280, 1024), help="default: 1280x1024")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
