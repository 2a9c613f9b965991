"""Changes: the parts that a caller wants to add to a package, to replace in it or to remove from it."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from partsight.runtime.core import USABLE, folded, is_usable, normalized


@dataclass(frozen=True)
class Changes:
    """Changes to a package, as a caller asks for them.

    Attributes:
        additions: Image files of each new part, by label: its golden image, and further references.
        replacements: Image files of parts that the package has, by label.
        removals: Labels of parts to remove.
    """

    additions: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    replacements: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    removals: Sequence[str] = ()

    def spelled_as(self, labels: Sequence[str]) -> "Changes":
        """Return the same changes, with accents encoded as in the package: macOS encodes typed ones otherwise."""
        own = {normalized(label): label for label in labels}
        spelled = {own.get(normalized(label), label): images for label, images in self.replacements.items()}
        if len(spelled) < len(self.replacements):  # one part twice: `faults` reports it
            return self
        return Changes(self.additions, spelled, [own.get(normalized(label), label) for label in self.removals])

    def faults(self, labels: Sequence[str]) -> list[str]:
        """Return a sentence for each change that is not possible.

        Args:
            labels: Labels of the package.
        """
        has, wanted = set(labels), [*self.additions, *self.replacements, *self.removals]
        faults = [f"{label}: is named more than once; name each part once" for label in _repeated(wanted)]
        faults += [
            f"{label}: the package has this part already; replace it (--replace), or give the new part another name"
            for label in self.additions
            if label in has
        ]
        faults += [
            f"{label}: the package has no such part to {verb}; run `partsight inspect PACKAGE --labels`"
            for verb, named in (("replace", self.replacements), ("remove", self.removals))
            for label in named
            if label not in has
        ]
        faults += [
            f"{label!r}: cannot be the name of a part; expected {USABLE}"
            for label in self.additions
            if not is_usable(label)
        ]
        if not wanted:
            faults.append("no change is named; name parts to add, replace or remove")
        stay = [label for label in labels if label not in self.removals]
        faults += _clashing(stay, self.additions)
        if not stay and not self.additions:
            faults.append("no part would be left; keep or add at least one")
        return faults


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _clashing(stay: Collection[str], additions: Collection[str]) -> list[str]:
    by_folded: dict[str, list[str]] = defaultdict(list)
    for label in (*stay, *additions):
        if label not in by_folded[folded(label)]:
            by_folded[folded(label)].append(label)
    return [
        f"{' and '.join(group)}: names that differ only in case, or in how accents are encoded; Windows and macOS "
        "treat them as one name: rename the new one"
        for group in by_folded.values()
        if len(group) > 1
    ]
