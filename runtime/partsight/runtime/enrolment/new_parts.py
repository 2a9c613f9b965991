"""Newcomers: parts that shall be added to a package or replaced in it, read and checked; all faults at once."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from partsight.runtime.core import (
    USABLE,
    EnrollError,
    FloatArray,
    FrameError,
    ImageError,
    folded,
    is_usable,
    normalized,
    sha256_bytes,
)
from partsight.runtime.images import ImageFiles, check_frame, preprocess
from partsight.runtime.inference import Session
from partsight.runtime.package import ModelPackage, encode_reference

_MAX_NAMED = 20


@dataclass(frozen=True)
class Changes:
    """What shall be changed in a package.

    Attributes:
        additions: image files of each new part; the gallery shows the first, frames are compared with all.
        replacements: the same, of parts that the package has.
        removals: labels.
    """

    additions: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    replacements: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    removals: Sequence[str] = ()

    def spelled_as(self, labels: Sequence[str]) -> "Changes":
        """Return the same changes, with accents encoded as in the package's labels: a Mac types them in another way."""
        own = {normalized(label): label for label in labels}
        spelled = {own.get(normalized(label), label): images for label, images in self.replacements.items()}
        if len(spelled) < len(self.replacements):  # one part twice, which is refused
            return self
        return Changes(self.additions, spelled, [own.get(normalized(label), label) for label in self.removals])


@dataclass(frozen=True)
class Newcomer:
    """A part that is added or replaced.

    Attributes:
        label: its name.
        images: golden images, each (height, width, 3) uint8 BGR, or (height, width) in a mono package; read when
            asked for: many may not fit into memory.
        sha256: of their files.
        references: each image as a gallery holds it, for frames to be compared with; empty where the package compares
            none.
        pictures: SHA-256 of each image in that form, by which copies are found; of the files where it compares none.
    """

    label: str
    images: ImageFiles
    sha256: tuple[str, ...]
    references: tuple[bytes, ...]
    pictures: tuple[str, ...]


def refuse_dense(package: ModelPackage) -> None:
    """Refuse a package to which no part can be added.

    Raises:
        EnrollError: it has a dense head.
    """
    if package.manifest.decision.score != "cosine":
        raise EnrollError(
            f"{package.path}: has a {package.manifest.provenance.head} head, whose scores are probabilities over all "
            "parts together; a part can be added or removed only by training again: `partsight train CATALOG`, best "
            "with --head cosine, whose packages can be enrolled into"
        )


def read_newcomers(package: ModelPackage, changes: Changes) -> list[Newcomer]:
    """Check what shall be changed and read the images, replacements first.

    Raises:
        EnrollError: something of it cannot be; names all faults.
    """
    faults = _check_labels(package.manifest.labels, changes)
    newcomers = []
    for label, paths in (*changes.replacements.items(), *changes.additions.items()):
        try:
            newcomers.append(_read(package, label, paths))
        except (EnrollError, ImageError, FrameError) as error:
            faults.append(f"{label}: {error}")
    faults += _check_same_images(package, changes, newcomers)
    if faults:
        raise EnrollError(_describe(package, faults))
    return newcomers


def learn(package: ModelPackage, newcomers: Sequence[Newcomer], session: Session) -> dict[str, FloatArray]:
    """Return the prototype of each newcomer: the mean of its images' embeddings, scaled to length 1.

    Args:
        package: the old one.
        newcomers: to learn.
        session: of its network.

    Raises:
        EnrollError: the network sees nothing in images; names all faults.
    """
    prototypes, faults = {}, []
    for newcomer in newcomers:
        batch = preprocess(newcomer.images, package.manifest.preprocess)
        mean = session.run(batch).embedding.astype(np.float64).mean(axis=0)
        length = float(np.linalg.norm(mean))
        if not length > 1e-3:
            faults.append(f"{newcomer.label}: the network sees nothing in its images; is the part in the picture?")
        prototypes[newcomer.label] = (mean / max(length, 1e-12)).astype(np.float32)
    if faults:
        raise EnrollError("\n  ".join([f"{package.path}: nothing was written", *faults]))
    return prototypes


def _check_labels(labels: Sequence[str], changes: Changes) -> list[str]:
    has, wanted = set(labels), [*changes.additions, *changes.replacements, *changes.removals]
    faults = [f"{label}: is named more than once; name each part once" for label in _repeated(wanted)]
    faults += [
        f"{label}: the package has this part already; replace it (--replace), or give the new part another name"
        for label in changes.additions
        if label in has
    ]
    faults += [
        f"{label}: the package has no such part to {verb}; `partsight inspect PACKAGE --labels` shows those it has"
        for verb, named in (("replace", changes.replacements), ("remove", changes.removals))
        for label in named
        if label not in has
    ]
    faults += [
        f"{label!r}: is no name for a part; expected {USABLE}" for label in changes.additions if not is_usable(label)
    ]
    if not wanted:
        faults.append("nothing shall be changed; name parts to add, replace or remove")
    stay = [label for label in labels if label not in changes.removals]
    faults += _clashing(stay, changes.additions)
    if not stay and not changes.additions:
        faults.append("no part would be left; leave at least one, or add one in its place")
    return faults


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _clashing(stay: Collection[str], additions: Collection[str]) -> list[str]:
    by_folded: dict[str, list[str]] = defaultdict(list)
    for label in (*stay, *additions):
        if label not in by_folded[folded(label)]:
            by_folded[folded(label)].append(label)
    return [
        f"{' and '.join(group)}: names that differ only in case, or in how accents are encoded, which is one name on "
        "Windows or macOS; rename the new one"
        for group in by_folded.values()
        if len(group) > 1
    ]


def _read(package: ModelPackage, label: str, paths: Sequence[Path]) -> Newcomer:
    if not paths:
        raise EnrollError("no image is named; expected at least one golden image")
    spec, matching = package.manifest.preprocess, package.manifest.matching
    images, references = ImageFiles(paths), []
    for path, image in zip(paths, images, strict=True):
        try:
            check_frame(image, spec)
        except FrameError as error:
            raise FrameError(f"{path}: {error}") from error
        if matching:
            references.append(encode_reference(preprocess([image], matching.spec.preprocess(spec))[0]))
    try:
        hashes = tuple(sha256_bytes(path.read_bytes()) for path in paths)
    except OSError as error:
        raise ImageError(f"{error}; is it being written?") from error
    pictures = tuple(map(sha256_bytes, references)) or hashes
    return Newcomer(label, images, hashes, tuple(references), pictures)


def _check_same_images(package: ModelPackage, changes: Changes, newcomers: Sequence[Newcomer]) -> list[str]:
    """Find images that another part has too, or the same part twice: no frame could tell such parts apart."""
    manifest = package.manifest
    gone = {*changes.removals, *(newcomer.label for newcomer in newcomers)}
    owners: dict[str, list[str]] = defaultdict(list)
    if manifest.matching:
        for label, name in zip(manifest.labels, manifest.matching.references, strict=True):
            if label not in gone:
                owners[manifest.files[name]].append(label)
    files: dict[str, Path] = {}
    for newcomer in newcomers:
        for path, picture in zip(newcomer.images.paths, newcomer.pictures, strict=True):
            owners[picture].append(newcomer.label)
            files[picture] = path
    return [_same_image(owners[picture], path) for picture, path in files.items() if len(owners[picture]) > 1]


def _same_image(labels: Sequence[str], path: Path) -> str:
    named = " and ".join(dict.fromkeys(labels))
    mend = "take the right picture of one, or keep one of the parts" if len(set(labels)) > 1 else "name each once"
    return f"{named}: the same image ({path}); {mend}"


def _describe(package: ModelPackage, faults: Sequence[str]) -> str:
    lines = [f"{package.path}: {len(faults)} thing{'s' if len(faults) > 1 else ''} to mend, and nothing was written"]
    lines += faults[:_MAX_NAMED]
    if len(faults) > _MAX_NAMED:
        lines.append(f"and {len(faults) - _MAX_NAMED} more")
    return "\n  ".join(lines)
