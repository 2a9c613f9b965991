"""What does Ray Data cost, and what do further actors bring, against a plain loop over the same image files?

A turn answers all frames once. The plain loop is `Recognizer.recognize_batch` over `ImageFiles`, which reads each file
twice, first to check it. Then come the work of an actor without Ray, in this process, and the engine of
`partsight batch` with 1 actor on all cores, 2 actors on half of them each, and so on. The rate of the engine counts
from the first result of each actor on. The seconds until then, in which processes start and load the package, stand
next to it.

Example:
    python -m benchmarks.speed.batch_work line3.partsight --data PARTS --frames 768 --rounds 5
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.common.frames import line_paths
from benchmarks.common.results import make_parser, markdown_table, write_results
from partsight.runtime import ModelPackage, Recognizer
from partsight.runtime.cluster.batch import ActorPlan, work_on
from partsight.runtime.cluster.batch.frames import FileFrames
from partsight.runtime.cluster.batch.recognition import AskedPackage, Opening, RecognizeChunk
from partsight.runtime.cluster.batch.sources import Chunk
from partsight.runtime.cluster.ray_session import ray_session
from partsight.runtime.core import progress_bar
from partsight.runtime.images import ImageFiles

PLAIN, BARE = "plain loop", "an actor's work without Ray"


@dataclass(frozen=True)
class Turn:
    """One pass over the frames.

    Attributes:
        frames_per_s: Rate, frames per second.
        start_s: Seconds until each actor has returned a first result.
        labels: Label of each frame; None if it is unknown.
    """

    frames_per_s: float
    start_s: float
    labels: tuple[str | None, ...]


@dataclass(frozen=True)
class Row:
    """A row of the table: medians of the rounds; the ratio is that of the turns within a round."""

    configuration: str
    frames_per_s: float
    ratio: float
    start_s: float


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and write result files."""
    args = _parse(arguments)
    cores = len(os.sched_getaffinity(0))
    paths = line_paths(args.data, args.frames)
    plans = {
        f"Ray Data, {count} actor{'s' * (count > 1)}": ActorPlan(count, max(1, cores // count)) for count in args.actors
    }
    with ray_session(cpus=max(cores, *args.actors)), Recognizer(args.package) as recognizer:
        chunks = chunks_of(args.data / "line", paths, args.chunk)
        bare = work_of(args.package, cores)
        turns: dict[str, Callable[[], Turn]] = {
            PLAIN: lambda: plain_turn(recognizer, paths),
            BARE: lambda: bare_turn(bare, chunks),
        }
        for name, plan in plans.items():
            turns[name] = partial(engine_turn, work_of(args.package, plan.cpus), chunks, plan)
        found = take_turns(turns, args.rounds)
    check_labels(found)
    rows = rows_of(found)
    facts = f"{len(paths)} frames, chunks of {args.chunk}, {cores} cores, {args.rounds} rounds."
    text = f"{table(rows)}\n\n{facts}"
    print(text)
    write_results(args.out, args.name, {"rows": [asdict(row) for row in rows], "facts": facts}, text)


def plain_turn(recognizer: Recognizer, paths: Sequence[Path]) -> Turn:
    """Answer the frames in a plain loop."""
    started = time.perf_counter()
    results = recognizer.recognize_batch(ImageFiles(paths))
    seconds = time.perf_counter() - started
    return Turn(len(paths) / seconds, 0.0, tuple(result.label for result in results))


def chunks_of(folder: Path, paths: Sequence[Path], size: int) -> list[Chunk]:
    """Return the frames as chunks."""
    names = [os.fsencode(path.relative_to(folder)) for path in paths]
    return [Chunk(at, FileFrames(folder.absolute(), names[at : at + size], {})) for at in range(0, len(names), size)]


def work_of(package: Path, threads: int) -> RecognizeChunk:
    """Return the work of an actor with some threads."""
    asked = AskedPackage(package.absolute(), ModelPackage.read(package).package_id)
    return RecognizeChunk((asked,), Opening(threads=threads), threads)


def bare_turn(work: RecognizeChunk, chunks: Sequence[Chunk]) -> Turn:
    """Answer the frames by an actor's work in this process."""
    started = time.perf_counter()
    tables = [work(chunk) for chunk in chunks]
    seconds = time.perf_counter() - started
    labels = [label for table in tables for label in table["label"].to_pylist()]
    return Turn(len(labels) / seconds, 0.0, tuple(labels))


def engine_turn(work: RecognizeChunk, chunks: Sequence[Chunk], plan: ActorPlan) -> Turn:
    """Answer the frames by the engine; the first result of each actor starts the clock."""
    if len(chunks) <= plan.actors:
        raise SystemExit(f"there are {len(chunks)} chunks; expected more than {plan.actors}: add --frames")
    labels: dict[int, list[str | None]] = {}
    started = running = time.perf_counter()
    counted = 0
    for done in work_on(work, chunks, plan):
        labels[done.index] = done.result["label"].to_pylist()
        if len(labels) <= plan.actors:
            running = time.perf_counter()
        else:
            counted += len(labels[done.index])
    ended = time.perf_counter()
    joined = tuple(label for index in range(len(chunks)) for label in labels[index])
    return Turn(counted / (ended - running), running - started, joined)


def take_turns(turns: Mapping[str, Callable[[], Turn]], rounds: int) -> dict[str, list[Turn]]:
    """Give each configuration a turn in each round, in an order that changes; those in this process warm up first."""
    turns[PLAIN]()
    turns[BARE]()
    found: dict[str, list[Turn]] = {name: [] for name in turns}
    rng = np.random.default_rng(0)
    with progress_bar(rounds * len(turns), "turns", "turn") as bar:
        for _ in range(rounds):
            for name in rng.permutation(list(turns)).tolist():
                found[name].append(turns[name]())
                bar.update()
    return found


def check_labels(found: Mapping[str, Sequence[Turn]]) -> None:
    """Refuse results of configurations that answer differently."""
    expected = found[PLAIN][0].labels
    for name, turns in found.items():
        if any(turn.labels != expected for turn in turns):
            raise SystemExit(f"{name} answers otherwise than the {PLAIN}")


def rows_of(found: Mapping[str, Sequence[Turn]]) -> list[Row]:
    """Return the medians; ratios are those of the turns within a round."""
    rows = []
    for name, turns in found.items():
        ratios = [one.frames_per_s / plain.frames_per_s for one, plain in zip(turns, found[PLAIN], strict=True)]
        rate, start = (
            statistics.median(values) for values in zip(*((t.frames_per_s, t.start_s) for t in turns), strict=True)
        )
        rows.append(Row(name, rate, statistics.median(ratios), start))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Return the Markdown table."""
    cells = [
        (
            row.configuration,
            f"{row.frames_per_s:.1f}",
            f"{row.ratio:.2f} ×",
            f"{row.start_s:.1f} s" if row.start_s else "–",
        )
        for row in rows
    ]
    return markdown_table(("configuration", "frames/s", "against the plain loop", "until the first results"), cells)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "batch_work", rounds=3, frames=512)
    parser.add_argument("package", metavar="PACKAGE", type=Path, help="package that answers the frames")
    parser.add_argument(
        "--actors", type=int, nargs="+", default=[1, 2], metavar="N", help="numbers of actors (default: %(default)s)"
    )
    parser.add_argument("--chunk", type=int, default=32, help="frames of a chunk (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
