"""New parts: the golden images of parts to add or replace, checked, prepared for matching and learned."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from partsight.runtime.core import (
    EnrollError,
    FloatArray,
    FrameError,
    ImageError,
    Pixels,
    sha256_bytes,
)
from partsight.runtime.enrolment.changes import Changes
from partsight.runtime.images import ImageFiles, PreprocessSpec, check_frame, preprocess
from partsight.runtime.inference import Session
from partsight.runtime.package import Gallery, ModelPackage, prepare_gallery

_MAX_NAMED = 20
_MIN_LENGTH = 1e-3  # of the mean of embeddings, each of length 1


@dataclass(frozen=True)
class NewPartImages:
    """References of a part to add or replace: its golden image, and further ones.

    Attributes:
        label: Label of the part.
        images: Golden image and further ones, each (height, width, 3) uint8 BGR, or (height, width) in a mono package.
            Each access reads the file: many images may not fit into memory.
        sha256: SHA-256 of each image file.
        references: JPEG file of each image, as the gallery holds it; empty if the package has no matching.
        records: Record of each image in the bank, (images,); None if the package has no matching. The plan sets the
            class.
    """

    label: str
    images: ImageFiles
    sha256: tuple[str, ...]
    references: tuple[bytes, ...] = ()
    records: np.ndarray | None = None

    @property
    def picture_ids(self) -> tuple[str, ...]:
        """SHA-256 of each image as the gallery holds it, by which copies are found; of the files without matching."""
        return tuple(map(sha256_bytes, self.references)) or self.sha256


def refuse_dense(package: ModelPackage) -> None:
    """Refuse a package to which no part can be added.

    Raises:
        EnrollError: it has a dense head.
    """
    if package.manifest.decision.score != "cosine":
        raise EnrollError(
            f"{package.path}: has a {package.manifest.provenance.head} head, whose scores are probabilities over all "
            "parts together, so no part can be added or removed; train again with `partsight train CATALOG`, with "
            "--head cosine if parts shall be enrolled later"
        )


def read_new_parts(package: ModelPackage, changes: Changes) -> list[NewPartImages]:
    """Check the changes, read the images and prepare them for matching; replacements first.

    Raises:
        EnrollError: a change is not possible; the message names all faults.
    """
    faults = changes.faults(package.manifest.labels)
    reader = _Reader(package.manifest.preprocess)
    images = reader.images((*changes.replacements.items(), *changes.additions.items()))
    gallery = _prepare(package, images)
    parts = [read.prepared(gallery) for read in reader.read]
    faults += [*reader.faults, *_check_same_images(package, changes, parts)]
    if faults:
        raise EnrollError(_describe(package, faults))
    return parts


def _prepare(package: ModelPackage, images: Iterator[Pixels]) -> Gallery | None:
    """Read all images; return them prepared, or None if there are none or the package has no matching."""
    matching = package.manifest.matching
    if matching is None:
        deque(images, maxlen=0)
        return None
    first = next(images, None)
    if first is None:
        return None
    return prepare_gallery(chain([first], images), package.manifest.preprocess, matching.spec)


@dataclass(frozen=True)
class _Read:
    """Images of one part that were read; `rows` are their places in the gallery."""

    label: str
    images: ImageFiles
    sha256: tuple[str, ...]
    rows: slice

    def prepared(self, gallery: Gallery | None) -> NewPartImages:
        if gallery is None:
            return NewPartImages(self.label, self.images, self.sha256)
        files, records = gallery.files[self.rows], gallery.records[self.rows]
        return NewPartImages(self.label, self.images, self.sha256, files, records)


class _Reader:
    """Reads the golden images of new parts, one after the other, and collects faults.

    Attributes:
        read: Parts without a fault.
        faults: One sentence for each part with a fault.
    """

    def __init__(self, spec: PreprocessSpec) -> None:
        self.read: list[_Read] = []
        self.faults: list[str] = []
        self._spec, self._count = spec, 0

    def images(self, wanted: Iterable[tuple[str, Sequence[Path]]]) -> Iterator[Pixels]:
        """Yield the images of all parts, checked; after a fault, the next part follows."""
        for label, paths in wanted:
            start = self._count
            try:
                yield from self._checked(paths)
                rows = slice(start, self._count)
                self.read.append(_Read(label, ImageFiles(paths), _hashes(paths), rows))
            except (EnrollError, ImageError, FrameError) as error:
                self.faults.append(f"{label}: {error}")

    def _checked(self, paths: Sequence[Path]) -> Iterator[Pixels]:
        if not paths:
            raise EnrollError("no image is named; name at least one golden image")
        for path, image in zip(paths, ImageFiles(paths), strict=True):
            try:
                check_frame(image, self._spec)
            except FrameError as error:
                raise FrameError(f"{path}: {error}") from error
            self._count += 1
            yield image


def learn(package: ModelPackage, parts: Sequence[NewPartImages], session: Session) -> dict[str, FloatArray]:
    """Return the prototype of each part, (d,) float32: the mean of its images' embeddings, scaled to length 1.

    Args:
        package: Package before the changes.
        parts: Parts to learn.
        session: Session of the package's network.

    Raises:
        EnrollError: the network finds no structure in images; the message names all of them.
    """
    prototypes, faults = {}, []
    for part in parts:
        batch = preprocess(part.images, package.manifest.preprocess)
        mean = session.run(batch).embedding.astype(np.float64).mean(axis=0)
        length = float(np.linalg.norm(mean))
        if not length > _MIN_LENGTH:
            faults.append(f"{part.label}: the network sees nothing in its images; check that they show the part")
        prototypes[part.label] = (mean / max(length, 1e-12)).astype(np.float32)
    if faults:
        raise EnrollError("\n  ".join([f"{package.path}: nothing was written", *faults]))
    return prototypes


def _hashes(paths: Sequence[Path]) -> tuple[str, ...]:
    try:
        return tuple(sha256_bytes(path.read_bytes()) for path in paths)
    except OSError as error:
        raise ImageError(f"{error}; check that no program is still writing the file") from error


def _check_same_images(package: ModelPackage, changes: Changes, parts: Sequence[NewPartImages]) -> list[str]:
    """Return a fault for each image that two parts share, or one part has twice: no frame tells such parts apart."""
    manifest = package.manifest
    gone = {*changes.removals, *(part.label for part in parts)}
    owners: dict[str, list[str]] = defaultdict(list)
    if manifest.matching:
        for index, label in enumerate(manifest.labels):
            for name in () if label in gone else manifest.reference_files(index):
                owners[manifest.files[name]].append(label)
    files: dict[str, Path] = {}
    for part in parts:
        for path, picture_id in zip(part.images.paths, part.picture_ids, strict=True):
            owners[picture_id].append(part.label)
            files[picture_id] = path
    return [_same_image(owners[picture_id], path) for picture_id, path in files.items() if len(owners[picture_id]) > 1]


def _same_image(labels: Sequence[str], path: Path) -> str:
    named = " and ".join(dict.fromkeys(labels))
    remedy = "take the right picture of one, or keep one of the parts" if len(set(labels)) > 1 else "name each once"
    return f"{named}: the same image ({path}); {remedy}"


def _describe(package: ModelPackage, faults: Sequence[str]) -> str:
    lines = [f"{package.path}: {len(faults)} fault{'s' if len(faults) > 1 else ''} to correct; nothing was written"]
    lines += faults[:_MAX_NAMED]
    if len(faults) > _MAX_NAMED:
        lines.append(f"and {len(faults) - _MAX_NAMED} more")
    return "\n  ".join(lines)
