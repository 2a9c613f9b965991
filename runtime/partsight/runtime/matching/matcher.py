"""The matcher: it lays golden images over frames, a batch at a time, and compares them.

A network that pools its features hardly sees the difference between 11 pins and 12. Two pictures laid over each other
differ in a whole pin. The comparison allows for everything that a controlled line varies (pose, brightness and colour
of the light, noise, a little blur) and for nothing else.

    screening   all references, at 1/6 of the size     by_thumbnail + by_network candidates
    alignment   candidates, at 1/3 of the size         finalists
    alignment   finalists, at full size
    parallax    finalists, at full size
    agreement   finalists, at full size                the answer
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.matching.agreement import agree
from partsight.runtime.matching.alignment import NEVER, align_fine, align_middle, choose
from partsight.runtime.matching.bank import Bank
from partsight.runtime.matching.layout import Grid, Layout
from partsight.runtime.matching.levels import levels_of
from partsight.runtime.matching.operations import ArrayOperations
from partsight.runtime.matching.parallax import Parallax, fit_parallax
from partsight.runtime.matching.poses import Places, Poses
from partsight.runtime.matching.screening import rank, screen
from partsight.runtime.matching.spec import MatchingSpec, Rule

_FRAMES_A_STEP = 8
"""Number of frames that one thread works on at once: more do not fit into its cache, fewer wait for Python's lock."""

_MAX_BLOCK = 31 * 2**20  # bytes; see `_keep_freed_blocks`


@dataclass(frozen=True)
class Matches:
    """Result of matching for a batch; each (frames, finalists), the best first.

    Attributes:
        classes: Index of each finalist's class, int64; in any order where agreements are equal.
        agreement: Agreement in [0, 1], float32: 1 / (1 + worst difference in multiples of the tolerance); 0 for no
            finalist.
        poses: Pose of each golden image in its frame.
        references: Rows of the bank, int64.
        parallax: Parallax of each golden image.
        lead: Lead of the network's score for the best class over its score for any other class, (frames,) float32 in
            [-1, 1]; negative if the network names another part, and 0 if there is only one class.
    """

    classes: Any
    agreement: Any
    poses: Poses
    references: Any
    parallax: Parallax
    lead: Any

    @property
    def arrays(self) -> tuple[Any, ...]:
        """All arrays, in the order of `of_arrays`; the first axis of each is that of the frames."""
        shifts = self.parallax.right, self.parallax.down
        return self.classes, self.agreement, *self.poses.values, self.references, *shifts, self.lead

    @classmethod
    def of_arrays(cls, arrays: Sequence[Any]) -> "Matches":
        """Return the matches of these arrays."""
        classes, agreement, *poses, references, right, down, lead = arrays
        return cls(classes, agreement, Poses(*poses), references, Parallax(right, down), lead)

    def of_frames(self, chosen: Any) -> "Matches":
        """Return the matches of some frames: indices, or a mask."""
        return Matches.of_arrays([values[chosen] for values in self.arrays])

    @property
    def margin(self) -> Any:
        """Lead of the best agreement over the second, (frames,); the agreement itself if there is no second."""
        if self.agreement.shape[1] == 1:
            return self.agreement[:, 0]
        return self.agreement[:, 0] - self.agreement[:, 1]

    def places(self, grid: Grid, ops: ArrayOperations) -> Places:
        """Return the places in frames, in pixels, of the points of a full-size grid on the finalists' golden images."""
        return self.parallax.places(self.poses, grid, ops)

    def needed(self, rule: Rule) -> Any:
        """Return the least agreement that each frame needs for a label, (frames,) float32."""
        # As float32, so that a graph and Python compare the same numbers.
        threshold, by_margin, by_network = (
            np.float32(np.clip(value, -99, 99)) for value in msgspec.structs.astuple(rule)
        )
        if not by_margin and not by_network:  # exactly the threshold, even if the margin is no number
            return self.lead * np.float32(0) + threshold
        return self.margin * -by_margin + self.lead * -by_network + threshold

    def evidence(self, rule: Rule) -> Any:
        """Return what speaks for each frame's label, (frames,) float32: it is accepted from `rule.threshold` on."""
        return self.agreement[:, 0] + self.margin * np.float32(rule.by_margin) + self.lead * np.float32(rule.by_network)

    def is_accepted(self, rule: Rule, spec: MatchingSpec) -> Any:
        """Whether the best golden image agrees well enough and leads the second by the margin, (frames,) bool."""
        return (self.agreement[:, 0] >= self.needed(rule)) & self.is_distinct(spec)

    def is_distinct(self, spec: MatchingSpec) -> Any:
        """Whether a golden image agrees better than any other by the least margin, (frames,) bool."""
        return (self.margin >= self.least_margin(spec)) & (self.agreement[:, 0] > 0)

    def least_margin(self, spec: MatchingSpec) -> Any:
        """Return the least margin that each frame needs for a label, (frames,) float32."""
        # A share of the best agreement: agreements of 0.10 and 0.08 differ as clearly as those of 0.50 and 0.40.
        return self.agreement[:, 0] * np.float32(np.clip(spec.least_margin, 0, 99))


def match(
    frames: Any, score: Any, bank: Bank, spec: MatchingSpec, ops: ArrayOperations, excluded: Any = None
) -> Matches:
    """Lay golden images over frames and compare: the whole algorithm, on arrays or on nodes of a graph.

    Args:
        frames: Frames of the references' size, (frames, height, width, 3) uint8 BGR.
        score: Scores of the network, (frames, classes) float32.
        bank: Bank of references.
        spec: Specification of matching.
        ops: Array operations.
        excluded: Classes that a frame is not compared with, (frames, classes) bool, for calibration; None for none.
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
    parallax = fit_parallax(levels.fine, candidates, poses, bank, layout, ops)
    agreement = agree(levels.colour, candidates, poses, parallax, bank, spec, ops)
    agreement = ops.where(finalists.is_valid, agreement, np.float32(0))
    order = ops.best(agreement, agreement.shape[1])
    classes = ops.pick(classes, order)
    return Matches(
        classes,
        ops.pick(agreement, order),
        poses.pick(order, ops),
        ops.pick(candidates, order),
        parallax.pick(order, ops),
        lead_of(score if excluded is None else ops.where(excluded, np.float32(-1), score), classes[:, :1], ops),
    )


def lead_of(score: Any, classes: Any, ops: ArrayOperations) -> Any:
    """Return the lead of a class's score over the best score of all other classes, (frames,) in [-1, 1].

    Args:
        score: Scores of the network, (frames, classes) float32; one that is not a number counts as the lowest.
        classes: Class of each frame, (frames, 1).
        ops: Array operations.
    """
    score = ops.clip(ops.where(score >= -1.0, score, np.float32(-1)), -1.0, 1.0)
    first = ops.best(score, min(2, score.shape[1]))
    own = ops.pick(score, classes)
    # The best other class is the second best where the class itself is the best.
    others = ops.pick(score, ops.where(first[:, :1] == classes, first[:, -1:], first[:, :1]))
    return ops.clip(own - others, -1.0, 1.0)[:, 0]


class Matcher:
    """Matches batches by NumPy and OpenCV on all cores. Thread-safe."""

    def __init__(self, bank: Bank, spec: MatchingSpec, cores: int | None = None) -> None:
        """Use a bank of references.

        Args:
            bank: Bank of references.
            spec: Specification of matching.
            cores: Number of threads, among which a batch is divided; None for all cores. Another division may change
                the last digits of an agreement.
        """
        self.bank, self.spec = bank, spec
        self._cores = cores or usable_cores()
        self._pool = ThreadPoolExecutor(self._cores, "partsight-match")
        _keep_freed_blocks()

    def match(self, frames: Pixels, score: FloatArray, excluded: npt.NDArray[np.bool_] | None = None) -> Matches:
        """Compare frames with the golden images that could fit; see `match`."""
        bank = self.bank  # `preload` may replace it meanwhile

        def matched(part: slice) -> Matches:
            left_out = None if excluded is None else excluded[part]
            return match(frames[part], score[part], bank, self.spec, ArrayOperations(), left_out)

        if len(frames) == 1:
            return matched(slice(1))
        return joined(list(self._pool.map(matched, parts_of(len(frames), self._cores))))

    def rank(self, frames: Pixels, classes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Return how many other classes' thumbnails fit each frame better than its own class's, (frames,)."""
        ops = ArrayOperations()
        ranks: npt.NDArray[np.intp] = rank(levels_of(frames, ops).coarse, classes, self.bank, ops)
        return ranks

    def preload(self, max_bytes: int) -> None:
        """Copy a bank of at most `max_bytes` into memory; matching then no longer reads the package's folder."""
        if self.bank.records.nbytes <= max_bytes:
            self.bank = Bank.of(np.array(self.bank.records))


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parts_of(count: int, cores: int) -> Iterator[slice]:
    """Yield equal parts of a batch: at least one for each core, none larger than `_FRAMES_A_STEP`."""
    parts = min(count, max(cores, -(-count // _FRAMES_A_STEP)))
    edges = [count * part // parts for part in range(parts + 1)]
    return (slice(start, stop) for start, stop in itertools.pairwise(edges))


def joined(parts: Sequence[Matches]) -> Matches:
    """Return the matches of several batches as one."""
    arrays = zip(*(part.arrays for part in parts), strict=True)
    return Matches.of_arrays([np.concatenate(values) for values in arrays])


def _keep_freed_blocks() -> None:
    """Make glibc keep freed blocks of some megabytes: fetching new ones for each batch takes a quarter longer.

    glibc keeps them once the process has freed a block of nearly 32 MB (mallopt(3), "M_MMAP_THRESHOLD"). On other
    systems this has no effect.
    """
    np.empty(_MAX_BLOCK, np.uint8)
