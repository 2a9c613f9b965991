"""Texts in each language, and the choice of one."""

import re
import string
from datetime import datetime
from pathlib import Path

import pytest

import partsight.runtime.page
from partsight.runtime.page.web.messages import LANGUAGES, choose_language, messages_of

ROOT = Path(partsight.runtime.page.__file__).parent
USED = re.compile(r"""\b(?:t|text)\(\s*["']([a-z_]+\.[a-z0-9_]+)["']\s*[,)]""")


def values_of(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_all_texts(language: str) -> None:
    texts, english = messages_of(language).texts, messages_of("en").texts
    assert set(texts) == set(english)
    assert {key: values_of(text) for key, text in texts.items()} == {
        key: values_of(text) for key, text in english.items()
    }
    assert [key for key, text in texts.items() if not text.strip()] == []


def test_each_text_that_code_names_exists() -> None:
    files = [*ROOT.rglob("*.py"), *ROOT.rglob("*.html")]
    used = {key for file in files for key in USED.findall(file.read_text("utf-8"))}
    assert used
    assert used - set(messages_of("en").texts) == set()


def test_times_as_people_write_them() -> None:
    noon = datetime(2026, 12, 1, 13, 12, 5).timestamp()
    assert messages_of("en").time(noon) == "2026-12-01 13:12:05"
    assert messages_of("de").time(noon) == "01.12.2026 13:12:05"
    assert messages_of("en").time(1e300) == "1e+300"


@pytest.mark.parametrize(
    ("chosen", "accepted", "expected"),
    [
        ("", "", "en"),
        ("", "de-CH,de;q=0.9,en;q=0.8", "de"),
        ("", "fr,en;q=0.5,de;q=0.7", "de"),
        ("", "de;q=0", "en"),
        ("", "fr", "en"),
        ("de", "en", "de"),
        ("xx", "en", "en"),
        ("", "\0;q=x,,;;" * 200, "en"),
    ],
)
def test_the_choice_of_a_language(chosen: str, accepted: str, expected: str) -> None:
    assert choose_language(chosen, accepted) == expected


def test_a_text_with_values() -> None:
    assert messages_of("en").text("common.stale", time="12:03:41").endswith("12:03:41")
    assert messages_of("de").text("common.stale", time="12:03:41") != messages_of("en").text(
        "common.stale", time="12:03:41"
    )


@pytest.mark.parametrize(
    ("value", "digits", "language", "text"),
    [(1234.5, 1, "en", "1,234.5"), (1234.5, 1, "de", "1.234,5"), (0.5, 2, "de", "0,50"), (7, 0, "en", "7")],
)
def test_numbers_as_people_write_them(value: float, digits: int, language: str, text: str) -> None:
    assert messages_of(language).number(value, digits) == text


@pytest.mark.parametrize(("value", "needed", "digits"), [(0.9, 0.5, 2), (0.8702, 0.87, 4), (0.87, 0.87, 5)])
def test_a_score_is_told_from_its_threshold(value: float, needed: float, digits: int) -> None:
    assert messages_of("en").against(value, needed) == (f"{value:.{digits}f}", f"{needed:.{digits}f}")
