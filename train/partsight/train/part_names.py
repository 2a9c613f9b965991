"""Names of parts, as folders and files of a catalogue give them."""

import re
from collections import defaultdict
from collections.abc import Iterable

from partsight.runtime.core import USABLE, folded, is_usable

_COPY = re.compile(
    r"(.+?)(?: [-–—])? \(?(?:another |\d+\w\w )?(?:copy|copie|c[oó]pia|kopi[ea])(?: ?\(?\d+\)?)?\)?|(.+) \(\d+\)"
    r"|(?:copy of|copie de|c[oó]pia d[eio]|kopie v[ao]n) (.+)",
    re.IGNORECASE,
)
"""Names that Explorer, Finder and Files give to a copy."""


def find_clashing(labels: Iterable[str]) -> list[str]:
    """Return a fault for each group of names that are one name on other systems."""
    by_folded: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        by_folded[folded(label)].append(label)
    return [
        f"{' and '.join(group)}: names that differ only in case, or in how accents are encoded, which is one name on "
        "Windows or macOS; rename one"
        for group in by_folded.values()
        if len(group) > 1
    ]


def find_unusable(labels: Iterable[str]) -> list[str]:
    """Return a fault for each name that cannot be read off a line's screen, or that no UTF-8 text can hold."""
    faults = []
    for label in labels:
        if any("\ud800" <= letter <= "\udfff" for letter in label):  # on Linux a file's name may be any bytes
            faults.append(f"{label!a}: a name that is not UTF-8, so that no result could name the part; rename it")
        elif not is_usable(label):
            faults.append(f"{label!r}: is no name for a part; expected {USABLE}: rename it")
    return faults


def without_copy(label: str) -> str:
    """Return the name that a file manager made a copy's name from; the label itself if it is no copy's."""
    match = _COPY.fullmatch(label)
    return next((name for name in match.groups() if name), label) if match else label
