"""How many cards does a plant of many cameras need?

A simulation: cameras send frames to a server, which joins them to batches (`plant_queue.py` has the model). The times
of batches are measured with a package on this machine, or come from this benchmark's results on another machine. A
card is whatever was measured: a GPU, or a whole processor.

Example:
    python -m benchmarks.speed.plant line3.partsight --cameras 1000 --rate 1 --limit-ms 1000
    python -m benchmarks.speed.plant line3.partsight --provider cuda --name card
    python -m benchmarks.speed.plant --times build/benchmarks/card.json --cameras 4000
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.common.results import make_parser, markdown_table, write_report
from benchmarks.speed.plant_plot import plot
from benchmarks.speed.plant_queue import WARM_UP, Cards, Plant, times_by_size
from benchmarks.speed.plant_sizing import PlantRow, Server, cards_needed, curve, size_plant
from benchmarks.speed.plant_times import BatchTimes, measure_times, read_times

CURVES = (1, 4, 16)
"""Numbers of cards whose latency is drawn against the load."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, simulate, print a table and write result files."""
    args = _parse(arguments)
    times = (
        read_times(args.times)
        if args.times
        else measure_times(args.package, args.provider, args.batch, args.data, args.rounds)
    )
    batch_s = times_by_size({size: value / 1000 for size, value in times.batch_ms.items()}, args.batch)
    server = Server(batch_s, Cards(1, args.batch, args.delay_ms / 1000), args.seconds, range(args.seeds))
    plant = Plant(args.cameras, args.rate, args.jitter)
    rows = size_plant(plant, server, args.limit_ms)
    curves = {count: curve(plant, server, count) for count in CURVES}
    results = {
        "times": times.to_json(),
        "plant": asdict(plant),
        "batch": args.batch,
        "delay_ms": args.delay_ms,
        "frames_per_s": server.capacity,
        "limit_ms": args.limit_ms,
        "cards_needed": cards_needed(rows, args.limit_ms),
        "rows": [asdict(row) for row in rows],
        "curves": {str(count): [asdict(row) for row in found] for count, found in curves.items()},
    }
    title = f"{plant.cameras:,} cameras, {plant.rate:g} frames/s each; a card: {times.device}, {times.provider}"
    write_report(
        args, results, _text(times, plant, server, rows, args.limit_ms), plot(rows, curves, args.limit_ms, title)
    )


def _text(times: BatchTimes, plant: Plant, server: Server, rows: Sequence[PlantRow], limit_ms: float) -> str:
    needed = cards_needed(rows, limit_ms)
    verdict = f"{needed} cards answer 99 of 100 frames" if needed else "No number of cards answers 99 of 100 frames"
    sizes = ", ".join(f"{size}: {value:.1f} ms" for size, value in times.batch_ms.items())
    facts = (
        f"{plant.cameras:,} cameras, {plant.rate:g} frames/s each, jitter ±{100 * plant.jitter:g} % of the period. "
        f"{verdict} within {limit_ms:g} ms.\n\n"
        f"A card: {times.device}, provider {times.provider}; batches of up to {server.cards.batch}, an idle card waits "
        f"{1000 * server.cards.delay_s:g} ms for more. Measured times of a batch, {sizes}: {server.capacity:.1f} "
        f"frames/s at most.\n\n"
        f"Simulated: {len(server.seeds)} × {server.seconds:g} s; the first {100 * WARM_UP:g} % do not count. Latency "
        "is from the arrival at the server to the answer, without the network."
    )
    return f"{facts}\n\n{_table(rows)}"


def _table(rows: Sequence[PlantRow]) -> str:
    def shown(value: float | None, unit: str) -> str:
        return "grows" if value is None else f"{value:.1f}{unit}"

    lines = [
        (
            str(row.cards),
            f"{100 * row.load:.0f} %",
            *(shown(value, " ms") for value in (row.p50_ms, row.p99_ms, row.max_ms)),
            shown(row.mean_batch, ""),
        )
        for row in rows
    ]
    return markdown_table(("cards", "load", "median", "99th percentile", "longest", "mean batch"), lines)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "plant", rounds=5)
    parser.add_argument("package", nargs="?", type=Path, help="package whose batches are timed on this machine")
    parser.add_argument("--times", type=Path, metavar="JSON", help="results of another machine, in place of PACKAGE")
    parser.add_argument("--provider", default="cpu", help="provider to measure (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="most frames in a batch (default: %(default)s)")
    parser.add_argument("--cameras", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--rate", type=float, default=1.0, help="frames per second of a camera (default: %(default)s)")
    parser.add_argument(
        "--jitter",
        type=float,
        default=0.1,
        help="largest shift of a frame, as a share of the period (default: %(default)s)",
    )
    parser.add_argument("--limit-ms", type=float, default=1000.0, help="latency to meet (default: %(default)s)")
    parser.add_argument(
        "--delay-ms",
        type=float,
        default=0.0,
        help="time for which an idle card waits for frames (default: %(default)s)",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="simulated time (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="repetitions of the simulation (default: %(default)s)")
    args = parser.parse_args(arguments)
    if (args.package is None) == (args.times is None):
        parser.error("expected either PACKAGE, to measure it here, or --times")
    if min(args.batch, args.cameras, args.seeds) < 1 or min(args.rate, args.limit_ms, args.seconds) <= 0:
        parser.error("expected numbers above 0")
    if args.delay_ms < 0 or not 0 <= args.jitter < 0.5:
        parser.error("expected --delay-ms of at least 0, and --jitter from 0 to below 0.5")
    return args


if __name__ == "__main__":
    main()
