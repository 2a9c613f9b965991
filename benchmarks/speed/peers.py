"""How fast are other programs with the same weights, from the same frames to labels?

Each competitor has its own process, which is idle except in its turn, so that its threads and imports do not slow the
others. All take a turn in each round. Keras, OpenVINO and cv2.dnn use partsight's preprocessing; "naive" is a typical
program. The benchmark leaves out competitors that do not work here, and the table says why.

Example:
    python -m benchmarks.speed.peers line3.partsight --run runs/line3 --data PARTS --rounds 20
"""

import argparse
import itertools
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.common.configurations import brief, left_out_text
from benchmarks.common.frames import line_frames, line_paths, parse_size, size_text
from benchmarks.common.plot import BLUE, GREEN, GREY, ORANGE, PlotBar, bar_figure
from benchmarks.common.results import make_parser, markdown_table, write_report
from benchmarks.common.rounds import interleave, median_of, spread
from benchmarks.speed.competitors import KERAS, OF_RUN, Competitor, CompetitorProcess, all_competitors
from benchmarks.speed.limit import find_limit
from partsight.runtime import ModelPackage
from partsight.runtime.core import progress

MIN_KERAS: dict[tuple[int, str], float] = {(16, "fp32"): 2.3, (16, "bf16"): 4.5, (16, "int8"): 8.0}
MIN_KERAS_ALONE = 20.0
"""Promised ratios for InceptionV3 at 150 px with 1,424 parts: by batch and precision, and for a single frame."""
Processes = dict[str, CompetitorProcess]

COLOURS = dict.fromkeys(OF_RUN, ORANGE) | {"recognizer": GREEN, "raw": GREY}
COLOURS |= dict.fromkeys(("torch", "naive", "cv2.dnn", "openvino"), BLUE)


@dataclass(frozen=True)
class PeerRow:
    """Figures of one competitor at one batch size.

    Attributes:
        batch: Frames in one call.
        name, kind: Name and kind of the competitor.
        seconds: Time from frames to labels in each round; for a raw session, from prepared frames.
        times_reference: Speed as a multiple of the reference's, the first competitor.
        labels_equal: Share of the frames whose best class is the reference's.
        labels_right: Share of the frames whose best class is the part that they show.
    """

    batch: int
    name: str
    kind: str
    seconds: list[float]
    times_reference: float
    labels_equal: float
    labels_right: float

    @property
    def frames_per_s(self) -> float:
        """Frames a second in the median round."""
        return self.batch / median_of(self.seconds)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    package = ModelPackage.read(args.package)
    _check_weights(package, args.run)
    limit = find_limit(package.model_bytes("fp32"))
    peers = [peer for peer in all_competitors(package) if any(text in peer.name for text in args.only)]
    shown = [path.parent.name for path in line_paths(args.data, args.frames)]
    parts = [package.manifest.labels.index(name) if name in package.manifest.labels else -1 for name in shown]
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "frames.npy"
        np.save(frames, np.stack(line_frames(args.data, args.frames, args.frame_size)))
        workers, left_out = _start(peers, frames, args)
        try:
            rows = [row for batch in args.batch for row in _measure(workers, peers, parts, batch, args)]
        finally:
            for worker in workers.values():
                worker.close()
    text = (to_table(rows), left_out_text(left_out), str(limit), goals(rows))
    found = [asdict(row) | {"frames_per_s": row.frames_per_s} for row in rows]
    results = {"rows": found, "left_out": left_out, "limit": asdict(limit), "rounds": args.rounds}
    size = size_text(args.frame_size)
    write_report(
        args, results, "\n\n".join(filter(None, text)), plot(rows, f"{args.package.stem}: frames {size} to labels")
    )


def _check_weights(package: ModelPackage, run: Path | None) -> None:
    """Check that run and package hold the same weights."""
    if run is None:
        return
    expected = json.loads((run / "run.json").read_text("utf-8"))["weights_sha256"]
    if package.manifest.provenance.weights_sha256 != expected:
        raise SystemExit(f"{package.path} was not exported from {run}: their weights differ")


def _start(
    peers: list[Competitor], frames: Path, args: argparse.Namespace
) -> tuple[dict[str, CompetitorProcess], dict[str, str]]:
    shared = {"package": str(args.package), "frames": str(frames), "batches": args.batch}
    workers: Processes = {}
    left_out: dict[str, str] = {}
    for peer in progress(peers, len(peers), "loading", "peer"):
        if args.run is None and peer.kind in OF_RUN:
            left_out[peer.name] = "its weights are in the run folder: name it with --run"
            continue
        worker = CompetitorProcess(shared | {"kind": peer.kind, "run": str(args.run)} | peer.settings)
        if worker.error is not None:
            worker.close()
            left_out[peer.name] = brief(worker.error)
            continue
        workers[peer.name] = worker
    if not workers:
        raise SystemExit(f"nothing works here:\n{left_out_text(left_out)}")
    return workers, left_out


def _measure(
    workers: Processes,
    peers: list[Competitor],
    parts: list[int],
    batch: int,
    args: argparse.Namespace,
) -> list[PeerRow]:
    turns = {name: lambda worker=worker: worker.turn(batch, args.turn) for name, worker in workers.items()}
    found = interleave(turns, args.rounds, f"batch {batch}")
    reference = next(iter(workers))
    expected = np.array(workers[reference].classes)
    shown = np.resize(parts, len(expected))  # a batch larger than all frames starts with the first frame again

    def row(peer: Competitor) -> PeerRow:
        seconds, classes = found[peer.name], np.array(workers[peer.name].classes)
        times = median_of(found[reference], seconds)
        equal, right = float((classes == expected).mean()), float((classes == shown).mean())
        return PeerRow(batch, peer.name, peer.kind, seconds, times, equal, right)

    return [row(peer) for peer in peers if peer.name in workers]


def to_table(rows: list[PeerRow]) -> str:
    """Return the figures as a Markdown table."""
    reference = rows[0].name
    head = (
        "batch",
        "competitor",
        "frames/s",
        "10th–90th percentile",
        "ms a call",
        f"times {reference}",
        "same label",
        "right label",
    )
    lines = []
    for row in rows:
        low, high = (row.batch / seconds for seconds in reversed(spread(row.seconds)))
        call_ms = median_of(row.seconds) * 1000
        figures = (f"{row.frames_per_s:.1f}", f"{low:.1f}–{high:.1f}", f"{call_ms:.2f}", f"{row.times_reference:.2f}")
        lines.append((str(row.batch), row.name, *figures, f"{row.labels_equal:.1%}", f"{row.labels_right:.1%}"))
    return markdown_table(head, lines)


def goals(rows: list[PeerRow]) -> str:
    """Return the promised ratios and the measured ones, as a Markdown table; empty without Keras or partsight."""
    found = {(row.batch, row.name): row for row in rows}
    lines: list[tuple[str, ...]] = []
    for batch in sorted({row.batch for row in rows}):
        best = {precision: _best(rows, batch, precision) for precision in ("fp32", "bf16", "int8")}
        fastest = max(filter(None, best.values()), key=lambda row: row.frames_per_s, default=None)
        keras = found.get((batch, KERAS))
        if batch == 1 and keras and fastest:
            lines.append(_goal(fastest, keras, MIN_KERAS_ALONE))
        for precision, ours in best.items():
            native = found.get((batch, f"native OpenVINO {precision}"))
            if ours and keras and (batch, precision) in MIN_KERAS:
                lines.append(_goal(ours, keras, MIN_KERAS[batch, precision]))
            if ours and native:
                lines.append(_goal(ours, native, 1.0))
    return markdown_table(("batch", "ours", "against", "times", "promised", "reached"), lines) if lines else ""


def _best(rows: list[PeerRow], batch: int, precision: str) -> PeerRow | None:
    """Return the faster of partsight's providers, by the network alone."""
    ours = [row for row in rows if row.batch == batch and row.kind == "recognizer" and row.name.endswith(precision)]
    return max(ours, key=lambda row: row.frames_per_s, default=None)


def _goal(ours: PeerRow, other: PeerRow, least: float) -> tuple[str, ...]:
    times = median_of(other.seconds, ours.seconds)
    reached = "yes" if times >= least else "NO"
    return (str(ours.batch), ours.name, other.name, f"{times:.2f}", f"{least:.1f}", reached)


def plot(rows: list[PeerRow], title: str) -> Figure:
    """Draw frames a second, one panel for each size of batch."""
    panels = []
    for batch, group in itertools.groupby(rows, lambda row: row.batch):
        bars = [
            PlotBar(
                row.name, row.frames_per_s, f"{row.frames_per_s:.0f}  ({row.times_reference:.1f}×)", COLOURS[row.kind]
            )
            for row in group
        ]
        panels.append((f"batch {batch}", bars))
    return bar_figure(panels, f"frames a second (times {rows[0].name})", title)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "peers", rounds=10, frames=48)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="run folder of the package, for Keras")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16], help="frames in a call (default: 1 16)")
    parser.add_argument("--frame-size", type=parse_size, default=(1280, 1024), help="default: 1280x1024")
    parser.add_argument("--turn", type=float, default=0.1, metavar="S", help="seconds of a turn (default: %(default)s)")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="competitors whose names hold one of these"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
