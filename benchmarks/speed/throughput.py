"""How many frames a second, from frame to label: by batch, provider and precision?

In the same rounds, the raw session of the same file takes a turn on a prepared batch, and so does preprocessing alone.
The time that `Recognizer` adds to both is its own overhead.

Example:
    python -m benchmarks.speed.throughput line3.partsight --data PARTS --rounds 20
"""

import argparse
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.common.configurations import left_out_text, open_all, open_package
from benchmarks.common.frames import batches, line_frames, parse_size, size_text
from benchmarks.common.plot import BLUE, GREEN, GREY, PlotBar, bar_figure
from benchmarks.common.results import make_parser, markdown_table, write_report
from benchmarks.common.rounds import Rounds, difference, interleave, median_of, spread, timed
from partsight.cli.bench.facts import Configuration
from partsight.runtime import ModelPackage, Recognizer
from partsight.runtime.core import Pixels
from partsight.runtime.images import preprocess
from partsight.runtime.inference import ModelSettings, Session
from partsight.runtime.recognition import Preparer, load_search

PREPARING = "preprocessing"


@dataclass(frozen=True)
class ThroughputRow:
    """Figures of one configuration; milliseconds are for a whole batch.

    Attributes:
        frame: Size of the frames.
        batch: Frames in one call.
        configuration: Provider and precision.
        label_ms: Time from frames to labels, by the network alone.
        label_p10_ms, label_p90_ms: Percentiles of the rounds.
        compared_ms: The same with the comparison with golden images; None where the package has none.
        raw_ms: Time of the session alone, on a prepared batch.
        preprocessing_ms: Time of preprocessing alone.
        over_raw_ms: Time that `Recognizer` takes longer than the session.
        own_ms: Time that it takes longer than session and preprocessing together.
    """

    frame: str
    batch: int
    configuration: str
    label_ms: float
    label_p10_ms: float
    label_p90_ms: float
    compared_ms: float | None
    raw_ms: float
    preprocessing_ms: float
    over_raw_ms: float
    own_ms: float


@dataclass(frozen=True)
class OpenRecognizers:
    """Recognisers, sessions and preparers, loaded once for all sizes."""

    network: dict[Configuration, Recognizer]
    compared: dict[Configuration, Recognizer]
    raw: dict[Configuration, Session]
    preparer: Preparer


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    rows: list[ThroughputRow] = []
    with ExitStack() as stack:
        competitors, left_out = _open(args, stack)
        for size in args.frame_size + [None] * args.as_taken:
            frames = line_frames(args.data, args.frames, size)
            for batch in args.batch:
                rows += _measure(competitors, frames, size_text(size), batch, args)
    results = {"rows": [asdict(row) for row in rows], "left_out": left_out, "rounds": args.rounds}
    text = "\n\n".join(filter(None, (to_table(rows), left_out_text(left_out))))
    write_report(args, results, text, plot(rows, args.package.stem))


def _open(args: argparse.Namespace, stack: ExitStack) -> tuple[OpenRecognizers, dict[str, str]]:
    package = ModelPackage.read(args.package)
    spec = package.manifest.preprocess
    network, left_out = open_all(args.package, args.provider, matching=False, batch_size=args.batch_size)
    if not network:
        raise SystemExit(f"nothing works here:\n{left_out_text(left_out)}")
    compared: dict[Configuration, Recognizer] = {}
    if package.manifest.matching is not None:
        compared = {
            configuration: open_package(args.package, configuration, batch_size=args.batch_size)
            for configuration in network
        }
        for recognizer in compared.values():
            recognizer.preload()  # as a line does

    def session(configuration: Configuration) -> Session:
        sizes = tuple({1, args.batch_size})
        settings = ModelSettings(configuration.precision, batch_sizes=sizes, input_hw=(spec.height, spec.width))
        model = package.model_bytes("fp32" if configuration.precision == "bf16" else configuration.precision)
        return Session(model, configuration.provider, settings, load_search(package))

    for recognizer in (*network.values(), *compared.values()):
        stack.enter_context(recognizer)
    workers = stack.enter_context(ThreadPoolExecutor(thread_name_prefix="prepare"))
    raw = {configuration: session(configuration) for configuration in network}
    return OpenRecognizers(network, compared, raw, Preparer([spec], args.batch_size, workers)), left_out


def _measure(
    competitors: OpenRecognizers, frames: list[Pixels], size: str, batch: int, args: argparse.Namespace
) -> list[ThroughputRow]:
    tasks: dict[str, Callable[[], object]] = {PREPARING: _preparing(competitors.preparer, frames, batch, args)}
    for kind, recognizers in (("label", competitors.network), ("compared", competitors.compared)):
        for configuration, recognizer in recognizers.items():
            tasks[f"{kind} {configuration}"] = _recognizing(recognizer, frames, batch)
    spec = next(iter(competitors.network.values())).manifest.preprocess
    prepared = preprocess([frames[index % len(frames)] for index in range(batch)], spec)
    for configuration, session in competitors.raw.items():
        tasks[f"raw {configuration}"] = _running(session, prepared, args.batch_size)
    turns = {name: lambda task=task: timed(task, args.turn) for name, task in tasks.items()}
    found = interleave(turns, args.rounds, f"{size} batch {batch}")
    return [_row(found, size, batch, str(configuration)) for configuration in competitors.network]


def _recognizing(recognizer: Recognizer, frames: list[Pixels], batch: int) -> Callable[[], object]:
    source = batches(frames, batch)
    return lambda: recognizer.recognize_batch(next(source))


def _running(session: Session, prepared: Pixels, batch_size: int) -> Callable[[], object]:
    chunks = [prepared[start : start + batch_size] for start in range(0, len(prepared), batch_size)]
    return lambda: [session.run(chunk) for chunk in chunks]


def _preparing(preparer: Preparer, frames: list[Pixels], batch: int, args: argparse.Namespace) -> Callable[[], object]:
    source = batches(frames, batch)

    def prepare() -> None:
        taken = next(source)
        for start in range(0, batch, args.batch_size):
            prepared = preparer.start(taken[start : start + args.batch_size])
            prepared.wait()
            prepared.release()

    return prepare


def _row(found: Rounds, size: str, batch: int, configuration: str) -> ThroughputRow:
    label, raw, preparing = (found[name] for name in (f"label {configuration}", f"raw {configuration}", PREPARING))
    compared = found.get(f"compared {configuration}")
    low, high = spread(label)
    seconds = (
        median_of(label),
        low,
        high,
        None if compared is None else median_of(compared),
        median_of(raw),
        median_of(preparing),
        difference(label, raw),
        difference(label, raw, preparing),
    )
    return ThroughputRow(size, batch, configuration, *(None if value is None else value * 1000 for value in seconds))


def to_table(rows: list[ThroughputRow]) -> str:
    """Return the figures as a Markdown table."""
    head = (
        "frame", "batch", "configuration", "frames/s", "10th–90th percentile", "with golden images, frames/s",
        "raw session, frames/s", "over raw session", "over raw session and preprocessing", "preprocessing",
    )  # fmt: skip
    lines = [
        (
            row.frame,
            str(row.batch),
            row.configuration,
            f"{_rate(row, row.label_ms):.1f}",
            f"{_rate(row, row.label_p90_ms):.1f}–{_rate(row, row.label_p10_ms):.1f}",
            "–" if row.compared_ms is None else f"{_rate(row, row.compared_ms):.1f}",
            f"{_rate(row, row.raw_ms):.1f}",
            _over(row.over_raw_ms, row.raw_ms),
            _over(row.own_ms, row.raw_ms),
            f"{row.preprocessing_ms:.2f} ms",
        )
        for row in rows
    ]
    return markdown_table(head, lines)


def _rate(row: ThroughputRow, milliseconds: float) -> float:
    return row.batch * 1000 / milliseconds


def _over(added_ms: float, raw_ms: float) -> str:
    return f"{added_ms:+.2f} ms ({added_ms / raw_ms:+.1%})"


def plot(rows: list[ThroughputRow], package: str) -> Figure:
    """Draw frames a second, one panel for each size of frame and batch."""
    panels = []
    for (frame, batch), group in itertools.groupby(rows, lambda row: (row.frame, row.batch)):
        bars = [bar for row in group for bar in _bars(row)]
        panels.append((f"frames {frame}, batch {batch}", bars))
    return bar_figure(panels, "frames a second", f"{package}: frame to label")


def _bars(row: ThroughputRow) -> list[PlotBar]:
    kinds: list[tuple[str, float | None, str]] = [
        (row.configuration, row.label_ms, GREEN),
        ("with golden images", row.compared_ms, BLUE),
        ("raw session", row.raw_ms, GREY),
    ]
    return [
        PlotBar(name, _rate(row, found), f"{_rate(row, found):.0f}", colour) for name, found, colour in kinds if found
    ]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "throughput", rounds=10, frames=48)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--provider", action="append", help="repeat it for several (default: all that work here)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16], help="frames in a call (default: 1 16)")
    parser.add_argument(
        "--batch-size", type=int, default=16, help="largest batch in one run of the network (default: %(default)s)"
    )
    parser.add_argument("--frame-size", type=parse_size, nargs="*", default=[(1280, 1024)], help="default: 1280x1024")
    parser.add_argument("--as-taken", action="store_true", help="measure frames in their original size as well")
    parser.add_argument("--turn", type=float, default=0.1, metavar="S", help="seconds of a turn (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
