"""A report as one HTML file with its pictures inside, for a browser without a network and for paper."""

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from partsight.runtime.core.arrays import Pixels

_QUALITY = 85  # of JPEG, in percent

Level = Literal["good", "care", "bad"]


@dataclass(frozen=True)
class Verdict:
    """The main point of a report, for a person who reads nothing else.

    Attributes:
        level: Level, which chooses the colour.
        word: One or two words, such as "Ready" or "No-go".
        sentence: Sentence after it.
        reasons: Sentences with the reasons.
    """

    level: Level
    word: str
    sentence: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A thing to do, and the command for it; empty if there is none."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class Table:
    """A table: names of the columns, and rows of as many cells."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Picture:
    """Pictures next to each other.

    Attributes:
        caption: Text below the pictures, also for a reader who cannot see them; a card shows it bold.
        files: Contents of PNG or JPEG files.
        note: Text after the caption.
    """

    caption: str
    files: tuple[bytes, ...]
    note: str = ""

    @classmethod
    def encoded(cls, caption: str, *images: Pixels, note: str = "") -> "Picture":
        """Return images, each (height, width, 3) uint8 BGR or (height, width) uint8, as JPEG."""
        import cv2  # noqa: PLC0415 (a page is rare, and the base of every room loads quickly)

        encoded = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1] for image in images]
        return cls(caption, tuple(item.tobytes() for item in encoded), note)

    @classmethod
    def read(cls, caption: str, *paths: Path, note: str = "") -> "Picture":
        """Return the pictures in PNG or JPEG files.

        Raises:
            OSError: A file cannot be read.
        """
        return cls(caption, tuple(path.read_bytes() for path in paths), note)

    @property
    def sources(self) -> tuple[str, ...]:
        """The pictures as URIs that hold them."""
        kinds = ("png" if data.startswith(b"\x89PNG") else "jpeg" for data in self.files)
        return tuple(
            f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
            for kind, data in zip(kinds, self.files, strict=True)
        )


@dataclass(frozen=True)
class Section:
    """A part of a report; the page leaves out all that is empty.

    Attributes:
        title: Heading.
        text: Paragraph below the heading.
        rows: Names and values of facts.
        table: Table; None for none.
        pictures: Pictures as wide as the page.
        cards: Small pictures, several next to each other.
        note: Last paragraph.
    """

    title: str
    text: str = ""
    rows: tuple[tuple[str, str], ...] = ()
    table: Table | None = None
    pictures: tuple[Picture, ...] = ()
    cards: tuple[Picture, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class ReportPage:
    """A report.

    Attributes:
        title: Heading.
        verdict: Main point.
        tasks: To-do list, the first thing first.
        sections: The rest, for an engineer.
    """

    title: str
    verdict: Verdict
    tasks: tuple[Task, ...]
    sections: tuple[Section, ...]

    def to_html(self) -> str:
        """Return the page; the template escapes all text, so names may hold any character."""
        from jinja2 import Environment, PackageLoader  # noqa: PLC0415 (a page is rare, as above)
        from markupsafe import Markup, escape  # noqa: PLC0415 (a part of jinja2)

        loader = PackageLoader("partsight.runtime.core")
        environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        # A long name may break after these characters, so that a table of names fits the page.
        environment.filters["breakable"] = lambda text: Markup(re.sub("([_-])", r"\1<wbr>", str(escape(text))))
        return environment.get_template("page.html").render(page=self)
