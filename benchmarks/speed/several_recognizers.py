"""What do several recognisers in one line gain over one? Frames/s and latency with the same number of threads.

Each round runs the line with one recogniser and with several: saturated (`block`), then with frames at a share of the
capacity (`latest`). On a machine with several cards name them with --device; on a processor the recognisers share its
cores.

Example:
    python -m benchmarks.speed.several_recognizers line3.partsight --data PARTS --recognizers 1,2 --threads 2
"""

import argparse
import statistics
import time
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from benchmarks.common.frames import line_frames, parse_size, size_text
from benchmarks.common.results import make_parser, markdown_table, write_results
from benchmarks.speed.page_cost import PacedCamera, note
from partsight.runtime import EngineSettings, Recognizer
from partsight.runtime.core import Pixels, progress_bar
from partsight.runtime.line import Line, Policy

WARM_S = 1.0


@dataclass(frozen=True)
class Turn:
    """Figures of one line over some seconds: answers a second, and latencies in milliseconds."""

    frames_per_s: float
    p50_ms: float
    p99_ms: float


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    frames = line_frames(args.data, args.frames, args.frame_size)
    capacity = _turn(args, frames, args.recognizers[0], None).frames_per_s
    rates = {"saturated": None, "paced": args.load * capacity / args.cameras}
    found: dict[str, dict[int, list[Turn]]] = {load: {count: [] for count in args.recognizers} for load in rates}
    rng = np.random.default_rng(0)
    with progress_bar(args.rounds * len(rates) * len(args.recognizers), "line", "turn") as bar:
        for _ in range(args.rounds):
            for load, rate in rates.items():
                for count in rng.permutation(args.recognizers).tolist():
                    found[load][count].append(_turn(args, frames, count, rate))
                    bar.update()
    text = f"{_about(args, capacity)}\n\n{_table(found, args)}"
    print(text)
    turns = {load: {n: [asdict(turn) for turn in each] for n, each in by.items()} for load, by in found.items()}
    write_results(args.out, args.name, {"capacity_per_s": capacity, "rounds": turns}, text)
    print(f"written to {args.out / args.name}.json and .md")


def _turn(args: argparse.Namespace, frames: list[Pixels], count: int, rate: float | None) -> Turn:
    """Run a line of `count` recognisers for a turn, with cameras of `rate` frames a second; None for no limit."""
    latencies: list[float] = []
    cameras = {
        f"camera {number}": partial(PacedCamera, str(number), frames[number:] + frames[:number], rate)
        for number in range(args.cameras)
    }
    recognizers = [_recognizer(args, count, number) for number in range(count)]
    policy = Policy("block", 2 * args.batch_size * count) if rate is None else Policy()
    line = Line(recognizers, cameras, policy=policy)  # type: ignore[arg-type]
    line.listen(lambda event: note(event, latencies))
    with line:
        while not latencies and not line.wait(0.1):  # a start takes longer on a busy machine
            pass
        time.sleep(WARM_S)
        latencies.clear()
        started = time.perf_counter()
        time.sleep(args.seconds)
        answered, passed = len(latencies), time.perf_counter() - started
    if not answered:
        raise SystemExit(f"the line answered no frame within {args.seconds:g} s; run it again with more --seconds")
    middle, late = np.quantile(latencies[:answered], (0.5, 0.99))
    return Turn(answered / passed, float(middle), float(late))


def _recognizer(args: argparse.Namespace, count: int, number: int) -> Recognizer:
    device = args.device[number % len(args.device)] if args.device else None
    engine = EngineSettings(threads=max(1, args.threads // count), device=device)
    return Recognizer(args.package, provider=args.provider, batch_size=args.batch_size, engine=engine)


def _table(found: dict[str, dict[int, list[Turn]]], args: argparse.Namespace) -> str:
    rows = []
    for load, by_count in found.items():
        for count, turns in by_count.items():
            middle = [statistics.median(getattr(turn, name) for turn in turns) for name in Turn.__dataclass_fields__]
            threads = max(1, args.threads // count)
            rows.append((load, f"{count} × {threads} threads", *(f"{value:.1f}" for value in middle)))
    return markdown_table(("load", "recognisers", "frames/s", "p50 ms", "p99 ms"), rows)


def _about(args: argparse.Namespace, capacity: float) -> str:
    size = size_text(args.frame_size)
    return (
        f"{args.provider}, batches of {args.batch_size}, {args.cameras} cameras, frames {size}; paced at "
        f"{args.load:.0%} of {capacity:.1f} frames/s; medians of {args.rounds} rounds of {args.seconds:g} s"
    )


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "several_recognizers", rounds=5, frames=64)
    parser.add_argument("package")
    parser.add_argument("--provider", default="cpu")
    parser.add_argument("--recognizers", type=_numbers, default=[1, 2], help="numbers of recognisers (default: 1,2)")
    parser.add_argument(
        "--threads", type=int, default=2, help="threads of all networks together (default: %(default)s)"
    )
    parser.add_argument("--device", type=_numbers, default=[], help="cards or NUMA nodes, in turn (default: none)")
    parser.add_argument("--batch-size", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--cameras", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--load", type=float, default=0.6, help="share of the capacity (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each turn (default: %(default)s)")
    parser.add_argument("--frame-size", type=parse_size, metavar="WxH", help="enlarge the frames to this size")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
