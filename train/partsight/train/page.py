"""HTML reports: one file each, with the pictures inside, so that it opens without a network."""

import base64
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: Heading.
        text: Paragraph below the heading.
        rows: Names and values of facts.
        pictures: Captions and PNG files.
    """

    title: str
    text: str = ""
    rows: tuple[tuple[str, str], ...] = ()
    pictures: tuple[tuple[str, Path], ...] = ()


def render_page(title: str, verdict: str, is_good: bool, sections: list[Section]) -> str:
    """Return a report as HTML; the template escapes all text, so labels may hold any character."""
    environment = Environment(loader=PackageLoader("partsight.train"), autoescape=select_autoescape())
    environment.filters["data_uri"] = _data_uri
    template = environment.get_template("report.html")
    return template.render(title=title, verdict=verdict, is_good=is_good, sections=sections)


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
