"""Relative links of README.md, CONTRIBUTING.md, CHANGELOG.md and `docs` lead to a file, and to a heading of it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")]
PAGES = [page for page in (*PAGES, *sorted((ROOT / "docs").glob("*.md"))) if page.is_file()]


def _text(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """Return the anchor of each heading, as GitHub and the site make it."""
    headings = re.findall(r"^#+ (.*)", _text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    missing = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _text(page)):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not re.match(r"\w+:", link) and not (target.exists() and (not anchor or anchor in _anchors(target))):
            missing.append(link)
    assert missing == []
