"""Templates and static files: nothing that the content security policy forbids, and no other host."""

import re
from pathlib import Path

import pytest

import partsight.runtime.page

ROOT = Path(partsight.runtime.page.__file__).parent
TEMPLATES = sorted((ROOT / "templates").glob("*.html"))
STATIC = sorted(path for path in (ROOT / "static").iterdir() if path.name != "htmx.min.js")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_no_inline_code(path: Path) -> None:
    text = path.read_text("utf-8")
    assert re.findall(r"\sstyle\s*=|\son\w+\s*=|hx-on|javascript:|<style|<script(?![^>]*\ssrc=)", text) == []
    assert re.findall(r"\|\s*safe\b|Markup\(", text) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_form_sends_its_token(path: Path) -> None:
    forms = re.findall(r"<form\b[^>]*method=\"post\"[^>]*>.*?</form>", path.read_text("utf-8"), re.DOTALL)
    assert [form for form in forms if 'name="csrf"' not in form and 'action="/login"' not in form] == []


@pytest.mark.parametrize("path", [*TEMPLATES, *STATIC], ids=lambda path: path.name)
def test_no_file_names_another_host(path: Path) -> None:
    addresses = re.findall(r"https?://[\w.-]+", path.read_text("utf-8"))
    assert set(addresses) <= {"http://www.w3.org"}  # a name in SVG, which no browser fetches


def test_there_is_one_style() -> None:
    assert [path.name for path in STATIC if path.suffix == ".css"] == ["page.css"]


PAIRS = [
    *(("text", back) for back in ("back", "card", "good-back", "care-back", "bad-back")),
    *(("soft", back) for back in ("back", "card")),
    *(("link", back) for back in ("back", "card")),
    *((name, back) for name in ("good", "care", "bad") for back in ("card", f"{name}-back")),
    ("button-text", "button"),
    ("top-text", "top"),
]
"""Names of a text's colour, and of the colour behind it."""


def colours(scheme: str) -> dict[str, str]:
    """Return the colours of a scheme by name; dark ones replace light ones."""
    light, dark = re.findall(r":root \{(.*?)\}", (ROOT / "static" / "page.css").read_text("utf-8"), re.DOTALL)[:2]
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return found | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark)) if scheme == "dark" else found


def luminance(colour: str) -> float:
    """Return the relative luminance, as WCAG 2 defines it."""
    shares = (int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5))
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(scheme: str) -> None:
    found = colours(scheme)
    ratios = {}
    for text, back in PAIRS:
        light, dark = sorted((luminance(found[text]), luminance(found[back])), reverse=True)
        ratios[text, back] = (light + 0.05) / (dark + 0.05)
    assert {pair: round(ratio, 2) for pair, ratio in ratios.items() if ratio < 4.5} == {}  # WCAG AA
