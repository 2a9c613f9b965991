"""Line answers: what a package answers to the frames of a line, with all parts and without each frame's own part.

One pass reads each file once. The frames stay in memory, prepared for matching (110 kB each), because a change of the
references or tolerances asks again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partsight.runtime.calibration.commissioning.batches import FramesToMatch, MatchBatch, ReadBatch, ReadFrames
from partsight.runtime.calibration.commissioning.frames import LineFrame, LineFrames
from partsight.runtime.core import BatchMap, CommissionError, FloatArray, Pixels, map_here, progress
from partsight.runtime.matching import Bank, Matcher, Matches, MatchingSpec, Rule, joined
from partsight.runtime.recognition import Recognizer

UNKNOWN = -1
"""Class of a frame whose part the package does not have, or whose part nobody named."""

_BATCH = 32


@dataclass(frozen=True)
class SeenFrames:
    """Frames that were read, with the network's scores.

    Attributes:
        frames: Frames in order.
        sha256: SHA-256 of each file.
        pixels: Frames prepared for matching, (frames, height, width, 3) uint8 BGR.
        score: Scores of the network, (frames, classes) float32.
        classes: Index of each frame's part, (frames,); `UNKNOWN` if the package does not have it.
        faults: Cause of each file that was left out, by its path.
    """

    frames: tuple[LineFrame, ...]
    sha256: tuple[str, ...]
    pixels: Pixels
    score: FloatArray
    classes: npt.NDArray[np.intp]
    faults: dict[Any, str]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def is_taught(self) -> npt.NDArray[np.bool_]:
        """Whether the package has the part of each frame, (frames,)."""
        return np.asarray(self.classes != UNKNOWN)

    @property
    def groups(self) -> npt.NDArray[np.intp]:
        """Number of the group of each frame, (frames,): frames of one group show one part."""
        return np.unique([frame.group for frame in self.frames], return_inverse=True)[1].reshape(-1)

    @property
    def weights(self) -> npt.NDArray[np.intp]:
        """Number of frames of the line that each frame stands for, (frames,)."""
        return np.array([frame.stands_for for frame in self.frames], np.intp)

    @property
    def is_open(self) -> npt.NDArray[np.bool_]:
        """Whether nobody named the part of each frame, (frames,)."""
        return np.array([frame.is_open for frame in self.frames], bool)

    def of_frames(self, chosen: npt.NDArray[Any]) -> "SeenFrames":
        """Return some of the frames: indices, or a mask."""
        index = np.arange(len(self))[chosen]
        return SeenFrames(
            tuple(self.frames[row] for row in index),
            tuple(self.sha256[row] for row in index),
            self.pixels[index],
            self.score[index],
            self.classes[index],
            self.faults,
        )


@dataclass(frozen=True)
class LineAnswers:
    """Answers to frames of the line.

    Attributes:
        classes: Index of each frame's own part, (frames,); `UNKNOWN` for a part that the package does not have.
        groups: Number of the group of each frame, (frames,).
        weights: Number of frames of the line that each frame stands for, (frames,).
        taught: Matches with all parts to choose from.
        left_out: Matches without the frame's own part; of an unknown frame the same as `taught`.
        spec: Specification of the matching.
    """

    classes: npt.NDArray[np.intp]
    groups: npt.NDArray[np.intp]
    weights: npt.NDArray[np.intp]
    taught: Matches
    left_out: Matches
    spec: MatchingSpec

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def is_taught(self) -> npt.NDArray[np.bool_]:
        """Whether the package has the part of each frame, (frames,)."""
        return np.asarray(self.classes != UNKNOWN)

    @property
    def is_right_first(self) -> npt.NDArray[np.bool_]:
        """Whether the best golden image is of the frame's own part, (frames,)."""
        return np.asarray((self.taught.classes[:, 0] == self.classes) & (self.taught.agreement[:, 0] > 0))

    def accepted(self, rule: Rule) -> npt.NDArray[np.bool_]:
        """Return which frames get a label, (frames,)."""
        return np.asarray(self.taught.is_accepted(rule, self.spec))

    def accepted_left_out(self, rule: Rule) -> npt.NDArray[np.bool_]:
        """Return which frames get a label if their own part is not taught, (frames,)."""
        return np.asarray(self.left_out.is_accepted(rule, self.spec))

    def own_agreement(self) -> FloatArray:
        """Return the agreement with the frame's own part, (frames,); 0 if that part was no finalist."""
        is_own = self.taught.classes == self.classes[:, None]
        return np.asarray(np.where(is_own, self.taught.agreement, np.float32(0)).max(axis=1), np.float32)

    def weighted(self) -> "LineAnswers":
        """Return each frame as often as it counts."""
        return self.of_frames(np.repeat(np.arange(len(self)), self.weights))

    def of_frames(self, chosen: npt.NDArray[Any]) -> "LineAnswers":
        """Return the answers to some frames: indices, or a mask."""
        return LineAnswers(
            self.classes[chosen],
            self.groups[chosen],
            self.weights[chosen],
            self.taught.of_frames(chosen),
            self.left_out.of_frames(chosen),
            self.spec,
        )


def see(
    recognizer: Recognizer,
    frames: LineFrames,
    spec: MatchingSpec,
    run: BatchMap = map_here,
    package: Path | None = None,
) -> SeenFrames:
    """Read the frames and run the network on them; a file that cannot be used, or is a copy of another, is left out.

    Args:
        recognizer: Recogniser of the package.
        frames: Frames to read.
        spec: Specification of matching.
        run: Map over the batches.
        package: Folder of the package; other processes than this one open it there.

    Raises:
        CommissionError: no frame can be used; the message names the first faults.
    """
    batches = [frames.frames[start : start + _BATCH] for start in range(0, len(frames.frames), _BATCH)]
    paths = [tuple(frame.path.absolute() for frame in batch) for batch in batches]
    reader = ReadBatch(spec, package, recognizer.package_id, recognizer)
    kept = _Kept(dict(frames.faults))
    done = progress(run(reader, paths), len(batches), "reading the frames", f"×{_BATCH}")
    for batch, found in zip(batches, done, strict=True):
        kept.add(batch, found)
    if not kept.frames:
        first = "; ".join(f"{path.name}: {cause}" for path, cause in list(kept.faults.items())[:3])
        raise CommissionError(f"no frame can be used ({first}); expected frames as the line's camera delivers them")
    index_of = {label: index for index, label in enumerate(recognizer.labels)}
    classes = [UNKNOWN if frame.label is None else index_of[frame.label] for frame in kept.frames]
    return SeenFrames(
        tuple(kept.frames),
        tuple(kept.sums),
        np.concatenate(kept.pixels),
        np.concatenate(kept.score),
        np.array(classes, np.intp),
        kept.faults,
    )


class _Kept:
    """Collects the frames that can be used, without copies."""

    def __init__(self, faults: dict[Any, str]) -> None:
        self.frames: list[LineFrame] = []
        self.sums: list[str] = []
        self.pixels: list[Pixels] = []
        self.score: list[FloatArray] = []
        self.faults = faults
        self._first_of: dict[str, LineFrame] = {}

    def add(self, batch: Sequence[LineFrame], found: ReadFrames) -> None:
        """Add the frames of a batch."""
        rows, row = [], 0
        for frame, digest, fault in zip(batch, found.sha256, found.faults, strict=True):
            if fault:
                self.faults[frame.path] = fault
                continue
            if digest in self._first_of:
                self.faults[frame.path] = f"the same file as {self._first_of[digest].path}"
            else:
                self._first_of[digest] = frame
                self.frames.append(frame)
                self.sums.append(digest)
                rows.append(row)
            row += 1
        self.pixels.append(found.pixels[rows])
        self.score.append(found.score[rows])


def answer(
    seen: SeenFrames,
    bank: Bank,
    spec: MatchingSpec,
    work: str = "comparing the frames",
    run: BatchMap = map_here,
    package: Path | None = None,
) -> LineAnswers:
    """Compare each frame twice: with all parts, and without its own.

    Args:
        seen: Frames.
        bank: References.
        spec: Specification of the matching.
        work: Name of the work for the display of progress.
        run: Map over the batches.
        package: Folder of the package if the references are its own: other processes then read them there. None to
            send them the references.
    """
    matching = MatchBatch(spec, bank, package)
    starts = range(0, len(seen), _BATCH)
    parts = [slice(start, start + _BATCH) for start in starts]
    batches = [FramesToMatch(seen.pixels[part], seen.score[part], seen.classes[part]) for part in parts]
    found = list(progress(run(matching, batches), len(batches), work, f"×{_BATCH}"))
    taught, left_out = (joined(matches) for matches in zip(*found, strict=True))
    return LineAnswers(seen.classes, seen.groups, seen.weights, taught, left_out, spec)


def match_all(frames: Pixels, score: FloatArray, bank: Bank, spec: MatchingSpec, work: str) -> Matches:
    """Compare frames with references, and show the progress.

    Args:
        frames: Frames prepared for matching, (frames, height, width, 3) uint8 BGR.
        score: Scores of the network, (frames, classes) float32.
        bank: References.
        spec: Specification of matching.
        work: Name of the work.
    """
    matcher, parts = Matcher(bank, spec), []
    starts = range(0, len(frames), _BATCH)
    for start in progress(starts, len(starts), work, f"×{_BATCH}"):
        part = slice(start, start + _BATCH)
        parts.append(matcher.match(frames[part], score[part]))
    return joined(parts)
