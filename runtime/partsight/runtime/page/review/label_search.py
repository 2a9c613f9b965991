"""Search among the labels of a package, as a person types."""

import re
import unicodedata
from collections.abc import Iterable


def search_labels(labels: Iterable[str], text: str, most: int = 12) -> list[str]:
    """Return labels that contain each word of a text, the best first; case and accents do not count.

    Labels that begin with the text come first, then those in which a word begins with it, then those that contain it,
    then those that contain its words elsewhere. Among equals the shorter label comes first.

    Args:
        labels: The labels.
        text: What a person typed.
        most: Number of labels to return.
    """
    sought = _plain(text.strip())
    words = sought.split()
    if not words:
        return []
    word_start = re.compile(rf"(?:^|[\W_]){re.escape(sought)}")
    ranked = []
    for label in labels:
        plain = _plain(label)
        if all(word in plain for word in words):
            rank = 0 if plain.startswith(sought) else 1 if word_start.search(plain) else 2 if sought in plain else 3
            ranked.append((rank, len(label), label))
    return [label for _, _, label in sorted(ranked)[:most]]


def _plain(text: str) -> str:
    """Return a text without case and accents."""
    apart = unicodedata.normalize("NFKD", text).casefold()
    return "".join(character for character in apart if not unicodedata.combining(character))
