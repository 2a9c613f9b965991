"""How many parts does partsight recognise on the line, and how many unknown parts does it refuse?

The benchmark reads DATA/line/PART/N.jpg, frames of taught parts, and DATA/unknown/*.jpg, parts that were never taught.

Example:
    python -m benchmarks.accuracy.recognition line3.partsight --data PARTS
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.common.results import make_parser, write_results
from partsight.runtime import Recognizer, Result, read_image
from partsight.runtime.cameras import find_images
from partsight.runtime.core import progress
from partsight.runtime.package import Decision

BATCH = 64


@dataclass(frozen=True)
class Accuracy:
    """Shares of frames that are right, accepted and refused.

    Attributes:
        line_frames: Number of frames of taught parts.
        top1, top5: Share of line frames whose part is the best candidate, or among the five best.
        accepted: Share of line frames that got a label.
        right_of_accepted: Share of accepted line frames whose label is right.
        unknown_frames: Number of frames of parts that were not taught.
        unknown_refused: Share of these that got no label.
        auroc: Separation of taught and unknown parts by the score; 0.5 is chance, 1 is perfect.
        expected_accepted, expected_refused: Shares that the package expects; NaN if it names none.
    """

    line_frames: int
    top1: float
    top5: float
    accepted: float
    right_of_accepted: float
    unknown_frames: int
    unknown_refused: float
    auroc: float
    expected_accepted: float
    expected_refused: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    line, unknown = find_images(args.data / "line"), find_images(args.data / "unknown")
    with Recognizer(
        args.package,
        provider=args.provider,
        precision=args.precision,
        batch_size=BATCH,
        matching=not args.network_alone,
    ) as recognizer:
        line_results = recognize(recognizer, line, "line")
        unknown_results = recognize(recognizer, unknown, "unknown")
        threshold, manifest = recognizer.threshold, recognizer.manifest
    both = manifest.matching is not None and not args.network_alone
    decision = manifest.matching.decision if both and manifest.matching else manifest.decision
    accuracy = judge([path.parent.name for path in line], line_results, unknown_results, decision)
    table = to_table(accuracy)
    print(table)
    write_results(args.out, args.name, asdict(accuracy), table)
    plot(args.out / f"{args.name}.png", line_results, unknown_results, threshold)
    print(f"written to {args.out / args.name}.json, .md and .png")


def recognize(recognizer: Recognizer, paths: Sequence[Path], what: str) -> list[Result]:
    """Recognise image files."""
    results: list[Result] = []
    starts = range(0, len(paths), BATCH)
    for start in progress(starts, len(starts), what, f"×{BATCH}"):
        results += recognizer.recognize_batch([read_image(path) for path in paths[start : start + BATCH]])
    return results


def judge(
    labels: Sequence[str], line: Sequence[Result], unknown: Sequence[Result], decision: Decision | None = None
) -> Accuracy:
    """Compare results with the parts that the frames show, and with the shares that the package expects."""
    candidates = [[name for name, _ in result.top] for result in line]
    is_right = np.array([names[0] == label for names, label in zip(candidates, labels, strict=True)])
    is_near = np.array([label in names[:5] for names, label in zip(candidates, labels, strict=True)])
    is_accepted = np.array([result.accepted for result in line])
    return Accuracy(
        line_frames=len(line),
        top1=float(is_right.mean()),
        top5=float(is_near.mean()),
        accepted=float(is_accepted.mean()),
        right_of_accepted=float(is_right[is_accepted].mean()) if is_accepted.any() else float("nan"),
        unknown_frames=len(unknown),
        unknown_refused=float(np.mean([not result.accepted for result in unknown])),
        auroc=auroc([result.score for result in line], [result.score for result in unknown]),
        expected_accepted=1 - decision.expected_false_reject if decision else math.nan,
        expected_refused=_refused(decision.expected_false_accept if decision else None),
    )


def _refused(expected_false_accept: float | None) -> float:
    return math.nan if expected_false_accept is None else 1 - expected_false_accept


def interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share of `count` frames (E. B. Wilson, 1927)."""
    z = 1.96
    center = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return center - half, center + half


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Return the probability that a positive scores higher than a negative; ties count half (Mann and Whitney)."""
    first, second = np.asarray(positive)[:, None], np.asarray(negative)[None, :]
    return float(((first > second) + 0.5 * (first == second)).mean())


def to_table(accuracy: Accuracy) -> str:
    """Return the figures as a Markdown table."""
    line, accepted = accuracy.line_frames, round(accuracy.line_frames * accuracy.accepted)
    rows = (
        _row(f"right part first, of {line} line frames", accuracy.top1, line),
        _row("right part among the first five", accuracy.top5, line),
        _row("accepted (not answered unknown)", accuracy.accepted, line, accuracy.expected_accepted),
        _row("right, of the accepted", accuracy.right_of_accepted, accepted),
        _row(
            f"refused, of {accuracy.unknown_frames} frames of unknown parts",
            accuracy.unknown_refused,
            accuracy.unknown_frames,
            accuracy.expected_refused,
        ),
        ("score tells taught from unknown (AUROC)", f"{accuracy.auroc:.3f}", "", ""),
    )
    head = ["| quantity | share | 95 % interval | expected by the package |", "|---|---|---|---|"]
    return "\n".join(head + [f"| {' | '.join(row)} |" for row in rows])


def _row(name: str, share: float, count: int, expected: float = math.nan) -> tuple[str, str, str, str]:
    if math.isnan(share) or not count:
        return name, "", "", ""
    low, high = interval(share, count)
    expectation = "" if math.isnan(expected) else f"{expected:.1%}"
    return name, f"{share:.2%}", f"{low:.2%} to {high:.2%}", expectation


def plot(path: Path, line: Sequence[Result], unknown: Sequence[Result], threshold: float) -> None:
    """Draw the scores of taught and unknown parts, and the threshold between them."""
    plt.switch_backend("Agg")
    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    scores = [[result.score for result in results] for results in (line, unknown)]
    bins = np.linspace(min(map(min, scores)), max(map(max, scores)), 60)
    axes.hist(scores[0], bins, density=True, alpha=0.7, color="#1f7a4d", label="taught parts on the line")
    axes.hist(scores[1], bins, density=True, alpha=0.7, color="#c0392b", label="unknown parts")
    axes.axvline(threshold, color="#34495e", linestyle="--", label="reject threshold")
    axes.set(xlabel="best score", yticks=[])
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "accuracy")
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--provider", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--network-alone", action="store_true", help="no comparison with golden images")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
