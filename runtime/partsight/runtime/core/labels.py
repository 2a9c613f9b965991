"""Labels: what may name a part, and which names are one elsewhere."""

import unicodedata

USABLE = "printable characters, no space at either end"
"""What a label consists of, for messages."""


def is_usable(label: str) -> bool:
    """Tell whether a label can be read off a line's screen, and stands in a table as it is."""
    return bool(label) and label.isprintable() and label == label.strip()


def normalized(label: str) -> str:
    """Return the same text for labels that differ only in how accents are encoded, such as those of a Mac."""
    return unicodedata.normalize("NFC", label)


def folded(label: str) -> str:
    """Return the same text for labels that are one file name on Windows or macOS: of another case or encoding."""
    return normalized(label).casefold()
