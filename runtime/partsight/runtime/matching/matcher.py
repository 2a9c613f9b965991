"""The matcher: frames are laid over the golden images that could fit, and compared, a batch at a time.

A network that pools its features hardly sees what tells 11 pins from 12. Laid over each other, the two pictures differ
in a whole pin. The comparison allows for what a controlled line varies (pose, brightness and colour of the light,
noise, a little blur) and for nothing else.

    screening   all references, at 1/6 of the size     by_thumbnail + by_network candidates
    alignment   candidates, at 1/3 of the size         finalists
    alignment   finalists, at full size
    agreement   finalists, at full size                the answer
"""

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.matching.agreement import agree
from partsight.runtime.matching.alignment import NEVER, align_fine, align_middle, choose
from partsight.runtime.matching.bank import Bank
from partsight.runtime.matching.layout import Layout
from partsight.runtime.matching.levels import levels_of
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.poses import Poses
from partsight.runtime.matching.screening import rank, screen
from partsight.runtime.matching.spec import MatchingSpec

_FRAMES_A_STEP = 8
"""Frames that one thread works on at once: more do not fit into its cache, fewer wait for Python."""

_MAX_BLOCK = 31 * 2**20


@dataclass(frozen=True)
class Matches:
    """What matching says of a batch; each (frames, finalists), the best first.

    Attributes:
        classes: int64; of equal agreement, any.
        agreement: in [0, 1] float32: 1 / (1 + worst difference in multiples of the tolerance); 0 for none.
        poses: where each golden image lies in its frame.
        references: rows of the bank, int64.
    """

    classes: Any
    agreement: Any
    poses: Poses
    references: Any

    @property
    def margin(self) -> Any:
        """(frames,) lead of the best agreement over the second; the agreement itself where there is no second."""
        if self.agreement.shape[1] == 1:
            return self.agreement[:, 0]
        return self.agreement[:, 0] - self.agreement[:, 1]

    def is_accepted(self, threshold: float, spec: MatchingSpec) -> Any:
        """(frames,) whether the best golden image agrees well enough, and no other one as well."""
        # As float32, so that a graph and Python compare the same numbers; neither agreement nor margin is beyond 1.
        least, margin = np.clip([threshold, spec.least_margin], -2, 2).astype(np.float32)
        return (self.agreement[:, 0] >= least) & (self.margin >= margin)


def match(
    frames: Any, score: Any, bank: Bank, spec: MatchingSpec, ops: ArrayOperations, excluded: Any = None
) -> Matches:
    """Lay frames over golden images and compare: the whole algorithm, on arrays or as a graph.

    Args:
        frames: (frames, height, width, 3) uint8 BGR, of the references' size.
        score: (frames, classes) float32, the network's.
        bank: of references.
        spec: how to compare.
        ops: to compute with.
        excluded: (frames, classes) bool: classes that a frame is not compared with, for calibration; None for none.
    """
    levels, layout = levels_of(frames, ops), Layout.of(spec.size_hw)
    candidates, poses = screen(levels.coarse, score, bank, spec, ops, excluded)
    classes = ops.take_index(bank.class_of, candidates)
    poses, difference = align_middle(levels.middle, candidates, poses, bank, layout, ops)
    if excluded is not None:
        difference = ops.where(ops.pick(excluded, classes), np.float32(NEVER), difference)
    finalists = choose(difference, classes, min(spec.finalists, bank.classes), ops)
    candidates, classes = ops.pick(candidates, finalists.index), ops.pick(classes, finalists.index)
    poses = align_fine(levels.fine, candidates, poses.pick(finalists.index, ops), bank, layout, ops)
    agreement = agree(levels.colour, candidates, poses, bank, spec, layout, ops)
    agreement = ops.where(finalists.is_valid, agreement, np.float32(0))
    order = ops.best(agreement, agreement.shape[1])
    return Matches(
        ops.pick(classes, order), ops.pick(agreement, order), poses.pick(order, ops), ops.pick(candidates, order)
    )


class Matcher:
    """Matches batches by NumPy and OpenCV on all cores. Thread-safe."""

    def __init__(self, bank: Bank, spec: MatchingSpec) -> None:
        """Take a package's references.

        Args:
            bank: of references.
            spec: how to compare.
        """
        self.bank, self.spec = bank, spec
        self._pool = ThreadPoolExecutor(usable_cores(), "partsight-match")
        _keep_freed_blocks()

    def match(self, frames: Pixels, score: FloatArray, excluded: npt.NDArray[np.bool_] | None = None) -> Matches:
        """Compare frames with the golden images that could fit; see `match`."""
        bank = self.bank  # `preload` may put another in its place meanwhile

        def matched(part: slice) -> Matches:
            left_out = None if excluded is None else excluded[part]
            return match(frames[part], score[part], bank, self.spec, ArrayOperations(), left_out)

        if len(frames) == 1:
            return matched(slice(1))
        return _joined(list(self._pool.map(matched, _parts(len(frames)))))

    def rank(self, frames: Pixels, classes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Return how many other classes' thumbnails fit each frame better than those of its own, (frames,)."""
        ops = ArrayOperations()
        ranks: npt.NDArray[np.intp] = rank(levels_of(frames, ops).coarse, classes, self.bank, ops)
        return ranks

    def preload(self, max_bytes: int) -> None:
        """Copy the bank into memory if it is no larger: the package's folder is then needed no more."""
        if self.bank.records.nbytes <= max_bytes:
            self.bank = Bank.of(np.array(self.bank.records))


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parts(count: int) -> Iterator[slice]:
    """Yield equal parts of a batch: at least one a core, none of more frames than a thread works on at once."""
    parts = min(count, max(usable_cores(), -(-count // _FRAMES_A_STEP)))
    edges = [count * part // parts for part in range(parts + 1)]
    return (slice(start, stop) for start, stop in itertools.pairwise(edges))


def _joined(parts: list[Matches]) -> Matches:
    classes, agreement, references = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("classes", "agreement", "references")
    )
    poses = Poses(*(np.concatenate(values) for values in zip(*(part.poses.values for part in parts), strict=True)))
    return Matches(classes, agreement, poses, references)


def _keep_freed_blocks() -> None:
    """Let glibc keep blocks of some megabytes that are freed: fetched anew for each batch, they take a quarter longer.

    It does so by itself once a block of nearly 32 MB was freed (mallopt(3), "M_MMAP_THRESHOLD"); elsewhere this does
    nothing.
    """
    np.empty(_MAX_BLOCK, np.uint8)
