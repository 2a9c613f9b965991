"""The screen refused: what people see of kept frames, and what they say of them."""

import html
import re
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from partsight.runtime.core import PageError
from partsight.runtime.feedback import read_feedback
from partsight.runtime.page import PageSettings
from partsight.runtime.page.review import reviews
from partsight.runtime.page.review.frame_filter import FilterChoices, FrameFilter
from partsight.runtime.page.screens.decision import ACTION
from tests.runtime.feedback.kept import keep, keep_candidates
from tests.runtime.page.conftest import Station
from tests.runtime.page.visitor import Reply, Visitor

PART = {"HX_Request": "true"}
CARD = re.compile(r'data-name="([^"]+)"')
THUMBNAILS = re.compile(r'"(/refused/thumb/[^"]+)"')
GOLDEN = re.compile(r'"(/golden/[^"]+)"')


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is read again at each call, if it has changed."""
    monkeypatch.setattr(reviews, "_LEAST_PAUSE_S", 0.0)
    monkeypatch.setattr(reviews, "_REST", 0.0)


@pytest.fixture
def names(station: Station) -> list[str]:
    """Three open frames, the oldest first: the candidates of the first are red, blue and green."""
    keep_candidates(station.kept, 0, None, ("red", "blue", "green"))
    keep_candidates(station.kept, 1, None, ("red", "blue"))
    keep_candidates(station.kept, 2, "yellow", ("yellow", "green"))
    return [frame.name for frame in read_feedback(station.kept).frames]


def decide(visitor: Visitor, name: str, *, is_part: bool = True, csrf: str | None = None, **fields: str) -> Reply:
    headers = PART if is_part else {}
    return visitor.post(f"/refused/{name}/decide", {"seen": "open"} | fields, csrf, **headers)


def states(station: Station) -> list[tuple[str, str | None]]:
    return [(frame.verdict, frame.label) for frame in read_feedback(station.kept).frames]


def decisions(station: Station) -> list[tuple[str, str, str, str]]:
    """Return the audit log's decisions, the oldest first."""
    entries = reversed(station.page.context.audit.entries(action=ACTION))
    return [(entry.who, entry.object, entry.before, entry.after) for entry in entries]


def test_only_people_who_are_logged_in(station: Station, names: list[str]) -> None:
    stranger = station.stranger()
    for path in ("/refused", "/labels?q=r", "/golden/0.jpg", f"/refused/thumb/{names[0]}.jpg"):
        assert stranger.get(path).status == 303
    assert decide(stranger, names[0], action="discard", is_part=False).status == 303
    assert decide(station.operator(), names[0], action="discard", csrf="wrong").status == 403
    assert states(station)[0] == ("open", None)


def test_an_empty_folder_and_a_missing_one(station: Station) -> None:
    station.show("red")
    assert station.operator().get("/refused").status == 200
    for verdict in ("confirmed", "not_taught", "discarded"):
        assert CARD.findall(station.operator().get(f"/refused?verdict={verdict}").text) == []


def test_frames_come_newest_first_with_their_pictures(station: Station, names: list[str]) -> None:
    visitor = station.operator()
    text = visitor.get("/refused?reason=all").text
    assert CARD.findall(text) == names[::-1]
    found = THUMBNAILS.findall(text), GOLDEN.findall(text)
    assert all(found)
    for path in {*found[0], *found[1]}:
        reply = visitor.get(path.replace("&amp;", "&"))
        assert (reply.status, reply.headers["content-type"]) == (200, "image/jpeg")
        assert reply.headers["cache-control"].startswith("private")
    assert [f"/why/{name}" in text for name in names] == [True] * 3


def test_a_filter(station: Station, names: list[str]) -> None:
    visitor = station.operator()

    def found(**wanted: str) -> list[str]:
        return CARD.findall(visitor.get(f"/refused?{urlencode(wanted)}").text)

    assert found() == found(reason="not_accepted") == found(part="red") == names[1::-1]
    assert found(reason="recognised") == names[2:]
    assert found(reason="all", camera="left") == names[::-1]
    assert found(camera="<b>") == found(part="nobody") == found(reason="two_parts_fit") == []
    assert found(page="77") == names[1::-1]  # the last page that there is


def test_accepted_samples_are_hidden_and_counted(station: Station, names: list[str]) -> None:
    visitor = station.operator()
    hidden = re.compile(r'class="hidden-frames">[^<]*\b(\d+)\b[^<]*<a href="([^"]+)"')
    text = visitor.get("/refused?camera=left").text
    assert hidden.findall(text) == [("1", "/refused?verdict=open&amp;camera=left&amp;reason=all")]
    assert '<span class="count">3</span>' in text  # a tab counts them, too
    assert hidden.findall(visitor.get("/refused?camera=left&reason=all").text) == []
    assert hidden.findall(visitor.get("/refused?part=red").text) == []


def test_only_an_accepted_answer_is_offered_as_the_first_choice(station: Station, names: list[str]) -> None:
    visitor = station.operator()
    confirm = re.compile(r'<button( class="second")? name="action" value="confirm"')
    assert confirm.findall(visitor.get("/refused").text) == [' class="second"'] * 2
    assert confirm.findall(visitor.get("/refused?reason=recognised").text) == [""]
    texts = [visitor.get(path).text for path in ("/refused", "/refused?reason=recognised")]
    assert [text.count('class="nearest"') for text in texts] == [2, 0]


def test_a_filter_that_no_screen_offers(station: Station) -> None:
    for query in ("verdict=x", "reason=%3Cscript%3E", "page=-1", "page=x", "page=%F9", "page=99999999"):
        reply = station.operator().get(f"/refused?{query}")
        assert reply.status == 400
        assert b"<script>" not in reply.body


def test_many_frames_come_in_pages(station: Station) -> None:
    keep(station.kept, *[None] * 50)
    visitor = station.operator()
    pages = [CARD.findall(visitor.get(f"/refused?page={page}").text) for page in (1, 2, 3)]
    assert [len(page) for page in pages] == [24, 24, 2]
    assert len({name for page in pages for name in page}) == 50


DECISIONS: tuple[tuple[dict[str, str], tuple[str, str | None]], ...] = (
    ({"action": "confirm"}, ("confirmed", "red")),
    ({"part": "blue"}, ("confirmed", "blue")),
    ({"action": "part", "q": "GREEN"}, ("confirmed", "green")),
    ({"action": "new", "label": " new <b>part</b> "}, ("confirmed", "new <b>part</b>")),
    ({"action": "new", "label": "Red"}, ("confirmed", "red")),
    ({"action": "not_taught"}, ("not_taught", None)),
    ({"action": "discard"}, ("discarded", None)),
)


def test_decisions_and_back(station: Station, names: list[str]) -> None:
    visitor, name = station.operator(), names[0]
    for fields, state in DECISIONS:
        reply = decide(visitor, name, **fields)
        assert reply.status == 200
        assert f'data-state="{state[0]}"' in reply.text
        assert "<html" not in reply.text
        assert states(station)[0] == state
        word = f"confirmed {state[1]}" if state[1] else state[0]
        assert decisions(station)[-1] == ("olga", name, "open", word)
        assert name in CARD.findall(visitor.get(f"/refused?verdict={state[0]}").text)
        back = decide(visitor, name, seen=word, action="undo")
        assert (back.status, states(station)[0]) == (200, ("open", None))
        assert 'data-state="open"' in back.text
        assert decisions(station)[-1] == ("olga", name, word, "open")


UNUSABLE: tuple[dict[str, str], ...] = (
    {},
    {"action": "explode"},
    {"part": "unknown to all"},
    {"part": ""},
    {"action": "part"},
    {"action": "part", "q": "re"},
    {"action": "new"},
    {"action": "new", "label": "  "},
    {"action": "new", "label": "a\nb"},
    {"action": "new", "label": "\u202e"},
    {"action": "new", "label": "x" * 201},
    {"action": "new", "label": "\N{HEBREW LETTER ALEF}" * 250},
    {"action": "new", "label": ":" * 200},
    {"action": "confirm", "seen": "discarded"},
)


def test_forms_that_cannot_be_kept(station: Station, names: list[str]) -> None:
    visitor = station.operator()
    for fields in UNUSABLE:
        for is_part in (True, False):
            reply = decide(visitor, names[0], is_part=is_part, **fields)
            assert reply.status == 409
            assert ("<html" in reply.text) is not is_part
            assert 'role="alert"' in reply.text
    assert states(station)[0] == ("open", None)
    moves = decisions(station)
    assert [move[2:] for move in moves[1::2]] == [move[:1:-1] for move in moves[::2]]  # each is logged back, if at all


@pytest.mark.parametrize(("typed", "found"), [("re", ["red", "green"]), ("<b>", [])])
def test_a_label_that_is_none_stays_in_the_open_form(
    station: Station, names: list[str], typed: str, found: list[str]
) -> None:
    text = decide(station.operator(), names[0], action="part", q=typed).text
    assert '<details class="other" open>' in text
    assert f'value="{html.escape(typed)}"' in text
    assert re.findall(r'name="part" value="([^"]+)"', text) == found


def test_two_people_decide_about_one_frame(station: Station, names: list[str]) -> None:
    decide(station.engineer(), names[0], action="discard")
    reply = decide(station.operator(), names[0], action="confirm")
    assert reply.status == 409
    assert "emil" in reply.text
    assert 'data-state="discarded"' in reply.text
    assert states(station)[0] == ("discarded", None)
    assert len(decisions(station)) == 1


def test_a_frame_that_the_sink_has_removed(station: Station, names: list[str]) -> None:
    visitor = station.operator()
    assert names[0] in CARD.findall(visitor.get("/refused").text)
    for path in station.kept.glob(f"{names[0]}.*"):
        path.unlink()
    reply = decide(visitor, names[0], action="confirm")
    assert (reply.status, decisions(station)) == (409, [])
    assert 'data-state="gone"' in reply.text
    assert visitor.get(f"/refused/thumb/{names[0]}.jpg").status == 404


def test_without_scripts_a_browser_goes_back_but_to_no_other_site(station: Station, names: list[str]) -> None:
    others = dict.fromkeys(
        ("https://example.org", "//example.org", "/refused\r\nX: y", "/\\example.org", ""), "/refused"
    )
    visitor = station.operator()
    for back, place in {"/refused?page=2": "/refused?page=2", "/why/name": "/why/name", **others}.items():
        reply = decide(visitor, names[0], action="confirm", back=back, is_part=False)
        assert (reply.status, reply.headers["location"]) == (303, place)
        decide(visitor, names[0], seen="confirmed red", action="undo")


def test_labels(station: Station, names: list[str]) -> None:
    visitor = station.operator()

    def found(text: str) -> list[str]:
        return re.findall(r'name="part" value="([^"]+)"', visitor.get(f"/labels?{urlencode({'q': text})}", **PART).text)

    assert found("E") == ["red", "blue", "green", "yellow", "magenta"]
    assert found("nothing") == found("") == []
    decide(visitor, names[0], action="new", label="reed switch")
    assert found("ree") == ["reed switch", "green"]
    assert decide(visitor, names[1], part="reed switch").status == 200
    assert states(station)[:2] == [("confirmed", "reed switch")] * 2


def test_a_hostile_search(station: Station) -> None:
    for text in ("<script>alert(1)</script>", "x" * 5000, "\x00", "\ud800", "[(*", "%"):
        reply = station.operator().get(f"/labels?q={quote(text, safe='', errors='replace')}", **PART)
        assert reply.status == 200
        assert b"<script>" not in reply.body


def test_golden_images_belong_to_a_package(station: Station) -> None:
    visitor = station.operator()
    assert visitor.get("/golden/5.jpg").status == 200
    assert visitor.get(f"/golden/5.jpg?package={station.line.package_id}").status == 200
    for path in ("6.jpg", "-1.jpg", "x.jpg", "%D9%A1.jpg", "9" * 400 + ".jpg", "0.jpg?package=other", "..%2f0.jpg"):
        assert visitor.get(f"/golden/{path}").status == 404


def test_hostile_names(station: Station, names: list[str]) -> None:
    visitor = station.operator()
    for name in (
        "..",
        "%2e%2e",
        "%00",
        "x" * 3000,
        "%ff",
        "%0a",
        "<script>",
        f"..%2f{names[0]}",
        f"{names[0]}%00",
        "%5c",
    ):
        path = quote(name, safe="%")
        assert visitor.get(f"/refused/thumb/{path}.jpg").status == 404
        reply = visitor.post(f"/refused/{path}/decide", {"seen": "open", "action": "discard"})
        assert reply.status in (404, 409)
        assert b"<script>" not in reply.body
    assert states(station)[0] == ("open", None)


def test_a_part_that_people_correct_often_is_named(station: Station) -> None:
    keep(station.kept, *[None] * 3)
    visitor = station.operator()
    before = visitor.get("/refused").text.count("M8x40")
    for frame in read_feedback(station.kept).frames:
        assert decide(visitor, frame.name, part="red").status == 200
    assert before > 0
    text = visitor.get("/refused").text
    assert CARD.findall(text) == []
    assert "<bdi>M8x40</bdi>" in text
    assert "<bdi>red</bdi>" in text


def test_files_that_cannot_be_shown_are_named(station: Station, names: list[str]) -> None:
    (station.kept / "<b>.png").write_bytes(b"")
    (station.kept / "b\udcff.png").write_bytes((station.kept / f"{names[0]}.png").read_bytes())
    text = station.operator().get("/refused?reason=all").text
    assert "&lt;b&gt;.png" in text
    assert "b\\udcff.png" in text
    assert len(CARD.findall(text)) == 3


def test_counts_of_a_filter(tmp_path: Path) -> None:
    frames = keep(tmp_path, None, "M8x41")
    choices = FilterChoices.of(frames, "open")
    assert choices.parts == {"M8x40": 1, "M8x41": 1}
    assert choices.verdicts == {"open": 2, "confirmed": 0, "not_taught": 0, "discarded": 0}
    wanted = FrameFilter.parse({"part": "a&b=c", "page": "3"})
    assert wanted.url(page=2) == "/refused?verdict=open&part=a%26b%3Dc&page=2"
    assert "page" not in wanted.url(camera="left")
    with pytest.raises(PageError):
        FrameFilter.parse({"verdict": "all"})


class TestWithoutFeedback:
    """A page that keeps no frames."""

    @pytest.fixture
    def page_settings(self, tmp_path: Path) -> PageSettings:
        return PageSettings(port=0, data=str(tmp_path / "data"))

    def test_the_screen_says_which_option_to_give(self, station: Station) -> None:
        reply = station.operator().get("/refused")
        assert reply.status == 200
        assert "feedback=" in reply.text

    def test_nothing_can_be_decided(self, station: Station) -> None:
        visitor = station.operator()
        assert decide(visitor, "name", action="discard").status == 409
        assert visitor.get("/refused/thumb/name.jpg").status == 409
        assert visitor.get("/labels?q=r").status == 409
