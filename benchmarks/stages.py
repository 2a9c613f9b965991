"""What does each stage of an answer cost: the network alone, and the comparison with golden images?

Frames of DATA/line are answered one at a time by two recognisers in turn, with and without the second stage, in
rounds that alternate; medians and the 95th percentile are printed. Cold: every frame shows another part, so that no
golden image is ready. Warm: the same frame comes again.

Example:
    python benchmarks/stages.py line3.partsight --data /data/parts --frames 200
"""

import argparse
from pathlib import Path

import numpy as np
from _common import default_data, write_results
from tqdm import tqdm

from partsight.runtime import Recognizer, read_image
from partsight.runtime.cameras.files import find_images


def main() -> None:
    """Measure, print a table and write result files."""
    args = _parse()
    paths = find_images(args.data / "line")
    chosen = [paths[place] for place in np.linspace(0, len(paths) - 1, min(args.frames, len(paths))).astype(int)]
    with (
        Recognizer(args.package, provider=args.provider, verify=False) as network,
        Recognizer(args.package, provider=args.provider) as both,
    ):
        verification = both.manifest.verification
        if verification is None:
            raise SystemExit(f"{args.package} has no second stage: export it with this partsight")
        finalists = verification.spec.finalists
        both.hold()  # as a line does
        rows = [
            _measure(network, both, path, finalists) for path in tqdm(chosen, desc="frames", unit="frame", disable=None)
        ]
    table_rows = _summarise(np.array(rows))
    head = ["| what | median | 95th percentile |", "|---|---|---|"]
    table = "\n".join(head + [f"| {name} | {median:.1f} ms | {high:.1f} ms |" for name, median, high in table_rows])
    share = float(np.mean([row[3] for row in rows]))
    table += (
        f"\n\n{share:.0%} of {len(rows)} frames are clear: fewer than {finalists} golden images are compared in full."
    )
    print(table)
    results = {name: {"median_ms": median, "p95_ms": high} for name, median, high in table_rows}
    write_results(args.out, args.name, {"frames": len(rows), "clear_share": share, "stages": results}, table)


def _measure(network: Recognizer, both: Recognizer, path: Path, finalists: int) -> tuple[float, float, float, bool]:
    """Return milliseconds of the network alone, with the comparison cold and warm, and whether the frame is clear."""
    frame = read_image(path)
    alone, warm = [network.recognize(frame).latency_ms], []
    first = both.recognize(frame)
    for _ in range(5):
        alone.append(network.recognize(frame).latency_ms)
        warm.append(both.recognize(frame).latency_ms)
    is_clear = len(first.top) < finalists  # who was compared in full is a candidate
    return float(np.median(alone)), first.latency_ms, float(np.median(warm)), is_clear


def _summarise(rows: np.ndarray) -> list[tuple[str, float, float]]:
    alone, cold, warm, is_clear = rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3] > 0
    groups = [
        ("network alone", alone),
        ("both stages, warm", warm),
        ("both stages, cold", cold),
        ("comparison of a clear frame, warm", (warm - alone)[is_clear]),
        ("comparison of any other frame, warm", (warm - alone)[~is_clear]),
    ]
    return [
        (name, float(np.median(values)), float(np.quantile(values, 0.95))) for name, values in groups if len(values)
    ]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument(
        "--data", type=Path, default=default_data(), help="default: $PARTSIGHT_DATA, else examples/parts"
    )
    parser.add_argument("--frames", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--provider", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="folder (default: %(default)s)")
    parser.add_argument("--name", default="stages", help="of the result files (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
