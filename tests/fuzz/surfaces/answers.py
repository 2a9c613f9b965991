"""Scores of a network that computes nonsense, and what is decided on them."""

import contextlib
import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from partsight.runtime.alignment import Pose
from partsight.runtime.decision import Answer, decide, decide_verified
from partsight.runtime.selection import best_first
from partsight.runtime.verification import VerificationSpec, Verified
from tests.fuzz.surface import Case, check

_ODD = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 1e-45, 3.4e38, -3.4e38)


@contextlib.contextmanager
def open_answers(_folder: Path) -> Iterator[Case]:
    """Rows of any numbers: it names the best, and nothing is accepted below the threshold or without a number."""
    spec = VerificationSpec(height=32, width=32)
    names = [str(place) for place in range(5000)]

    def case(rng: random.Random) -> None:
        classes = rng.choice((1, 2, 3, 7, 40, 300, 5000))
        score = _scores(rng, classes)
        labels = names[:classes]
        threshold = rng.choice((*_ODD, rng.uniform(-1, 1)))
        top = rng.choice((1, 2, 5, classes, classes + 1))
        (answer,) = decide(score[None], labels, threshold, top)
        _check(answer, labels, threshold)
        check(len(answer.top) == min(top, classes), "not as many candidates as were asked for")
        numbers = score[~np.isnan(score)]
        best = numbers.max() if len(numbers) else math.nan
        check(answer.score == best or (math.isnan(best) and math.isnan(answer.score)), "the best is not the best")
        count = min(classes, 5)
        agreement = tuple(sorted((abs(float(value)) for value in score[:count] if not np.isnan(value)), reverse=True))
        if agreement:
            verified = Verified(tuple(range(len(agreement))), agreement, (Pose(),) * len(agreement))
            _check(decide_verified(verified, spec, labels, threshold, top), labels, threshold)

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
        check(answer.score >= threshold, f"accepted with {answer.score} below {threshold}")
        check(answer.label == answer.top[0][0] and answer.label in labels, "the label is not that of the best")
