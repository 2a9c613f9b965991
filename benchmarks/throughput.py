"""How many frames a second, from frame to label: by batch, provider and precision?

The raw session of the same file, on a batch that is prepared already, takes its turn in the same rounds, and so does
preprocessing alone: what `Recognizer` adds to both is its own overhead.

Example:
    python benchmarks/throughput.py line3.partsight --data /data/parts --rounds 20
"""

import argparse
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import _speed
from _speed_plot import BLUE, GREEN, GREY, Bar, bar_figure
from matplotlib.figure import Figure

from partsight.runtime import ModelPackage, Recognizer
from partsight.runtime.core import Pixels
from partsight.runtime.images import preprocess
from partsight.runtime.inference import Session, Settings
from partsight.runtime.recognition import Preparer

PREPARING = "preprocessing"


@dataclass(frozen=True)
class Row:
    """What was found of one way; milliseconds are of a whole batch.

    Attributes:
        frame: size of the frames.
        batch: frames in one call.
        way: provider and precision.
        label_ms: frames to labels, by the network alone.
        label_p10_ms, label_p90_ms: of the rounds.
        compared_ms: the same with the comparison with golden images; None where the package has none.
        raw_ms: the session alone, on a prepared batch.
        preprocessing_ms: measured alone.
        over_raw_ms: what `Recognizer` takes longer than the session.
        own_ms: what it takes longer than session and preprocessing together.
    """

    frame: str
    batch: int
    way: str
    label_ms: float
    label_p10_ms: float
    label_p90_ms: float
    compared_ms: float | None
    raw_ms: float
    preprocessing_ms: float
    over_raw_ms: float
    own_ms: float


@dataclass(frozen=True)
class Competitors:
    """All that is measured, loaded once for all sizes."""

    network: dict[_speed.Way, Recognizer]
    compared: dict[_speed.Way, Recognizer]
    raw: dict[_speed.Way, Session]
    preparer: Preparer


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    rows: list[Row] = []
    with ExitStack() as stack:
        competitors, left_out = _open(args, stack)
        for size in args.frame_size + [None] * args.as_taken:
            frames = _speed.line_frames(args.data, args.frames, size)
            for batch in args.batch:
                rows += _measure(competitors, frames, _speed.size_text(size), batch, args)
    results = {"rows": [asdict(row) for row in rows], "left_out": left_out, "rounds": args.rounds}
    text = "\n\n".join(filter(None, (to_table(rows), _speed.left_out_text(left_out))))
    _speed.report(args, results, text, plot(rows, args.package.stem))


def _open(args: argparse.Namespace, stack: ExitStack) -> tuple[Competitors, dict[str, str]]:
    package = ModelPackage.read(args.package)
    spec = package.manifest.preprocess
    network, left_out = _speed.open_all(args.package, args.provider, verify=False, batch_size=args.batch_size)
    if not network:
        raise SystemExit(f"nothing works here:\n{_speed.left_out_text(left_out)}")
    compared: dict[_speed.Way, Recognizer] = {}
    if package.manifest.matching is not None:
        compared = {way: way.open(args.package, batch_size=args.batch_size) for way in network}
        for recognizer in compared.values():
            recognizer.hold()  # as a line does

    def session(way: _speed.Way) -> Session:
        sizes = tuple({1, args.batch_size})
        settings = Settings(way.precision, batch_sizes=sizes, input_hw=(spec.height, spec.width))
        model = package.model_bytes("fp32" if way.precision == "bf16" else way.precision)
        return Session(model, way.provider, settings, package.search())

    for recognizer in (*network.values(), *compared.values()):
        stack.enter_context(recognizer)
    workers = stack.enter_context(ThreadPoolExecutor(thread_name_prefix="prepare"))
    raw = {way: session(way) for way in network}
    return Competitors(network, compared, raw, Preparer([spec], args.batch_size, workers)), left_out


def _measure(
    competitors: Competitors, frames: list[Pixels], size: str, batch: int, args: argparse.Namespace
) -> list[Row]:
    tasks: dict[str, Callable[[], object]] = {PREPARING: _preparing(competitors.preparer, frames, batch, args)}
    for kind, recognizers in (("label", competitors.network), ("compared", competitors.compared)):
        for way, recognizer in recognizers.items():
            tasks[f"{kind} {way}"] = _recognizing(recognizer, frames, batch)
    spec = next(iter(competitors.network.values())).manifest.preprocess
    prepared = preprocess([frames[place % len(frames)] for place in range(batch)], spec)
    for way, session in competitors.raw.items():
        tasks[f"raw {way}"] = _running(session, prepared, args.batch_size)
    turns = {name: lambda task=task: _speed.timed(task, args.turn) for name, task in tasks.items()}
    found = _speed.interleave(turns, args.rounds, f"{size} batch {batch}")
    return [_row(found, size, batch, str(way)) for way in competitors.network]


def _recognizing(recognizer: Recognizer, frames: list[Pixels], batch: int) -> Callable[[], object]:
    source = _speed.batches(frames, batch)
    return lambda: recognizer.recognize_batch(next(source))


def _running(session: Session, prepared: Pixels, batch_size: int) -> Callable[[], object]:
    chunks = [prepared[start : start + batch_size] for start in range(0, len(prepared), batch_size)]
    return lambda: [session.run(chunk) for chunk in chunks]


def _preparing(preparer: Preparer, frames: list[Pixels], batch: int, args: argparse.Namespace) -> Callable[[], object]:
    source = _speed.batches(frames, batch)

    def prepare() -> None:
        taken = next(source)
        for start in range(0, batch, args.batch_size):
            prepared = preparer.start(taken[start : start + args.batch_size])
            prepared.wait()
            prepared.release()

    return prepare


def _row(found: _speed.Rounds, size: str, batch: int, way: str) -> Row:
    label, raw, preparing = (found[name] for name in (f"label {way}", f"raw {way}", PREPARING))
    compared = found.get(f"compared {way}")
    low, high = _speed.spread(label)
    seconds = (
        _speed.median_of(label),
        low,
        high,
        None if compared is None else _speed.median_of(compared),
        _speed.median_of(raw),
        _speed.median_of(preparing),
        _speed.difference(label, raw),
        _speed.difference(label, raw, preparing),
    )
    return Row(size, batch, way, *(None if value is None else value * 1000 for value in seconds))


def to_table(rows: list[Row]) -> str:
    """Return the figures as a Markdown table."""
    head = (
        "frame", "batch", "way", "frames/s", "10th–90th percentile", "with golden images, frames/s",
        "raw session, frames/s", "over raw session", "over raw session and preprocessing", "preprocessing",
    )  # fmt: skip
    lines = [
        (
            row.frame,
            str(row.batch),
            row.way,
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
    return _speed.markdown(head, lines)


def _rate(row: Row, milliseconds: float) -> float:
    return row.batch * 1000 / milliseconds


def _over(added_ms: float, raw_ms: float) -> str:
    return f"{added_ms:+.2f} ms ({added_ms / raw_ms:+.1%})"


def plot(rows: list[Row], package: str) -> Figure:
    """Draw frames a second, one panel for each size of frame and batch."""
    panels = []
    for (frame, batch), group in itertools.groupby(rows, lambda row: (row.frame, row.batch)):
        bars = [bar for row in group for bar in _bars(row)]
        panels.append((f"frames {frame}, batch {batch}", bars))
    return bar_figure(panels, "frames a second", f"{package}: frame to label")


def _bars(row: Row) -> list[Bar]:
    kinds: list[tuple[str, float | None, str]] = [
        (row.way, row.label_ms, GREEN),
        ("with golden images", row.compared_ms, BLUE),
        ("raw session", row.raw_ms, GREY),
    ]
    return [Bar(name, _rate(row, found), f"{_rate(row, found):.0f}", colour) for name, found, colour in kinds if found]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = _speed.parser(__doc__, "throughput")
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--provider", action="append", help="may be given several times; default: all that work here")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16], help="frames in a call (default: 1 16)")
    parser.add_argument(
        "--batch-size", type=int, default=16, help="most in one run of the network (default: %(default)s)"
    )
    parser.add_argument(
        "--frame-size", type=_speed.pixels, nargs="*", default=[(1280, 1024)], help="default: 1280x1024"
    )
    parser.add_argument("--as-taken", action="store_true", help="the frames in their original size, too")
    parser.add_argument("--turn", type=float, default=0.1, metavar="S", help="seconds of a turn (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
