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
