"""Line answers: what a package answers to the frames of a line, with all parts and without each frame's own part.

One pass reads each file once. The frames stay in memory, prepared for matching (110 kB each), because a change of the
references or tolerances asks again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from partsight.runtime.calibration.commissioning.frames import LineFrame, LineFrames
from partsight.runtime.core import CommissionError, FloatArray, FrameError, ImageError, Pixels, progress, sha256_bytes
from partsight.runtime.images import PreprocessSpec, check_frame, preprocess, read_image
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


def see(recognizer: Recognizer, frames: LineFrames, spec: MatchingSpec) -> SeenFrames:
    """Read the frames and run the network on them; a file that cannot be used, or is a copy of another, is left out.

    Args:
        recognizer: Recogniser of the package.
        frames: Frames to read.
        spec: Specification of matching.

    Raises:
        CommissionError: no frame can be used; the message names the first faults.
    """
    reader = _Reader(recognizer.manifest.preprocess, spec, dict(frames.faults))
    starts = range(0, len(frames.frames), _BATCH)
    score = [np.zeros((0, len(recognizer.labels)), np.float32)]
    for start in progress(starts, len(starts), "reading the frames", f"×{_BATCH}"):
        images = reader.read(frames.frames[start : start + _BATCH])
        score.append(recognizer.infer(images).score)
    if not reader.kept:
        first = "; ".join(f"{path.name}: {cause}" for path, cause in list(reader.faults.items())[:3])
        raise CommissionError(f"no frame can be used ({first}); expected frames as the line's camera delivers them")
    index_of = {label: index for index, label in enumerate(recognizer.labels)}
    classes = [UNKNOWN if frame.label is None else index_of[frame.label] for frame in reader.kept]
    return SeenFrames(
        tuple(reader.kept),
        tuple(reader.sums),
        np.stack(reader.prepared),
        np.concatenate(score),
        np.array(classes, np.intp),
        reader.faults,
    )


class _Reader:
    """Reads frames in batches and keeps them prepared for matching."""

    def __init__(self, network: PreprocessSpec, matching: MatchingSpec, faults: dict[Any, str]) -> None:
        self.kept: list[LineFrame] = []
        self.sums: list[str] = []
        self.prepared: list[Pixels] = []
        self.faults = faults
        self._network, self._matching = network, matching.preprocess(network)
        self._first_of: dict[str, LineFrame] = {}

    def read(self, batch: Sequence[LineFrame]) -> list[Pixels]:
        """Return the pixels of the frames that can be used."""
        images = []
        for frame in batch:
            try:
                digest, image = sha256_bytes(frame.path.read_bytes()), read_image(frame.path)
                check_frame(image, self._network)
            except (OSError, ImageError, FrameError) as error:
                self.faults[frame.path] = str(error).removeprefix(f"{frame.path}: ")
                continue
            if digest in self._first_of:
                self.faults[frame.path] = f"the same file as {self._first_of[digest].path}"
                continue
            self._first_of[digest] = frame
            self.kept.append(frame)
            self.sums.append(digest)
            self.prepared.append(preprocess([image], self._matching)[0])
            images.append(image)
        return images


def answer(seen: SeenFrames, bank: Bank, spec: MatchingSpec, work: str = "comparing the frames") -> LineAnswers:
    """Compare each frame twice: with all parts, and without its own.

    Args:
        seen: Frames.
        bank: References.
        spec: Specification of the matching.
        work: Name of the work for the display of progress.
    """
    taught = match_all(seen.pixels, seen.score, bank, spec, work)
    left_out = match_all(seen.pixels, seen.score, bank, spec, f"{work} again", seen.classes)
    return LineAnswers(seen.classes, seen.groups, seen.weights, taught, left_out, spec)


def match_all(
    frames: Pixels,
    score: FloatArray,
    bank: Bank,
    spec: MatchingSpec,
    work: str,
    left_out: npt.NDArray[np.intp] | None = None,
) -> Matches:
    """Compare frames with references, and show the progress.

    Args:
        frames: Frames prepared for matching, (frames, height, width, 3) uint8 BGR.
        score: Scores of the network, (frames, classes) float32.
        bank: References.
        spec: Specification of matching.
        work: Name of the work.
        left_out: Class that each frame is not compared with, (frames,); `UNKNOWN` for none. None for none at all.
    """
    matcher, index, parts = Matcher(bank, spec), np.arange(score.shape[1]), []
    starts = range(0, len(frames), _BATCH)
    for start in progress(starts, len(starts), work, f"×{_BATCH}"):
        part = slice(start, start + _BATCH)
        excluded = None if left_out is None else index == left_out[part, None]
        parts.append(matcher.match(frames[part], score[part], excluded))
    return joined(parts)
