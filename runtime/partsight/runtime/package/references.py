"""References: what frames are compared with. Each part has its golden image, and may have further references.

The gallery holds a file of each reference, and the bank a record: of each class the golden image first, then its
further references in the order of the manifest.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from partsight.runtime.core import PackageError, Pixels
from partsight.runtime.images import check_frame
from partsight.runtime.package.gallery import prepare_gallery
from partsight.runtime.package.manifest import Manifest, Matching

_NUMBERED = re.compile(r"gallery/(\d+)\.jpg")


@dataclass(frozen=True)
class References:
    """The references of a package with further ones added; nothing is written yet.

    Attributes:
        matching: Settings of the comparison; `further` names the new files too.
        files: Bytes of each new file of the gallery, by its name in the package.
        records: Records of the whole new bank, (references,) of `record_type`.
    """

    matching: Matching
    files: dict[str, bytes]
    records: np.ndarray


def add_references(manifest: Manifest, records: np.ndarray, images: Mapping[str, Sequence[Pixels]]) -> References:
    """Add further references to parts of a package; all other references stay the same to the bit.

    The number of references of a part may change the matching graph: write `trace.matching_graph` of the new bank.

    Args:
        manifest: Manifest of the package, with matching.
        records: Records of its bank, as `recognition.load_bank` gives them.
        images: Frames of each part as its camera delivers them, by label; each (height, width, 3) uint8 BGR, or
            (height, width) for a mono package. They follow the references that the part has.

    Raises:
        ValueError: the package has no matching, or no part of that label.
        FrameError: an image is not a frame of this package.
    """
    matching = manifest.matching
    unknown = [label for label in images if label not in manifest.labels]
    if matching is None or unknown:
        raise ValueError(
            f"received references of {unknown or list(images)}; expected labels of a package with matching"
        )
    labels = [label for label in images for _ in images[label]]
    frames = [image for label in images for image in images[label]]
    if not frames:
        return References(matching, {}, records)
    for frame in frames:
        check_frame(frame, manifest.preprocess)
    index_of = {label: index for index, label in enumerate(manifest.labels)}
    gallery = prepare_gallery(frames, manifest.preprocess, matching.spec, [index_of[label] for label in labels])
    names = unused_names(manifest.files, len(frames))
    further = dict(matching.further)
    for label, name in zip(labels, names, strict=True):
        further[label] = (*further.get(label, ()), name)
    return References(
        msgspec.structs.replace(matching, further=further),
        dict(zip(names, gallery.files, strict=True)),
        merge_records(records, gallery.records),
    )


def merge_records(*parts: np.ndarray) -> np.ndarray:
    """Return records of several banks, (references,), by class; those of one class keep the order of the arguments."""
    joined: np.ndarray = np.concatenate(parts)
    return joined[np.argsort(joined["class"], kind="stable")]


def unused_names(files: Iterable[str], count: int) -> list[str]:
    """Return names for new files of the gallery: their numbers follow the largest one.

    Args:
        files: Files of the package.
        count: Number of names.
    """
    first = max((int(match[1]) for match in map(_NUMBERED.fullmatch, files) if match), default=-1) + 1
    return [f"gallery/{number:05d}.jpg" for number in range(first, first + count)]


def check_counts(records: np.ndarray, manifest: Manifest, source: str) -> None:
    """Refuse a bank that holds another number of references of a part than the manifest names.

    Args:
        records: Records of the bank, as `decode_bank` checked them.
        manifest: Manifest of the package.
        source: Name of the bank, for messages.

    Raises:
        PackageError: the numbers differ.
    """
    further = manifest.matching.further if manifest.matching else {}
    expected = np.array([1 + len(further.get(label, ())) for label in manifest.labels])
    found = np.bincount(records["class"], minlength=len(expected))
    if (found != expected).any():
        index = int(np.flatnonzero(found != expected)[0])
        raise PackageError(
            f"{source}: holds {found[index]} references of {manifest.labels[index]}, the manifest names "
            f"{expected[index]}; copy the package again, or export it again"
        )


def lost_references(manifest: Manifest) -> dict[str, int]:
    """Return how many further references a package of schema version 2 had in its bank, by label; none are left.

    Its gallery holds golden images alone, and its enrolments tell how many images each part was learned from.
    """
    images: dict[str, int] = {}
    if manifest.schema_version == 2 and manifest.matching is not None:
        for enrolment in manifest.provenance.enrolments:
            images |= {label: len(files) for label, files in enrolment.images.items()}
            images |= dict.fromkeys(enrolment.removed, 1)
    return {label: count - 1 for label, count in images.items() if count > 1}
