"""Batches of a commissioning: the work on some frames, which pickles, so that other processes can do it, too.

A process that is not the command's opens the package itself, once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partsight.runtime.core import FloatArray, FrameError, ImageError, PackageError, Pixels, sha256_bytes
from partsight.runtime.images import check_frame, preprocess, read_image
from partsight.runtime.inference import EngineSettings
from partsight.runtime.matching import Bank, Matcher, Matches, MatchingSpec, usable_cores
from partsight.runtime.package import ModelPackage
from partsight.runtime.recognition import Recognizer, load_bank


@dataclass(frozen=True)
class ReadFrames:
    """Frames of a batch that were read; `pixels` and `score` are those of the usable ones, in order.

    Attributes:
        sha256: SHA-256 of each file; empty where it cannot be used.
        faults: Cause for each file that cannot be used; empty for the others.
        pixels: Frames prepared for matching, (usable, height, width, 3) uint8 BGR.
        score: Scores of the network, (usable, classes) float32.
    """

    sha256: tuple[str, ...]
    faults: tuple[str, ...]
    pixels: Pixels
    score: FloatArray


@dataclass
class ReadBatch:
    """Reads the image files of a batch, and runs the network on them.

    Attributes:
        spec: Specification of matching.
        package: Folder of the package, for other processes.
        package_id: Its id.
        recognizer: Recogniser of this process; another process opens its own.
    """

    spec: MatchingSpec
    package: Path | None
    package_id: str
    recognizer: Recognizer | None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "recognizer": None}

    def __call__(self, paths: Sequence[Path]) -> ReadFrames:
        """Read the files.

        Raises:
            PackageError: The package of this machine is missing or another one.
        """
        recognizer = self.recognizer = self.recognizer or self._open()
        preprocessing = recognizer.manifest.preprocess
        sums, faults, images = list[str](), list[str](), list[Pixels]()
        for path in paths:
            try:
                digest, image = sha256_bytes(path.read_bytes()), read_image(path)
                images.append(check_frame(image, preprocessing))
            except (OSError, ImageError, FrameError) as error:
                digest = ""
                faults.append(str(error).removeprefix(f"{path}: ") or "cannot be read")
            else:
                faults.append("")
            sums.append(digest)
        matching = self.spec.preprocess(preprocessing)
        empty = np.zeros((0, matching.height, matching.width, 3), np.uint8)
        pixels = [empty, *(preprocess([image], matching) for image in images)]
        return ReadFrames(tuple(sums), tuple(faults), np.concatenate(pixels), self._score(recognizer, images))

    def _score(self, recognizer: Recognizer, images: Sequence[Pixels]) -> FloatArray:
        if not images:
            return np.zeros((0, len(recognizer.labels)), np.float32)
        return recognizer.infer(images).score

    def _open(self) -> Recognizer:
        assert self.package is not None  # who maps to other processes names the folder
        recognizer = Recognizer(self.package, batch_size=32, engine=EngineSettings(threads=usable_cores()))
        _check_same(self.package, recognizer.package_id, self.package_id)
        return recognizer


@dataclass(frozen=True)
class FramesToMatch:
    """Frames of a batch to compare.

    Attributes:
        pixels: Frames prepared for matching, (frames, height, width, 3) uint8 BGR.
        score: Scores of the network, (frames, classes) float32.
        classes: Class of each frame's own part, (frames,); −1 for none.
    """

    pixels: Pixels
    score: FloatArray
    classes: npt.NDArray[np.intp]


@dataclass
class MatchBatch:
    """Compares the frames of a batch twice: with all parts, and without each frame's own.

    Attributes:
        spec: Specification of matching.
        bank: References; None in another process that reads those of `package`.
        package: Folder of the package if the references are its own; None to send them to other processes.
        cores: Cores among which a batch is divided, those of the process of the command: with other ones the last
            digits of agreements differ.
    """

    spec: MatchingSpec
    bank: Bank | None
    package: Path | None
    cores: int = field(default_factory=usable_cores)
    _matcher: Matcher | None = field(default=None, init=False)

    def __getstate__(self) -> dict[str, Any]:
        sent = None if self.package else self.bank
        return {**self.__dict__, "bank": sent, "_matcher": None}

    def __call__(self, frames: FramesToMatch) -> tuple[Matches, Matches]:
        """Return the matches with all parts, and those without each frame's own.

        Raises:
            PackageError: The package of this machine is missing.
        """
        matcher = self._matcher = self._matcher or Matcher(self._references(), self.spec, self.cores)
        is_own = np.arange(frames.score.shape[1]) == frames.classes[:, None]
        taught = matcher.match(frames.pixels, frames.score)
        return taught, matcher.match(frames.pixels, frames.score, is_own)

    def _references(self) -> Bank:
        if self.bank is not None:
            return self.bank
        assert self.package is not None
        return Bank.of(load_bank(ModelPackage.read(self.package)).records)


def _check_same(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise PackageError(
            f"{path}: holds the package {found} on this machine; expected {expected}, as on the machine of the "
            "command: let all machines use one share"
        )
