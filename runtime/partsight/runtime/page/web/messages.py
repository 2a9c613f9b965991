"""Messages: the texts of the page in each language, from the files messages/LANGUAGE/SCREEN.json."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files

import msgspec

LANGUAGES = {"en": "English", "de": "Deutsch"}
"""Languages of the page; the first is the default."""

_TIMES = {"en": "%Y-%m-%d %H:%M:%S", "de": "%d.%m.%Y %H:%M:%S"}

_COMMA = str.maketrans(",.", ".,")
_ACCEPTED = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]+)?\s*(?:;\s*q=([01](?:\.\d{0,3})?))?\s*")


@dataclass(frozen=True)
class Messages:
    """Texts of one language.

    Attributes:
        language: Code of the language, such as `de`.
        texts: Texts by key, such as `live.title`; the part before the dot is the name of the file. A text may hold
            names in braces, which `text` replaces.
    """

    language: str
    texts: Mapping[str, str]

    def text(self, key: str, **values: object) -> str:
        """Return a text with its values; the templates call it as `t`.

        Raises:
            KeyError: there is no such text, or a value is missing.
        """
        return self.texts[key].format(**values) if values else self.texts[key]

    def number(self, value: float, digits: int = 0) -> str:
        """Return a number as people of the language write it."""
        text = f"{value:,.{digits}f}"
        return text.translate(_COMMA) if self.language == "de" else text

    def against(self, value: float, needed: float) -> tuple[str, str]:
        """Return a number and the least that is needed, with as many digits as tell them apart.

        A rule may need less than 0 of a frame with a large margin; people read that as 0.
        """
        needed = max(needed, 0.0)
        digits = next((digits for digits in (2, 3, 4) if f"{value:.{digits}f}" != f"{needed:.{digits}f}"), 5)
        return self.number(value, digits), self.number(needed, digits)

    def time(self, timestamp: float) -> str:
        """Return seconds since 1970 as local time, as people of the language write it."""
        try:
            return datetime.fromtimestamp(timestamp).astimezone().strftime(_TIMES[self.language])
        except (OverflowError, OSError, ValueError):  # a damaged record
            return f"{timestamp:g}"


@cache
def messages_of(language: str) -> Messages:
    """Return the texts of a language of `LANGUAGES`."""
    folder = files("partsight.runtime.page") / "messages" / language
    texts: dict[str, str] = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        screen = file.name.removesuffix(".json")
        pairs = msgspec.json.decode(file.read_bytes(), type=dict[str, str])
        texts |= {f"{screen}.{key}": text for key, text in pairs.items()}
    return Messages(language, texts)


def choose_language(chosen: str, accepted: str) -> str:
    """Return a language of `LANGUAGES`.

    Args:
        chosen: Code that the person chose on the page; empty for none.
        accepted: The browser's header `Accept-Language`.
    """
    if chosen in LANGUAGES:
        return chosen
    found = (_ACCEPTED.fullmatch(part) for part in accepted[:1000].split(","))
    ranked = sorted(((float(part[2] or 1), part[1].lower()) for part in found if part), key=lambda pair: -pair[0])
    return next((code for quality, code in ranked if code in LANGUAGES and quality > 0), next(iter(LANGUAGES)))
