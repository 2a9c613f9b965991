"""The screen why: who may see it, what it says, and its pictures."""

import html
import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import msgspec
import pytest

from partsight.runtime.matching import Spot
from partsight.runtime.page.review import reviews
from partsight.runtime.page.web.messages import messages_of
from partsight.runtime.page.why.reason_words import ReasonWords
from partsight.runtime.recognition import PartPose
from tests.runtime.page.conftest import Station
from tests.tiny import solid, tiny_matching, write_tiny_package
from tests.waiting import wait_until

GREY = (128, 128, 128)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is read again at each call, if it has changed."""
    monkeypatch.setattr(reviews, "_LEAST_PAUSE_S", 0.0)
    monkeypatch.setattr(reviews, "_REST", 0.0)


PICTURE = re.compile(r'"(/why/[^"]+\.(?:jpg|png))"')


def kept(station: Station, *colours: str | tuple[int, int, int]) -> list[str]:
    """Let the line see colours, and return the names of the results when the page has the frames."""
    names = [event.record.name for event in station.show(*colours)]
    found = station.page.context.reviews
    assert found is not None
    wait_until(lambda: all(found.find(name) for name in names))
    return names


def test_a_link_leads_through_the_login_to_the_result(station: Station) -> None:
    (name,) = kept(station, "red")
    reply = station.stranger().get(f"/why/{name}")
    assert (reply.status, reply.headers["location"]) == (303, f"/login?next={quote(f'/why/{name}', safe='')}")
    assert station.stranger().get(f"/why/{name}/{station.line.package_id}/frame.jpg").status == 303


@pytest.mark.parametrize(("colour", "outcome"), [("red", "recognised"), (GREY, "unknown")])
def test_an_answer_and_its_pictures(station: Station, colour: str | tuple[int, int, int], outcome: str) -> None:
    (name,) = kept(station, colour)
    visitor = station.operator()
    reply = visitor.get(f"/why/{name}")
    assert reply.status == 200
    assert f'class="outcome {outcome}"' in reply.text
    assert f"is-{outcome}" in reply.text
    pictures = set(PICTURE.findall(reply.text))
    assert {path.rpartition("/")[2] for path in pictures} >= {"best-golden.jpg", "best-laid.jpg", "best-difference.png"}
    for path in pictures:
        picture = visitor.get(path)
        assert picture.status == 200
        assert picture.headers["content-type"] in ("image/jpeg", "image/png")
        assert picture.headers["cache-control"].startswith("private")
    assert f'value="{visitor.page.url}why/{name}"' in reply.text
    assert f'"/refused/{name}/decide"' in reply.text  # the frame is kept, and open


def test_both_languages_give_the_same_facts(station: Station) -> None:
    (name,) = kept(station, GREY)
    english, german = station.operator(), station.operator()
    german.language = "de"
    texts = [visitor.get(f"/why/{name}").text for visitor in (english, german)]
    assert '<html lang="de">' in texts[1]
    assert [text.count("<img") for text in texts] == [texts[0].count("<img")] * 2
    assert texts[0] != texts[1]


def test_needs_are_explained_where_they_differ(station: Station, tmp_path: Path) -> None:
    (name,) = kept(station, GREY)
    visitor, sentence = station.operator(), messages_of("en").text("why.needs_differ")
    assert sentence not in visitor.get(f"/why/{name}").text
    matching = tiny_matching()
    rule = msgspec.structs.replace(matching.decision, by_margin=0.1)
    matching = msgspec.structs.replace(matching, decision=rule)
    station.line.swap(write_tiny_package(tmp_path / "p.partsight", matching=matching))
    assert sentence in visitor.get(f"/why/{name}").text


def test_after_a_swap_the_screen_says_both_answers(station: Station, tmp_path: Path) -> None:
    (name,) = kept(station, "red")
    visitor = station.operator()
    before = station.line.package_id
    assert visitor.get(f"/why/{name}").text.count('class="outcome') == 1
    labels = ("blue", "cyan", "green", "magenta", "rot", "yellow")
    after = station.line.swap(write_tiny_package(tmp_path / "other.partsight", labels=labels))
    text = visitor.get(f"/why/{name}").text
    assert text.count('class="outcome recognised"') == 3  # above, then, and now
    assert "rot" in text
    assert before in text
    assert after in text
    assert visitor.get(f"/why/{name}/{before}/frame.jpg").status == 200  # a screen that is still open
    assert visitor.get(f"/why/{name}/{after}/frame.jpg").status == 200


def test_a_failed_result_shows_its_error(station: Station) -> None:
    (event,) = station.show(solid("red")[..., 0].copy())  # a grey frame, and a package of colours
    assert event.record.outcome == "failed"
    station.page.context.recent.draw()
    text = station.operator().get(f"/why/{event.record.name}").text
    assert "is-failed" in text
    assert event.record.error in html.unescape(text)


def test_pictures_of_a_package_that_nobody_has(station: Station) -> None:
    (name,) = kept(station, "red")
    visitor = station.operator()
    for path in (f"{name}/0123456789abcdef/frame.jpg", f"{name}/{station.line.package_id}/other.jpg", "x/y/frame.jpg"):
        assert visitor.get(f"/why/{path}").status == 404


def test_a_frame_that_is_gone(station: Station) -> None:
    (name,) = kept(station, "red")
    for path in station.kept.glob(f"{name}.*"):
        path.unlink()
    assert station.operator().get(f"/why/{name}").status == 404


HOSTILE = (
    "..",
    "%2e%2e",
    "%00",
    "a%00b",
    "x" * 3000,
    "%F0%9F%94%A9",
    "%ff",
    "a%0ab",
    "<script>",
    "..%5c..%5cetc",
    "%2F",
    "a%2Fb",
)


def test_hostile_names(station: Station) -> None:
    visitor = station.operator()
    for name in HOSTILE:
        for path in (f"/why/{name}", f"/why/{name}/p/frame.jpg", f"/why/n/{name}/frame.jpg", f"/why/n/p/{name}"):
            reply = visitor.get(quote(path, safe="/%"))
            assert reply.status in (303, 404)
            assert b"<script>" not in reply.body


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_pose_in_words(language: str, sign: int) -> None:
    words = ReasonWords(messages_of(language))
    pose = words.pose(PartPose(sign * 0.012, sign * 0.034, sign * 5.67, 0.03, 0.04))
    numbers = [re.findall(r"\d+[.,]\d", text) for text in pose]
    mark = {"en": ".", "de": ","}[language]
    assert numbers == [[f"1{mark}2", f"3{mark}4"], [f"5{mark}7"], [f"5{mark}0"]]
    other = words.pose(PartPose(-sign * 0.012, -sign * 0.034, -sign * 5.67, 0.03, 0.04))
    assert [one == two for one, two in zip(pose, other, strict=True)] == [False, False, True]


def test_numbers_tell_apart() -> None:
    words = ReasonWords(messages_of("de"))
    assert words.messages.against(0.504, 0.5) == ("0,504", "0,500")
    assert words.messages.against(0.8, -0.03) == ("0,80", "0,00")
    assert words.messages.against(0.5, 0.5) == ("0,50000", "0,50000")


@pytest.mark.parametrize(("tolerances", "names_the_spot"), [(0.4, False), (1.04, False), (1.06, True)])
def test_a_difference_below_the_tolerance_is_no_reason(tolerances: float, names_the_spot: bool) -> None:
    spot = Spot(5.0, 5.0, 3.0, tolerances, "upper left")
    why = SimpleNamespace(
        answer=SimpleNamespace(reason="agrees_with_none", score=0.4, threshold=0.6),
        best=SimpleNamespace(spot=spot, pose=PartPose(0.0, 0.0, 0.0, 0.0, 0.0)),
        best_label="red",
        is_refused_by_pose=False,
    )
    words = ReasonWords(messages_of("en"))
    assert (words.where(spot) in words.sentences(why)[0]) is names_the_spot  # type: ignore[arg-type]


@pytest.mark.parametrize("timestamp", [1e30, float("nan"), -1e18])
def test_a_time_that_is_none(timestamp: float) -> None:
    assert ReasonWords(messages_of("en")).time(timestamp)
