"""How does the time of a frame change with more parts, more cameras and more cores?

Parts: the same network with more and more prototypes, with the plain product in the network and with the search of
packages with very many parts. The benchmark makes additional prototypes from the package's own; the table says how hard
they are.
Cameras: threads that share one recogniser through a MicroBatcher, with the comparison with golden images.
Cores: a process that may use only some of the cores.

Example:
    python -m benchmarks.speed.scaling line3.partsight --data PARTS --classes 1000 10000 100000
"""

import argparse
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.common.frames import line_frames
from benchmarks.common.results import make_parser, markdown_table, write_report
from benchmarks.common.rounds import median_of
from benchmarks.speed.scaling_cameras import CamerasRow, cameras_table, measure_cameras
from benchmarks.speed.scaling_classes import ClassesRow, classes_table, measure_classes
from benchmarks.speed.scaling_cores import CoresRow, ask
from benchmarks.speed.scaling_plot import plot
from partsight.runtime import ModelPackage
from partsight.runtime.core import progress_bar
from partsight.runtime.images import preprocess


def main(arguments: list[str] | None = None) -> None:
    """Measure, print tables and write result files."""
    args = _parse(arguments)
    package = ModelPackage.read(args.package)
    if package.manifest.decision.score != "cosine" or package.manifest.search is not None:
        raise SystemExit(f"{args.package}: needs a cosine head in the network: export it with --search never")
    frames = line_frames(args.data, args.frames, (1280, 1024))
    spec = package.manifest.preprocess
    prepared = np.concatenate([preprocess([frame], spec) for frame in frames])
    classes = measure_classes(package, prepared, args.classes, args.rounds) if args.classes else []
    few = max(1, args.rounds // 3)  # each turn of cameras and cores takes seconds
    cameras = [] if args.no_cameras else measure_cameras(args.package, frames, few, args.camera_turn)
    cores = [] if args.no_cores else _measure_cores(args, few)
    report(args, classes, cameras, cores)


def report(
    args: argparse.Namespace, classes: list[ClassesRow], cameras: list[CamerasRow], cores: list[CoresRow]
) -> None:
    """Print tables and write result files."""
    texts = []
    if classes:
        texts.append(classes_table(classes))
    if cameras:
        texts.append(f"{cameras_table(cameras)}\n\nFrames 1280×1024, compared with golden images.")
    if cores:
        texts.append(f"{_cores_table(cores)}\n\nFrames 1280×1024, by the network alone.")
    parts = {"parts": classes, "cameras": cameras, "cores": cores}
    results = {name: [asdict(row) for row in rows] for name, rows in parts.items()} | {"rounds": args.rounds}
    figure = plot(classes, cameras, cores, args.title or args.package.stem)
    write_report(args, results, "\n\n".join(texts), figure)


def _measure_cores(args: argparse.Namespace, rounds: int) -> list[CoresRow]:
    counts = [count for count in (1, 2, 4, 8, 16, 32) if count <= _available_cores()]
    found: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    rng = np.random.default_rng(0)
    with progress_bar(rounds * len(counts), "cores", "process") as bar:
        for _ in range(rounds):
            for count in rng.permutation(counts).tolist():
                found[count].append(ask(args.package, args.data, count))
                bar.update()
    rows = []
    for batch in (1, 16):
        alone = [seconds[str(batch)] for seconds in found[1]]
        for count in counts:
            own = [seconds[str(batch)] for seconds in found[count]]
            rows.append(CoresRow(count, batch, batch / median_of(own), median_of(alone, own)))
    return rows


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _cores_table(rows: list[CoresRow]) -> str:
    lines = [(str(row.cores), str(row.batch), f"{row.frames_per_s:.1f}", f"{row.speedup:.2f} ×") for row in rows]
    return markdown_table(("cores", "batch", "frames/s", "against one core"), lines)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "scaling", rounds=10, frames=48)
    parser.add_argument("package", metavar="PACKAGE", type=Path, help="package with a cosine head in the network")
    parser.add_argument(
        "--classes",
        type=int,
        nargs="*",
        default=[1_000, 3_000, 10_000, 30_000, 100_000],
        metavar="COUNT",
        help="numbers of parts; 100,000 take about 5 GB of memory (default: %(default)s)",
    )
    parser.add_argument(
        "--camera-turn", type=float, default=2.0, metavar="S", help="seconds of a camera's turn (default: %(default)s)"
    )
    parser.add_argument("--no-cameras", action="store_true", help="leave the cameras out")
    parser.add_argument("--no-cores", action="store_true", help="leave the cores out")
    parser.add_argument("--title", help="of the picture; default: the package's name")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
