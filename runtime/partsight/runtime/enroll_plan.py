"""The plan of an enrolment: which part stands where in the new package, and which file it takes from where."""

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from partsight.runtime.images import Pixels
from partsight.runtime.manifest import Enrolment, Manifest, Verification
from partsight.runtime.newcomers import Changes, Newcomer
from partsight.runtime.package import ModelPackage

Source = int | Newcomer
"""Where a part comes from: its place among the old package's labels, or a newcomer."""

_NUMBERED = re.compile(r"gallery/(\d+)\.jpg")


@dataclass(frozen=True)
class Plan:
    """What the new package holds.

    Attributes:
        manifest: of it, with the old expected rates, and the old hashes of files.
        sources: of each label, in order.
    """

    manifest: Manifest
    sources: tuple[Source, ...]

    def newcomers(self) -> list[tuple[int, Newcomer]]:
        """Return the parts that are added or replaced, each with its place among the new labels."""
        return [(place, source) for place, source in enumerate(self.sources) if isinstance(source, Newcomer)]

    def kept(self) -> list[tuple[int, int]]:
        """Return the new and the old place of each part that stays."""
        return [(place, source) for place, source in enumerate(self.sources) if not isinstance(source, Newcomer)]

    def drawn(self) -> tuple[list[Sequence[Pixels]], list[int]]:
        """Return images and places of the newcomers."""
        newcomers = self.newcomers()
        return [newcomer.images for _, newcomer in newcomers], [place for place, _ in newcomers]

    def files(self, old: ModelPackage) -> Iterator[tuple[str, bytes]]:
        """Yield every file but models, arrays and the manifest; those that stay with the bytes that they had."""
        verification, was = self.manifest.verification, old.manifest.verification
        new = {}
        if verification:
            new = {verification.references[place]: newcomer.reference or b"" for place, newcomer in self.newcomers()}
        stale = set(was.references) - set(verification.references) if was and verification else set()
        if old.manifest.search:
            stale.add(old.manifest.search.file)
        if was and was.outlines:
            stale.add(was.outlines)
        for name in old.manifest.files:
            if name not in new and name not in stale:
                yield name, old.file_bytes(name)
        yield from new.items()


def make_plan(package: ModelPackage, changes: Changes, newcomers: Sequence[Newcomer]) -> Plan:
    """Return what becomes of a package; parts that stay keep their order, and new ones are appended.

    Args:
        package: the old one.
        changes: what was asked for, checked.
        newcomers: of it, read.
    """
    old, by_label = package.manifest, {newcomer.label: newcomer for newcomer in newcomers}
    stay: dict[str, Source] = {
        label: by_label.get(label, place) for place, label in enumerate(old.labels) if label not in changes.removals
    }
    sources = stay | {label: by_label[label] for label in changes.additions}
    enrolment = Enrolment(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        from_package=package.package_id,
        from_keys=package.signed_by,
        added=tuple(changes.additions),
        replaced=tuple(changes.replacements),
        removed=tuple(changes.removals),
        images={newcomer.label: newcomer.sha256 for newcomer in newcomers},
    )
    provenance = msgspec.structs.replace(old.provenance, enrolments=(*old.provenance.enrolments, enrolment))
    manifest = msgspec.structs.replace(
        old,
        labels=tuple(sources),
        provenance=provenance,
        verification=_verification(old, stay, len(changes.additions)),
    )
    return Plan(manifest, tuple(sources.values()))


def _verification(old: Manifest, stay: Iterable[str], added: int) -> Verification | None:
    """Name the reference of each label: those that stay keep their file's name, new ones get numbers never used."""
    verification = old.verification
    if verification is None:
        return None
    names = dict(zip(old.labels, verification.references, strict=True))
    numbers = [int(match[1]) for match in map(_NUMBERED.fullmatch, old.files) if match]
    first = max(numbers, default=-1) + 1
    fresh = [f"gallery/{number:05d}.jpg" for number in range(first, first + added)]
    return msgspec.structs.replace(verification, references=(*(names[label] for label in stay), *fresh))
