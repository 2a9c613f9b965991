"""Does commissioning keep its word? Frames of a line are split at random: some fit the decision, the others judge it.

For each split the benchmark fits the package's decision to some frames, and answers the others before and after. It
counts how often the rate on the others lies in the interval that commissioning prints. References and network stay.

Example:
    python -m benchmarks.accuracy.commissioning line3.partsight --frames PARTS/line --unknown PARTS/unknown
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.common.results import make_parser, markdown_table, write_results
from partsight.runtime import ModelPackage, Recognizer
from partsight.runtime.calibration.commissioning.decision import fit_line_rule
from partsight.runtime.calibration.commissioning.frames import read_line_frames
from partsight.runtime.calibration.commissioning.held_out import Outcome, hold_out, judge, rate_outcome
from partsight.runtime.calibration.commissioning.line_answers import LineAnswers, answer, see
from partsight.runtime.matching import Rule
from partsight.runtime.recognition import load_bank

RATES = ("right_first", "refused", "wrong", "unknown")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    answers, rule = answer_all(args.package, args.frames, args.unknown)
    splits = [
        judge_split(answers, chosen, rule, args.max_false_reject)
        for chosen in split(answers, args.learn, args.splits, by_part=args.by == "part")
    ]
    results = summarise(splits)
    table = to_table(results)
    print(table)
    write_results(args.out, args.name, results, table)


@dataclass(frozen=True)
class Split:
    """Rates on frames that the decision was not fitted to.

    Attributes:
        before, after: By the package's decision, and by the fitted one.
        right_refused: Share of frames that get no label although their own part fits best, before and after.
        printed: Rates and intervals that commissioning prints for the fitted one.
    """

    before: Outcome
    after: Outcome
    right_refused: tuple[float, float]
    printed: Outcome


def answer_all(path: Path, frames: Path, unknown: Path) -> tuple[LineAnswers, Rule]:
    """Answer all frames, each with all parts and without its own; return the package's rule as well."""
    package = ModelPackage.read(path)
    matching = package.manifest.matching
    if matching is None:
        raise SystemExit(f"{path}: compares no frames with golden images; export it again")
    listed = read_line_frames(frames, package.manifest.labels, unknown)
    with Recognizer(path, batch_size=32) as recognizer:
        seen = see(recognizer, listed, matching.spec)
    bank = load_bank(package)
    return answer(seen, bank, matching.spec), matching.decision.rule


def split(answers: LineAnswers, learn: int, splits: int, *, by_part: bool) -> Iterator[npt.NDArray[np.bool_]]:
    """Yield which frames of taught parts fit the decision, (frames,): those of some parts, or some of all."""
    taught = np.flatnonzero(answers.is_taught)
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(taught)
        if by_part:
            parts = np.random.default_rng(seed).permutation(np.unique(answers.classes[taught]))
            rank = np.argsort(parts)  # of each part, in the drawn order
            order = taught[np.argsort(rank[np.searchsorted(np.sort(parts), answers.classes[taught])], kind="stable")]
        yield np.isin(np.arange(len(answers)), order[:learn])


def judge_split(answers: LineAnswers, chosen: npt.NDArray[np.bool_], before: Rule, max_false_reject: float) -> Split:
    """Fit a decision to the chosen frames, and judge both decisions on the others."""

    def fit(some: LineAnswers) -> Rule:
        return fit_line_rule(some, before, max_false_reject)

    used, others = answers.of_frames(chosen), answers.of_frames(~chosen)
    decided = [judge(others, rule) for rule in (before, fit(used))]
    refused = [float(np.mean(~item.accepted[others.is_right_first])) for item in decided]
    outcomes = [rate_outcome(others, item) for item in decided]
    return Split(outcomes[0], outcomes[1], (refused[0], refused[1]), rate_outcome(used, hold_out(used, fit)))


def summarise(splits: Sequence[Split]) -> dict[str, Any]:
    """Return medians and the worst tenth over the splits, and in how many the printed intervals held."""
    results: dict[str, Any] = {"splits": len(splits)}
    for column, when in enumerate(("before", "after")):
        for name in RATES:
            found = [getattr(getattr(item, when), name) for item in splits]
            shares = [1 - rate.rate if name == "unknown" else rate.rate for rate in found if rate is not None]
            results[f"{when}_{name}"] = _spread(shares, 0.1 if name in ("right_first", "unknown") else 0.9)
        results[f"{when}_right_refused"] = _spread([item.right_refused[column] for item in splits], 0.9)
    for name in ("refused", "siblings"):
        held = [
            getattr(item.printed, name).low <= getattr(item.after, name).rate <= getattr(item.printed, name).high
            for item in splits
        ]
        results[f"{name}_in_interval"] = int(sum(held))
    return results


def _spread(shares: Sequence[float], worst: float) -> dict[str, float]:
    return {"median": float(np.median(shares)), "worst_tenth": float(np.quantile(shares, worst))}


def to_table(results: dict[str, Any]) -> str:
    """Return the rates before and after as a Markdown table."""
    names = {
        "right_first": "right first",
        "right_refused": "refused, of frames whose part fits best",
        "refused": "refused, of all frames of taught parts",
        "wrong": "another part's label",
        "unknown": "refused, of frames of unknown parts",
    }
    rows = [[text, *(_cell(results[f"{when}_{name}"]) for when in ("before", "after"))] for name, text in names.items()]
    table = markdown_table([f"median (worst tenth) of {results['splits']} splits", "before", "after"], rows)
    held = f"The printed interval held the rate of refused frames in {results['refused_in_interval']} splits."
    return f"{table}\n\n{held}"


def _cell(rate: dict[str, float]) -> str:
    return f"{100 * rate['median']:.2f} % ({100 * rate['worst_tenth']:.2f} %)"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__ or "", "commissioning")
    parser.add_argument("package", type=Path, help="package with golden images")
    parser.add_argument("--frames", type=Path, required=True, help="frames of the line: a folder for each part")
    parser.add_argument("--unknown", type=Path, required=True, help="frames of parts that the package does not have")
    parser.add_argument("--learn", type=int, default=200, help="frames that fit the decision (default: %(default)s)")
    parser.add_argument("--by", choices=("part", "frame"), default="part", help="unit that a split draws")
    parser.add_argument("--splits", type=int, default=20, help="number of random splits (default: %(default)s)")
    parser.add_argument("--max-false-reject", type=float, default=0.01, help="permitted share (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
