"""The page: one file that needs nothing else, with bars to scale."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from partsight.cli.bench.facts import BenchFacts
from partsight.cli.bench.page import camera_marks, to_html
from partsight.cli.bench.verdict import judge
from tests.cli.bench.made_up import made_up


def pictures(facts: BenchFacts) -> list[ET.Element]:
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", to_html(facts, judge(facts)), re.DOTALL)]


def lengths(picture: ET.Element, height: str, name: str = "width") -> list[float]:
    rects = (element for element in picture.iter() if element.tag.endswith("}rect"))
    return [float(rect.get(name, "")) for rect in rects if rect.get("height") == height]


def test_the_page_needs_no_other_file() -> None:
    page = to_html(made_up(), judge(made_up()))
    assert re.findall(r"(?:src|href)=|url\(|@import", page) == []
    assert page.startswith("<!doctype html>")
    assert len(pictures(made_up())) == 2


def test_text_is_escaped() -> None:
    facts = made_up(setting=replace(made_up().setting, package='<b>"line"</b>.partsight'))
    page = to_html(facts, judge(facts))
    assert "&lt;CUDA&gt;" in page
    assert "<CUDA>" not in page
    assert "<b>&#34;line" not in page


def test_an_option_stays_on_one_line_with_its_value() -> None:
    page = to_html(made_up(), judge(made_up()))
    assert re.findall(r"<span>(--.*?)</span>", page) == [
        "--camera folder:photos", "--provider openvino", "--precision bf16", "--batch 16"
    ]  # fmt: skip


def test_each_bar_shows_speed_and_cameras() -> None:
    texts = ["".join(element.itertext()) for element in pictures(made_up())[0].iter() if element.tag.endswith("}text")]
    assert "92/s, 3 cameras" in texts
    assert any(text.startswith("130/s, 4 cameras, ") for text in texts)


def test_the_bars_are_to_scale() -> None:
    bars = lengths(pictures(made_up())[0], "24")
    assert bars[::2] == pytest.approx([bars[1] * alone / 130 for alone in (300, 140, 60, 50)], abs=0.2)
    assert bars[1::2] == pytest.approx([bars[1] * rate / 130 for rate in (130, 92.7, 46, 40)], abs=0.2)


def test_the_stages_fill_the_bar() -> None:
    bar = pictures(made_up())[1]
    assert lengths(bar, "46") == pytest.approx([880 * 0.094, 880 * 0.663, 880 * 0.243], abs=0.1)
    assert lengths(bar, "46", "x") == pytest.approx([0, 880 * 0.094, 880 * (0.094 + 0.663)], abs=0.1)


@pytest.mark.parametrize(
    ("most", "marks"),
    [(29, []), (95, [1, 2, 3]), (270, [2, 4, 6, 8]), (300, [2, 4, 6, 8, 10]), (30_000, [200, 400, 600, 800, 1000])],
)
def test_the_scale_has_at_most_eight_marks(most: float, marks: list[int]) -> None:
    assert camera_marks(most) == marks
