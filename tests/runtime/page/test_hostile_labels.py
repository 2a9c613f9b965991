"""Labels that look like code, run from right to left, or are very long: the screens show them as text."""

import html
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from partsight.runtime.feedback import read_feedback
from partsight.runtime.page.review import reviews
from tests.runtime.page.conftest import Station
from tests.tiny import COLOURS_BGR, tiny_matching, write_tiny_package
from tests.waiting import wait_until

LABELS = (
    "<script>alert(1)</script>",
    "x" * 250,
    '"quoted" & \'so\' onclick="alert(1)"',
    "בורג M8 ארוך",
    "50%2F100/..",
    "{{ 7 * 7 }}",
)


@pytest.fixture(scope="module")
def matching_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "hostile.partsight"
    return write_tiny_package(path, matching=tiny_matching(), labels=LABELS)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews, "_LEAST_PAUSE_S", 0.0)
    monkeypatch.setattr(reviews, "_REST", 0.0)


def shown(text: str) -> str:
    """Return a page's text as a person reads it."""
    return html.unescape(re.sub(r"<[^>]*>", "", text))


def test_labels_are_text(station: Station) -> None:
    events = station.show(*COLOURS_BGR)
    assert [event.record.label for event in events] == list(LABELS)
    visitor = station.operator()
    context = station.page.context
    assert context.reviews is not None
    for event, label in zip(events, LABELS, strict=True):
        wait_until(lambda name=event.record.name: context.reviews.find(name))
        for path in (f"/why/{event.record.name}", f"/refused?part={quote(label, safe='')}"):
            reply = visitor.get(path)
            assert reply.status == 200
            assert "<script>alert" not in reply.text
            assert 'onclick="alert' not in reply.text
            assert label in shown(reply.text)


def test_decisions_about_hostile_labels(station: Station) -> None:
    events = station.show(*COLOURS_BGR)
    visitor = station.operator()
    context = station.page.context
    assert context.reviews is not None
    for event, label in zip(events, LABELS, strict=True):
        wait_until(lambda name=event.record.name: context.reviews.find(name))
        found = visitor.get(f"/labels?q={quote(label, safe='')}").text
        assert "<script>alert" not in found
        assert label in shown(found)
        fields = {"seen": "open", "part": label}
        reply = visitor.post(f"/refused/{event.record.name}/decide", fields, HX_Request="true")
        assert reply.status == 200
        assert label in shown(reply.text)
    frames = read_feedback(station.kept).of("confirmed")
    assert [frame.label for frame in frames] == list(LABELS)
    text = visitor.get("/refused?verdict=confirmed").text
    assert "<script>alert" not in text
    assert all(label in shown(text) for label in LABELS)
