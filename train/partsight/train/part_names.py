"""Names of parts: checks of the names that a catalogue's folders and files give to parts."""

import re
from collections import defaultdict
from collections.abc import Iterable

from partsight.runtime.core import USABLE, folded, is_usable

_COPY = re.compile(
    r"(.+?)(?: [-–—])? \(?(?:another |\d+\w\w )?(?:copy|copie|c[oó]pia|kopi[ea])(?: ?\(?\d+\)?)?\)?|(.+) \(\d+\)"
    r"|(?:copy of|copie de|c[oó]pia d[eio]|kopie v[ao]n) (.+)",
    re.IGNORECASE,
)
"""Pattern of the names that Explorer, Finder and Files give to a copy."""


def find_clashing(labels: Iterable[str]) -> list[str]:
    """Return a fault for each group of names that another system takes for one name."""
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
    """Return a fault for each name that a screen cannot show or that UTF-8 cannot encode."""
    faults = []
    for label in labels:
        if any("\ud800" <= letter <= "\udfff" for letter in label):  # on Linux a file's name may be any bytes
            faults.append(f"{label!a}: the name is not UTF-8, so no result can hold it; rename it")
        elif not is_usable(label):
            faults.append(f"{label!r}: is no name for a part; expected {USABLE}: rename it")
    return faults


def without_copy(label: str) -> str:
    """Return the original's name if a file manager named the label as a copy; else the label itself."""
    match = _COPY.fullmatch(label)
    return next((name for name in match.groups() if name), label) if match else label
