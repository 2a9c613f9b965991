"""How much speed does each optimisation for an NVIDIA card gain, and how close is it to the card's limit?

First table: from uint8 frames of the network's size in the host's memory to labels there. Each step adds one
optimisation to the steps before it. Plain ONNX Runtime and PyTorch, if installed, take turns in the same rounds. The
limit is the network alone on frames that are already on the card.

Second: from a camera's frames, one batch after the other and overlapped, by the network alone and with the comparison
with golden images; also the bundle in plain ONNX Runtime.

Before the measurement, the benchmark checks two things: that the card computes the whole network and the whole bundle,
and that both answer as the processor does.

Example:
    python -m benchmarks.speed.gpu line3.partsight --data PARTS --batch 1 8 32 128
"""

import argparse
import itertools
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.common.configurations import brief, left_out_text
from benchmarks.common.frames import line_frames, parse_size
from benchmarks.common.plot import BLUE, GREEN, GREY, ORANGE, PlotBar, bar_figure
from benchmarks.common.results import make_parser, markdown_table, write_report
from benchmarks.common.rounds import interleave, median_of, times
from benchmarks.speed.gpu_matching import PlainBundle, same_answers
from benchmarks.speed.gpu_steps import LIMIT, NAIVE, Card, Step, all_steps, labels
from partsight.runtime import DependencyError, EngineSettings, ModelPackage, ProviderError, Recognizer, read_image
from partsight.runtime.cameras import find_images
from partsight.runtime.core import Pixels, progress
from partsight.runtime.images import preprocess

BOTH = "both stages: "
BUNDLE = f"{BOTH}the bundle in plain ONNX Runtime, prepared frames"
CHUNKS = 4
"""Number of batches in a call that overlaps them."""
LABEL_BATCH = 16
GOLDEN_COMPARED = 200
"""Number of golden images for the comparison of answers, next to the frames of the line."""


@dataclass(frozen=True)
class GpuRow:
    """Figures of one competitor at one batch size.

    Attributes:
        batch: Frames in one run of the network.
        name: Name of the competitor.
        frames_per_s: Speed in the median round.
        p50_ms, p99_ms: Time of a call, over all rounds.
        times_naive: Speed as a multiple of plain ONNX Runtime's, within rounds.
        of_limit: Speed as a share of the card alone, within rounds.
    """

    batch: int
    name: str
    frames_per_s: float
    p50_ms: float
    p99_ms: float
    times_naive: float
    of_limit: float


class Recorded:
    """Competitor that records the time of each call."""

    def __init__(self, call: Callable[[], object], batches: int = 1) -> None:
        """Take the function to call, and the number of batches that a call answers."""
        self._call, self._batches = call, batches
        self.seconds: list[float] = []

    def turn(self, turn_s: float) -> float:
        """Take a turn and return the median seconds of a batch."""
        seconds = [found / self._batches for found in times(self._call, turn_s)]
        self.seconds += seconds
        return median_of(seconds)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print tables and write result files."""
    args = _parse(arguments)
    package = ModelPackage.read(args.package)
    if package.manifest.search is not None:
        raise SystemExit(
            f"{args.package} has a search file; expected a network that gives all scores: export it with --search never"
        )
    card = Card(package, args.provider)
    steps = list(all_steps(set(package.manifest.models)))
    frames = line_frames(args.data, args.frames, args.frame_size)
    rows: list[GpuRow] = []
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            sound = _facts(card, steps, frames, args.data, Path(folder))
        except (ProviderError, DependencyError) as error:
            raise SystemExit(str(error)) from error
        for batch in args.batch:
            rows += _rows(card, steps, frames, batch, left_out, args, Path(folder))
    facts = f"{facts_table(sound['labels'])}\n\n{_nodes_text(sound['nodes'], card.provider.ort_name)}"
    if sound["matching"]:
        nodes = _nodes_text(sound["bundle_nodes"], card.provider.ort_name, "Nodes of the bundle")
        facts += f"\n\n{matching_table(sound['matching'])}\n\n{nodes}"
    text = "\n\n".join(filter(None, (facts, to_table(rows), left_out_text(left_out))))
    results = {"rows": [asdict(row) for row in rows], "facts": sound, "left_out": left_out, "rounds": args.rounds}
    title = f"{args.package.stem} on {args.provider}: frames of the network's size to labels"
    write_report(args, results, text, plot(rows, title))


def _facts(card: Card, steps: list[Step], frames: list[Pixels], data: Path, folder: Path) -> dict[str, Any]:
    """Return where nodes ran, and the share of answers that equal the processor's."""
    images = [read_image(path) for path in find_images(data / "golden")]
    golden = np.concatenate([preprocess([image], card.spec) for image in images])
    expected = labels(Card(card.package, "cpu").step(steps[0], LABEL_BATCH), golden, LABEL_BATCH)
    of_kind = {_kind(step): step for step in steps}  # of each kind the last step, with most optimisations
    shares = {
        kind: float((labels(card.step(step, LABEL_BATCH), golden, LABEL_BATCH) == expected).mean())
        for kind, step in progress(of_kind.items(), len(of_kind), "golden images", "kind")
    }
    facts = {"labels": shares, "images": len(golden), "nodes": card.nodes_by_provider(steps[0], golden[:1], folder)}
    if card.package.manifest.matching is None:
        return facts | {"matching": {}, "bundle_nodes": {}}
    shown = [*images[:: max(1, len(images) // GOLDEN_COMPARED)], *frames]
    compared, bundle_nodes = same_answers(card.package, card.provider.name, shown, folder)
    return facts | {"matching": compared, "bundle_nodes": bundle_nodes}


def _kind(step: Step) -> str:
    return step.arithmetic.upper() + (" with TF32" if step.arithmetic == "fp32" and step.gpu.tf32 else "")


def _rows(
    card: Card,
    steps: list[Step],
    frames: list[Pixels],
    batch: int,
    left_out: dict[str, str],
    args: argparse.Namespace,
    folder: Path,
) -> list[GpuRow]:
    """Load and measure all competitors for one size of batch, and free the card's memory."""
    calls = _competitors(card, steps, frames, batch, left_out, folder)
    return _measure(calls, batch, args)


def _competitors(
    card: Card, steps: list[Step], frames: list[Pixels], batch: int, left_out: dict[str, str], folder: Path
) -> dict[str, Recorded]:
    """Load all competitors for one size of batch; store in `left_out` why others do not work."""
    small = np.resize(preprocess(frames, card.spec), (batch, card.spec.height, card.spec.width, 3))
    makes: dict[str, Callable[[], Recorded]] = {NAIVE: lambda: _answering(card.naive(), small)}
    for step in steps:
        makes[step.name] = lambda step=step: _answering(card.step(step, batch), small)
    makes[LIMIT] = lambda: Recorded(card.limit(steps[-1], small))
    if card.provider.on_card:
        makes["TensorRT"] = lambda: _answering(Card(card.package, "tensorrt").step(steps[-1], batch), small)
    makes["PyTorch"] = lambda: _answering(card.torch(is_compiled=False), small)
    makes["PyTorch, compiled"] = lambda: _answering(card.torch(is_compiled=True), small)
    stages = {"": False, BOTH: True} if card.package.manifest.matching else {"": False}
    for (stage, matching), (name, chunks) in itertools.product(
        stages.items(), (("camera's frames, batch after batch", 1), ("camera's frames, overlapped", CHUNKS))
    ):
        makes[stage + name] = partial(_from_camera, card, steps[-1], frames, batch, chunks, matching=matching)
    if card.package.manifest.matching:
        makes[BUNDLE] = lambda: _bundled(card, frames, batch, folder)
    found: dict[str, Recorded] = {}
    for name, make in progress(makes.items(), len(makes), f"loading, batch {batch}", "competitor"):
        try:
            found[name] = make()
            found[name].turn(0)
        except Exception as error:  # noqa: BLE001 (any error of a library leaves it out)
            found.pop(name, None)
            left_out[name] = brief(f"{type(error).__name__}: {error}")
    for name in (NAIVE, LIMIT):
        if name not in found:
            raise SystemExit(f"without {name!r} there is nothing to compare with: {left_out[name]}")
    return found


def _answering(answer: Callable[[Pixels], Any], frames: Pixels) -> Recorded:
    return Recorded(lambda: answer(frames))


def _bundled(card: Card, frames: list[Pixels], batch: int, folder: Path) -> Recorded:
    plain = PlainBundle(card.package, card.provider.name, folder)
    return _answering(plain.run, plain.prepared(frames, batch))


def _from_camera(card: Card, step: Step, frames: list[Pixels], batch: int, chunks: int, *, matching: bool) -> Recorded:
    """Return calls of a recogniser with all optimisations; a call answers `chunks` batches."""
    recognizer = Recognizer(
        card.package.path,
        provider=card.provider.name,
        precision=step.arithmetic,
        batch_size=batch,
        matching=matching,
        engine=EngineSettings(gpu=step.gpu),
    )
    taken = list(itertools.islice(itertools.cycle(frames), batch * chunks))
    return Recorded(lambda: recognizer.recognize_batch(taken), chunks)


def _measure(calls: dict[str, Recorded], batch: int, args: argparse.Namespace) -> list[GpuRow]:
    turns = {name: lambda call=call: call.turn(args.turn) for name, call in calls.items()}
    found = interleave(turns, args.rounds, f"batch {batch}")

    def row(name: str) -> GpuRow:
        seconds, rounds = calls[name].seconds, found[name]
        p50, p99 = np.quantile(seconds, (0.5, 0.99)) * 1000
        ratios = [median_of(found[other], rounds) for other in (NAIVE, LIMIT)]
        return GpuRow(batch, name, batch / median_of(rounds), float(p50), float(p99), *ratios)

    return [row(name) for name in calls]


def facts_table(shares: dict[str, float]) -> str:
    """Return the share of golden images with the processor's label, as a Markdown table."""
    head = ("computed in", "golden images with the label of FP32 on the processor")
    return markdown_table(head, [(kind, f"{share:.2%}") for kind, share in shares.items()])


def matching_table(found: dict[str, dict[str, Any]]) -> str:
    """Return the agreement of both stages with the processor, as a Markdown table."""
    head = ("both stages by", "frames", "answered as on the processor", "largest difference of agreement")
    lines = [
        (name, f"{item['frames']}", f"{item['same']:.2%}", f"{item['max_difference']:.2g}")
        for name, item in found.items()
    ]
    return markdown_table(head, lines)


def _nodes_text(nodes: dict[str, int], asked: str, what: str = "Nodes") -> str:
    ran = ", ".join(f"{count} on {name}" for name, count in nodes.items())
    return f"{what} by ONNX Runtime's profile: {ran}. {asked} was requested."


def to_table(rows: list[GpuRow]) -> str:
    """Return the figures as a Markdown table."""
    head = ("batch", "competitor", "frames/s", "p50", "p99", "times plain ONNX Runtime", "of the card's limit")
    lines = [
        (
            str(row.batch),
            row.name,
            f"{row.frames_per_s:,.0f}",
            f"{row.p50_ms:.2f} ms",
            f"{row.p99_ms:.2f} ms",
            f"{row.times_naive:.2f}",
            f"{row.of_limit:.0%}",
        )
        for row in rows
    ]
    return markdown_table(head, lines)


def plot(rows: list[GpuRow], title: str) -> Figure:
    """Draw frames a second, one panel for each size of batch."""
    panels = [
        (
            f"batch {batch}",
            [
                PlotBar(row.name, row.frames_per_s, f"{row.frames_per_s:,.0f}  ({row.of_limit:.0%})", _colour(row.name))
                for row in group
            ],
        )
        for batch, group in itertools.groupby(rows, lambda row: row.batch)
    ]
    return bar_figure(panels, "frames a second (share of the card's limit)", title)


def _colour(name: str) -> str:
    if name in (NAIVE, LIMIT):
        return GREY
    return ORANGE if name.startswith("PyTorch") else BLUE if name.startswith(("camera", BOTH)) else GREEN


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "gpu", rounds=10, frames=48)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument(
        "--provider",
        choices=("cuda", "cpu"),
        default="cuda",
        help="cpu: a trial run without a card, in which all steps are equal (default: %(default)s)",
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32, 128], help="default: 1 8 32 128")
    parser.add_argument("--frame-size", type=parse_size, default=(1280, 1024), help="default: 1280x1024")
    parser.add_argument("--turn", type=float, default=0.1, metavar="S", help="seconds of a turn (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
