"""How long does each stage of an answer take: preprocessing, network, and comparison with golden images?

The benchmark answers frames of DATA/line, each of another part, one at a time and in batches, in turns. It prints the
median and the 95th percentile of each stage, in milliseconds a frame (`Result.stages`).

Example:
    python -m benchmarks.speed.stages line3.partsight --data PARTS --frames 320 --provider openvino
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common.results import make_parser, write_results
from partsight.runtime import Recognizer, read_image
from partsight.runtime.cameras import find_images
from partsight.runtime.core import progress
from partsight.runtime.recognition import Result

STAGES = ("prepare_ms", "network_ms", "compare_ms")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(argv)
    paths = find_images(args.data / "line")
    chosen = np.random.default_rng(0).permutation(len(paths))[: args.frames]
    if len(chosen) < 2 * args.batch:
        raise SystemExit(f"{len(chosen)} frames; expected at least two batches of {args.batch}: raise --frames")
    options = {"provider": args.provider, "precision": args.precision, "batch_size": args.batch}
    with Recognizer(args.package, **options) as recognizer:
        if recognizer.manifest.matching is None:
            raise SystemExit(f"{args.package} compares no frames with golden images: export it with this partsight")
        recognizer.preload()  # as a line does
        found = _measure(recognizer, [paths[index] for index in chosen], args.batch)
    lines = ["| frames | stage | median | 95th percentile |", "|---|---|---|---|"]
    stages = {}
    for size, rows in found.items():
        for name, values in zip(STAGES, np.array(rows).T, strict=True):
            median, high = float(np.median(values)), float(np.quantile(values, 0.95))
            stages[f"{name} of {size}"] = {"median_ms": median, "p95_ms": high}
            lines.append(f"| {size} | {name.removesuffix('_ms')} | {median:.2f} ms | {high:.2f} ms |")
    spec = recognizer.manifest.matching.spec
    counts = (
        f"{spec.by_thumbnail} candidates by thumbnail, {spec.by_network} by the network, {spec.finalists} finalists"
    )
    table = "\n".join([*lines, "", f"{counts}; {args.provider}, {args.precision}"])
    print(table)
    write_results(args.out, args.name, {"frames": len(chosen), "provider": args.provider, "stages": stages}, table)


def _measure(recognizer: Recognizer, paths: list[Path], batch: int) -> dict[int, list[tuple[float, ...]]]:
    """Return the milliseconds a frame of each stage, one row for each call, by size of batch."""
    found: dict[int, list[tuple[float, ...]]] = {1: [], batch: []}
    chunks = [paths[start : start + batch] for start in range(0, len(paths) - batch + 1, batch)]
    for turn, chunk in enumerate(progress(chunks, len(chunks), "batches", "batch")):
        frames = [read_image(path) for path in chunk]
        if turn % 2:
            found[1] += [_stages([recognizer.recognize(frame)]) for frame in frames]
        else:
            found[batch].append(_stages(recognizer.recognize_batch(frames)))
    return found


def _stages(results: list[Result]) -> tuple[float, ...]:
    return tuple(getattr(results[0].stages, name) / len(results) for name in STAGES)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "stages", frames=320)
    parser.add_argument("package", type=Path)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--provider", default="cpu")
    parser.add_argument("--precision", default="fp32")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
