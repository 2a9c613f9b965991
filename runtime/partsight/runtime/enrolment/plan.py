"""The plan of an enrolment: which part stands where in the new package, and which file it takes from where."""

import datetime
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from partsight.runtime.core import Pixels
from partsight.runtime.enrolment.new_parts import Changes, Newcomer
from partsight.runtime.matching import BANK_FILE, GRAPH_FILE
from partsight.runtime.package import SCHEMA_VERSION, Enrolment, Manifest, Matching, ModelPackage

Source = int | Newcomer
"""Where a part comes from: its place among the old package's labels, or a newcomer."""

_OUTLINE_FILE = "outlines.npy"  # of packages of schema version 1, in place of a bank
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

    def files(self, old: ModelPackage, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
        """Yield every file but models, arrays and the manifest; those that stay with the bytes that they had.

        Args:
            old: the package to start from.
            manifest: of the new one, as it will be written.
        """
        matching = manifest.matching
        new = {}
        if matching:
            new = {matching.references[place]: newcomer.references[0] for place, newcomer in self.newcomers()}
        stale = _made_anew(old.manifest) - set(matching.references if matching else ())
        for name in old.manifest.files:
            if name not in new and name not in stale:
                yield name, old.file_bytes(name)
        yield from new.items()


def _made_anew(old: Manifest) -> set[str]:
    """Return the files that depend on the parts of a package."""
    stale = set(old.matching.references if old.matching else ())
    if old.search:
        stale.add(old.search.file)
    if old.matching:
        stale.update(name for name in (old.matching.bank, old.matching.graph) if name)
    if old.schema_version == 1:
        stale.add(_OUTLINE_FILE)
    return stale


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
        schema_version=SCHEMA_VERSION,
        labels=tuple(sources),
        provenance=provenance,
        matching=_matching(old, stay, len(changes.additions)),
    )
    return Plan(manifest, tuple(sources.values()))


def _matching(old: Manifest, stay: Iterable[str], added: int) -> Matching | None:
    """Name the golden image of each label: those that stay keep their file's name, new ones get numbers never used."""
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
