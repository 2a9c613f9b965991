"""The page of a report."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.runtime.core import Level, Picture, ReportPage, Section, Table, Task, Verdict

ODD = "<script>alert('&\"1\"')</script>"
VERDICT = Verdict("good", "Go", "sentence")


class Parsed(HTMLParser):
    """A page's tags in order, its text and the addresses in it."""

    def __init__(self, page: ReportPage) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.sources: list[str] = []
        self.feed(page.to_html())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += [data.strip()] if data.strip() else []


def picture(level: int = 9) -> Picture:
    return Picture.encoded("caption", np.full((8, 16, 3), level, np.uint8), np.zeros((8, 8), np.uint8), note="note")


def test_verdict_and_tasks_come_first() -> None:
    section = Section("section", "text", (("name", "value"),), Table(("head",), (("cell",),)), note="last")
    verdict = Verdict("bad", "No-go", "sentence", ("reason",))
    page = Parsed(ReportPage("title", verdict, (Task("do", "command"), Task("look")), (section,)))
    body = page.text[page.text.index("title", 1 + page.text.index("title")) :]
    assert [text for text in body if text != "What to do"] == [
        *("title", "No-go", "sentence", "reason", "do", "command", "look"),
        *("section", "text", "name", "value", "head", "cell", "last"),
    ]


@pytest.mark.parametrize("level", ["good", "care", "bad"])
def test_the_level_chooses_the_colour(level: Level) -> None:
    html = ReportPage("title", Verdict(level, "word", "sentence"), (), ()).to_html()
    assert f'class="verdict {level}"' in html
    assert re.search(rf"\.{level} {{ border-color: #\w+; }}", html)


def test_empty_things_leave_no_trace() -> None:
    page = Parsed(ReportPage("title", VERDICT, (), (Section("alone"),)))
    assert {"table", "figure", "ul", "ol", "pre", "p"} & set(page.tags) == {"p"}  # the verdict's sentence


def test_a_page_needs_no_network() -> None:
    page = ReportPage("title", VERDICT, (), (Section("section", pictures=(picture(),), cards=(picture(), picture())),))
    sources = Parsed(page).sources
    assert len(sources) == 6
    for source in sources:
        kind, data = source.split(",")
        assert kind == "data:image/jpeg;base64"
        assert cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR) is not None
    assert "http" not in page.to_html()


def test_every_text_is_escaped() -> None:
    odd = Picture(ODD, (b"",), ODD)
    section = Section(ODD, ODD, ((ODD, ODD),), Table((ODD,), ((ODD,),)), (odd,), (odd,), ODD)
    page = ReportPage(ODD, Verdict("good", ODD, ODD, (ODD,)), (Task(ODD, ODD),), (section,))
    parsed = Parsed(page)
    assert "script" not in parsed.tags
    assert "".join(parsed.text).count(ODD) == 18
    assert len(re.findall('alt="[^"<>]*"', page.to_html())) == 2


def test_long_names_may_break_in_a_table() -> None:
    page = Parsed(ReportPage("title", VERDICT, (), (Section("section", table=Table(("part",), (("M8_x-40<b>",),))),)))
    assert page.tags.count("wbr") == 2
    assert "b" not in page.tags[page.tags.index("table") :]


def test_pictures_of_files(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg"):
        assert cv2.imwrite(str(tmp_path / name), np.zeros((8, 8), np.uint8))
    read = Picture.read("caption", tmp_path / "a.png", tmp_path / "b.jpg")
    assert [source.partition(";")[0] for source in read.sources] == ["data:image/png", "data:image/jpeg"]
    with pytest.raises(FileNotFoundError):
        Picture.read("caption", tmp_path / "c.png")
