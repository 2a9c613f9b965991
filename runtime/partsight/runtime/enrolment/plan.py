"""The plan of an enrolment: the labels of the new package, in order, and where each part and file comes from."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import msgspec

from partsight.runtime.enrolment.changes import Changes
from partsight.runtime.enrolment.new_parts import NewPartImages
from partsight.runtime.matching import BANK_FILE, GRAPH_FILE
from partsight.runtime.package import SCHEMA_VERSION, Enrolment, Manifest, Matching, ModelPackage, unused_names

Source = int | NewPartImages
"""Origin of a part: its index among the old package's labels, or new golden images."""

_OUTLINE_FILE = "outlines.npy"  # in packages of schema version 1


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
        new: dict[str, bytes] = {}
        for placed in self.new_parts():
            new |= dict(zip(manifest.reference_files(placed.index), placed.part.references, strict=True))
        stale = _made_anew(old.manifest) - set(_reference_files(manifest))
        for name in old.manifest.files:
            if name not in new and name not in stale:
                yield name, old.file_bytes(name)
        yield from new.items()


def _made_anew(old: Manifest) -> set[str]:
    """Return the names of the files that depend on the parts of a package."""
    stale = {*_reference_files(old)}
    if old.search:
        stale.add(old.search.file)
    if old.matching:
        stale.update(name for name in (old.matching.bank, old.matching.graph) if name)
    if old.schema_version != SCHEMA_VERSION:
        stale.update((_OUTLINE_FILE, BANK_FILE, GRAPH_FILE))
    return stale


def _reference_files(manifest: Manifest) -> Iterator[str]:
    """Yield the names of the files of all references."""
    return chain.from_iterable(map(manifest.reference_files, range(len(manifest.labels))))


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
        matching=_matching(old, sources),
    )
    return Plan(manifest, tuple(sources.values()))


def _matching(old: Manifest, sources: Mapping[str, Source]) -> Matching | None:
    """Name the references of each label: those that stay keep their file's name, others get an unused number.

    A part that is replaced keeps the name of its golden image.
    """
    matching = old.matching
    if matching is None:
        return None
    goldens, further = dict(zip(old.labels, matching.references, strict=True)), dict(matching.further)
    added = [label for label in sources if label not in goldens]
    new = {label: part.references[1:] for label, part in sources.items() if not isinstance(part, int)}
    names = iter(unused_names(old.files, len(added) + sum(map(len, new.values()))))
    goldens |= {label: next(names) for label in added}
    further |= {label: tuple(next(names) for _ in files) for label, files in new.items()}
    return msgspec.structs.replace(
        matching,
        references=tuple(goldens[label] for label in sources),
        further={label: further[label] for label in sources if further.get(label)},
        bank=BANK_FILE,
        graph=GRAPH_FILE,
    )
