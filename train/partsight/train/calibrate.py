"""The first reject threshold: from varied golden images, because there is no picture of an unknown part."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from partsight.runtime.images import Pixels
from partsight.runtime.manifest import Decision
from partsight.runtime.session import FloatArray
from partsight.train.heads import Head
from partsight.train.variation import Variation, vary

LARGEST_SAMPLE = 256


def calibrate(
    goldens: Sequence[Pixels],
    best_scores: Callable[[Iterable[Pixels], int], FloatArray],
    head: Head,
    max_false_reject: float,
    seed: int,
) -> Decision:
    """Choose the threshold that refuses at most a share of taught parts as the line would show them.

    Each of up to 256 golden images, drawn at random, is varied once; the threshold is the quantile of their best
    scores. Classes are pooled: with one image a class there is nothing to fit for each.

    Args:
        goldens: one image for each class.
        best_scores: from images and their number to the trained model's best score for each.
        head: whose scores they are.
        max_false_reject: the share, in [0, 1].
        seed: of the drawing.
    """
    rng = np.random.default_rng(seed)
    size = min(LARGEST_SAMPLE, len(goldens))
    chosen = rng.choice(len(goldens), size, replace=False)
    scores = best_scores((vary(goldens[index], Variation(), rng) for index in chosen), size)
    return Decision(
        score=head.score,
        threshold=float(np.quantile(scores, max_false_reject, method="lower")),
        method=f"quantile of the best scores of {size} varied golden images",
        samples=size,
        expected_false_reject=max_false_reject,
    )
