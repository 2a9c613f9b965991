"""How well does partsight recognise enrolled parts, and do its answers for the other parts change?

The benchmark leaves some parts out, trains and exports a package, and enrols them. It answers frames of the enrolled
parts, and frames of the other parts before and after. The trained package stays in the folder --work, and the next call
with the same data and the same parts left out uses it again.

Example:
    python -m benchmarks.accuracy.enrolment --data PARTS --leave-out 100
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.results import make_parser, write_results
from partsight.runtime import ModelPackage, Recognizer, Result, read_image
from partsight.runtime.cameras import find_images
from partsight.runtime.core import progress
from partsight.runtime.enrolment import Enrolled, enroll
from partsight.runtime.matching import MatchingSpec
from partsight.train.catalog import read_catalog

BATCH = 64


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    goldens = {golden.label: golden.path for golden in read_catalog(args.data / "golden").goldens}
    count = min(args.leave_out, len(goldens) - 2)
    left_out = sorted(np.random.default_rng(args.seed).choice(sorted(goldens), count, replace=False).tolist())
    before = train_without(goldens, left_out, args.work, args.budget)
    after = args.work / "after.partsight"
    shutil.rmtree(after, ignore_errors=True)
    started = time.perf_counter()
    enrolled = enroll(before, after, additions={label: [goldens[label]] for label in left_out}, track=track)
    seconds = time.perf_counter() - started
    frames = find_images(args.data / "line")
    new = [path for path in frames if path.parent.name in set(left_out)]
    old = [path for path in frames if path.parent.name not in set(left_out)]
    answers = {
        "enrolled": recognize(after, new, "enrolled parts"),
        "before": recognize(before, old, "the others, before"),
        "after": recognize(after, old, "the others, after"),
    }
    results = judge(new, old, answers) | found(enrolled, left_out) | {"seconds": seconds, "budget": args.budget}
    table = to_table(results)
    print(table)
    write_results(args.out, args.name, results, table)
    print(f"written to {args.out / args.name}.json and .md")


def train_without(goldens: dict[str, Path], left_out: Sequence[str], work: Path, budget: str) -> Path:
    """Return a package without the given parts, made now or by an earlier call."""
    package, catalog, run = work / "before.partsight", work / "taught", work / "run"
    taught = [label for label in goldens if label not in set(left_out)]
    if package.exists() and list(ModelPackage.read(package).manifest.labels) == taught:
        return package
    for folder in (package, catalog, run):
        shutil.rmtree(folder, ignore_errors=True)
    catalog.mkdir(parents=True)
    for label in taught:
        (catalog / label).mkdir()
        shutil.copyfile(goldens[label], catalog / label / goldens[label].name)
    partsight = [sys.executable, "-m", "partsight.cli"]
    subprocess.run([*partsight, "train", catalog, "--out", run, "--budget", budget], check=True)
    subprocess.run([*partsight, "export", run, "--precision", "fp32", "--out", package], check=True)
    return package


def track(items: Sequence[int], what: str) -> Iterable[int]:
    """Show the progress of enrolment."""
    yield from progress(items, len(items), what, "×32")


def recognize(package: Path, paths: Sequence[Path], what: str) -> list[Result]:
    """Recognise image files."""
    results: list[Result] = []
    with Recognizer(package, batch_size=BATCH) as recognizer:
        starts = range(0, len(paths), BATCH)
        for start in progress(starts, len(starts), what, f"×{BATCH}"):
            results += recognizer.recognize_batch([read_image(path) for path in paths[start : start + BATCH]])
    return results


def judge(new: Sequence[Path], old: Sequence[Path], answers: dict[str, list[Result]]) -> dict[str, Any]:
    """Compare answers with the parts that the frames show, and answers before with answers after."""
    shares: dict[str, Any] = {}
    for name, paths in (("enrolled", new), ("before", old), ("after", old)):
        pairs = list(zip(paths, answers[name], strict=True))
        shares[name] = {
            "frames": len(pairs),
            "right_first": _share(result.top[0][0] == path.parent.name for path, result in pairs),
            "accepted_right": _share(result.label == path.parent.name for path, result in pairs),
            "accepted_wrong": _share(result.accepted and result.label != path.parent.name for path, result in pairs),
        }
    both = list(zip(old, answers["before"], answers["after"], strict=True))
    changed = [str(path.relative_to(path.parents[1])) for path, was, now in both if was.label != now.label]
    same = _share(was.score == now.score and was.label == now.label for _, was, now in both)
    return shares | {"changed": changed, "same_to_the_bit": same}


def found(enrolled: Enrolled, left_out: Sequence[str]) -> dict[str, Any]:
    """Return the figures that enrolment expected."""
    return {
        "left_out": list(left_out),
        "expected_right": float(np.mean([part.right for part in enrolled.parts])),
        "expected_wrong": float(np.mean([part.wrong for part in enrolled.parts])),
        "largest_score_difference": enrolled.largest_difference,
        "harmed": list(enrolled.harmed),
        "candidates": counts(enrolled.package.manifest.matching.spec if enrolled.package.manifest.matching else None),
        "candidates_before": counts(enrolled.spec_before),
        "twins": [part.label for part in enrolled.parts if part.lookalike and part.lookalike.is_twin],
    }


def counts(spec: MatchingSpec | None) -> str:
    """Return the numbers of candidates for the comparison, as text."""
    return "none" if spec is None else f"{spec.by_thumbnail} by thumbnail, {spec.by_network} by the network"


def to_table(results: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    enrolled, before, after = (results[name] for name in ("enrolled", "before", "after"))
    expected = f"their own label (enrolment expected {results['expected_right']:.2%})"
    rows = (
        (f"parts enrolled in {results['seconds']:.0f} s", str(len(results["left_out"]))),
        (f"right part first, of their {enrolled['frames']} line frames", f"{enrolled['right_first']:.2%}"),
        (expected, f"{enrolled['accepted_right']:.2%}"),
        ("another part's label", f"{enrolled['accepted_wrong']:.2%}"),
        (f"right part first, of {before['frames']} frames of other parts, before", f"{before['right_first']:.2%}"),
        ("the same, after", f"{after['right_first']:.2%}"),
        ("their own label, before", f"{before['accepted_right']:.2%}"),
        ("the same, after", f"{after['accepted_right']:.2%}"),
        ("another part's label, before", f"{before['accepted_wrong']:.2%}"),
        ("the same, after", f"{after['accepted_wrong']:.2%}"),
        ("candidates, before", results["candidates_before"]),
        ("the same, after", results["candidates"]),
        ("changed answers for other parts", str(len(results["changed"]))),
        ("largest change of a network score of other parts", f"{results['largest_score_difference']:.1g}"),
    )
    return "\n".join(["| quantity | figure |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _share(is_so: Iterable[bool]) -> float:
    return float(np.mean(list(is_so)))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "enroll")
    parser.add_argument(
        "--leave-out", type=int, default=100, metavar="N", help="number of parts (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of parts (default: %(default)s)")
    parser.add_argument("--budget", default="quick", choices=("quick", "full"), help="of training")
    parser.add_argument("--work", type=Path, default=Path("build/enroll"), help="work folder (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
