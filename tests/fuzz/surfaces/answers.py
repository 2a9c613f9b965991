"""Scores of a network that computes nonsense, and the decisions on them."""

import contextlib
import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from partsight.runtime.core.topk import best_first
from partsight.runtime.matching import Bank, Matches, MatchingSpec, Rule
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.parallax import Parallax
from partsight.runtime.matching.poses import Poses
from partsight.runtime.matching.preparation import record_type
from partsight.runtime.recognition.results import Answer, decide, decide_matched
from tests.fuzz.surface import Case, check

_ODD = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 1e-45, 3.4e38, -3.4e38)


@contextlib.contextmanager
def open_answers(_folder: Path) -> Iterator[Case]:
    """Rows of any numbers: the answer names the best class, and accepts no score below the threshold and no NaN."""
    spec = MatchingSpec(height=36, width=36)
    names = [str(index) for index in range(5000)]
    records = np.zeros(len(names), record_type(spec.size_hw))
    records["class"] = range(len(names))
    bank = Bank.of(records)

    def case(rng: random.Random) -> None:
        classes = rng.choice((1, 2, 3, 7, 40, 300, 5000))
        score = _scores(rng, classes)
        labels = names[:classes]
        threshold = rng.choice((*_ODD, rng.uniform(-1, 1)))
        top = rng.choice((1, 2, 5, classes, classes + 1))
        (answer,) = decide(score[None], labels, threshold, top)
        _check(answer, labels, threshold)
        check(len(answer.top) == min(top, classes), "another number of candidates than requested")
        numbers = score[~np.isnan(score)]
        best = numbers.max() if len(numbers) else math.nan
        check(answer.score == best or (math.isnan(best) and math.isnan(answer.score)), "the best is not the best")
        order = ArrayOperations.best(score[None], min(classes, 5))
        agreement = np.clip(np.take_along_axis(score[None], order, axis=1), 0, 1)
        lead = np.float32([rng.choice((-1.0, 0.0, rng.uniform(-1, 1)))])
        matches = Matches(order, agreement, Poses(*[agreement] * 5), order, Parallax(agreement, agreement), lead)
        weights = [rng.choice((0.0, 0.0, rng.uniform(0, 2), *_ODD)) for _ in range(2)]
        (answer,) = decide_matched(matches, bank, spec, labels, Rule(threshold, *weights), top)
        _check(answer, labels, answer.threshold)
        check(answer.accepted == (answer.reason == "recognised"), f"{answer.reason} of an answer {answer.label}")
        check(answer.reason != "two_parts_fit" or answer.score >= answer.threshold, "none fits, let alone two")
        check(answer.reference == 0, f"reference {answer.reference} of a part that has one")

    yield case


def _scores(rng: random.Random, classes: int) -> np.ndarray:
    numbers = np.random.default_rng(rng.getrandbits(32))
    score = numbers.uniform(-1, 1, classes).astype(np.float32)
    if rng.random() < 0.3:
        score = np.round(score, 1)  # many that are equal
    odd = rng.choice((0, 1, 3, classes // 2))
    score[numbers.integers(0, classes, odd)] = rng.choices(_ODD, k=odd)
    if rng.random() < 0.05:
        score.fill(rng.choice(_ODD))
    order = best_first(score, classes)
    check(sorted(order.tolist()) == list(range(classes)), "not each class is named once")
    return np.asarray(score, np.float32)


def _check(answer: Answer, labels: list[str], threshold: float) -> None:
    check(answer.accepted == (answer.label is not None), "accepted without a label, or a label without being accepted")
    if answer.accepted:
        # Agreements are compared as float32.
        check(answer.score >= np.float32(threshold), f"accepted with {answer.score} below {threshold}")
        check(answer.label in labels, "a label that was never taught")
        check(not answer.top or answer.label == answer.top[0][0], "the label is not that of the best")
