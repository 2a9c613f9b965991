"""The plan of an enrolment: the labels of the new package, in order, and where each part and file comes from."""

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from partsight.runtime.enrolment.changes import Changes
from partsight.runtime.enrolment.new_parts import NewPartImages
from partsight.runtime.matching import BANK_FILE, GRAPH_FILE
from partsight.runtime.package import SCHEMA_VERSION, Enrolment, Manifest, Matching, ModelPackage

Source = int | NewPartImages
"""Origin of a part: its index among the old package's labels, or new golden images."""

_OUTLINE_FILE = "outlines.npy"  # in packages of schema version 1, which have no bank
_NUMBERED = re.compile(r"gallery/(\d+)\.jpg")


@dataclass(frozen=True)
class Placed:
    """A new part and its index among the new labels."""

    index: int
    part: NewPartImages


@dataclass(frozen=True)
class Kept:
    """Indices of a part that stays, among the new labels and among the old ones."""

    index: int
    old_index: int


@dataclass(frozen=True)
class Plan:
    """Contents of the new package.

    Attributes:
        manifest: Manifest of the new package, with the old expected rates and the old hashes of files.
        sources: Origin of each label's part, in order.
    """

    manifest: Manifest
    sources: tuple[Source, ...]

    def new_parts(self) -> list[Placed]:
        """Return the parts that are added or replaced."""
        return [Placed(index, source) for index, source in enumerate(self.sources) if not isinstance(source, int)]

    def kept(self) -> list[Kept]:
        """Return the parts that stay."""
        return [Kept(index, source) for index, source in enumerate(self.sources) if isinstance(source, int)]

    def files(self, old: ModelPackage, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
        """Yield name and bytes of every file except models, arrays and the manifest.

        Args:
            old: Package to start from; files that stay keep its bytes.
            manifest: Manifest of the new package, as it will be written.
        """
        matching = manifest.matching
        new = {}
        if matching:
            new = {matching.references[placed.index]: placed.part.references[0] for placed in self.new_parts()}
        stale = _made_anew(old.manifest) - set(matching.references if matching else ())
        for name in old.manifest.files:
            if name not in new and name not in stale:
                yield name, old.file_bytes(name)
        yield from new.items()


def _made_anew(old: Manifest) -> set[str]:
    """Return the names of the files that depend on the parts of a package."""
    stale = set(old.matching.references if old.matching else ())
    if old.search:
        stale.add(old.search.file)
    if old.matching:
        stale.update(name for name in (old.matching.bank, old.matching.graph) if name)
    if old.schema_version == 1:
        stale.add(_OUTLINE_FILE)
    return stale


def make_plan(package: ModelPackage, changes: Changes, parts: Sequence[NewPartImages]) -> Plan:
    """Return the plan: parts that stay keep their order, new ones follow.

    Args:
        package: Package to start from.
        changes: Changes, checked.
        parts: Golden images of the parts to add or replace.
    """
    old, by_label = package.manifest, {part.label: part for part in parts}
    stay: dict[str, Source] = {
        label: by_label.get(label, index) for index, label in enumerate(old.labels) if label not in changes.removals
    }
    sources = stay | {label: by_label[label] for label in changes.additions}
    enrolment = Enrolment(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        from_package=package.package_id,
        from_keys=package.signed_by,
        added=tuple(changes.additions),
        replaced=tuple(changes.replacements),
        removed=tuple(changes.removals),
        images={part.label: part.sha256 for part in parts},
    )
    provenance = msgspec.structs.replace(old.provenance, enrolments=(*old.provenance.enrolments, enrolment))
    manifest = msgspec.structs.replace(
        old,
        schema_version=SCHEMA_VERSION,
        labels=tuple(sources),
        provenance=provenance,
        matching=_matching(old, stay, len(changes.additions)),
    )
    return Plan(manifest, tuple(sources.values()))


def _matching(old: Manifest, stay: Iterable[str], added: int) -> Matching | None:
    """Name the golden image of each label: parts that stay keep their file's name, new ones get an unused number."""
    matching = old.matching
    if matching is None:
        return None
    names = dict(zip(old.labels, matching.references, strict=True))
    numbers = [int(match[1]) for match in map(_NUMBERED.fullmatch, old.files) if match]
    first = max(numbers, default=-1) + 1
    fresh = [f"gallery/{number:05d}.jpg" for number in range(first, first + added)]
    return msgspec.structs.replace(
        matching, references=(*(names[label] for label in stay), *fresh), bank=BANK_FILE, graph=GRAPH_FILE
    )
