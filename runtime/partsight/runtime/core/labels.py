"""Labels: which text can name a part, and which labels are the same on another system."""

import unicodedata

USABLE = "printable characters, no space at either end"
"""The rule of `is_usable`, for messages."""


def is_usable(label: str) -> bool:
    """Return whether people can read a label on a screen, and tables and file names keep it as it is."""
    return bool(label) and label.isprintable() and label == label.strip()


def normalized(label: str) -> str:
    """Return the label in the form NFC: in it, labels from a Mac and from elsewhere encode accents alike."""
    return unicodedata.normalize("NFC", label)


def folded(label: str) -> str:
    """Return a text that is equal for labels with the same file name on Windows or macOS: case does not count there."""
    return normalized(label).casefold()
