"""The live screen, its pictures and its streams of events."""

import asyncio
import http.client
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jinja2 import Environment, PackageLoader

from partsight.runtime import Recognizer
from partsight.runtime.line import CameraCounters
from partsight.runtime.page.live import streams as live_streams
from partsight.runtime.page.live.recent_results import SHOWN, RecentResults
from partsight.runtime.page.live.shift import ShiftCounters
from partsight.runtime.page.live.streams import MAX_STREAMS, EventStream, LiveStreams, event_bytes
from partsight.runtime.page.live.view import LiveView
from partsight.runtime.sinks import FrameEvent
from tests.runtime.page.conftest import Station
from tests.runtime.page.live_line import FakeLine
from tests.runtime.page.visitor import Visitor
from tests.tiny import ONE_THREAD, solid, tiny_manifest, tiny_matching, write_tiny_package
from tests.waiting import HANG_S, wait_until

HOSTILE = ["-1", "2", "00002", "x", "٣", "1.0", "%00", "9" * 400]


class Stream:
    """A browser's stream of events."""

    def __init__(self, visitor: Visitor, path: str = "/events?live=1") -> None:
        self.connection = http.client.HTTPConnection(
            visitor.address.hostname or "", visitor.address.port, timeout=HANG_S
        )
        self.connection.request("GET", path, headers={"Cookie": f"{visitor.cookie}={visitor.token}"})
        self.response = self.connection.getresponse()

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        name = ""
        for line in self.response:
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                yield name, json.loads(value)

    def next(self, name: str) -> dict[str, Any]:
        return next(data for its_name, data in self.events() if its_name == name)

    def card(self, number: int, camera: int = 0) -> dict[str, Any]:
        """Wait for the event of a camera that shows at least this result."""
        return next(
            data
            for name, data in self.events()
            if name == "card" and data["camera"] == camera and data["number"] >= number
        )


@contextmanager
def watching(visitor: Visitor, path: str = "/events?live=1") -> Iterator[Stream]:
    stream = Stream(visitor, path)
    try:
        yield stream
    finally:
        stream.connection.close()


def shown(station: Station, camera: str = "left") -> list[str]:
    return [result.record.name for result in station.page.context.recent.shown(camera)]


def see(station: Station, *frames: str | tuple[int, int, int], camera: str = "left") -> list[FrameEvent]:
    """Let a camera see frames, one after the other is drawn."""
    events = []
    for frame in frames:
        events += station.show(frame, camera=camera)
        wait_until(partial(is_shown, station, events[-1].record.name, camera))
    return events


def is_shown(station: Station, name: str, camera: str) -> bool:
    """Look as a browser does, which draws the pictures that are due."""
    return station.operator().get("/").status == 200 and name in shown(station, camera)


def test_the_screen_waits_for_the_first_frame(station: Station) -> None:
    reply = station.operator().get("/")
    assert reply.status == 200
    assert reply.text.count('data-number="0"') == 2
    assert "/picture/" not in reply.text


def test_the_screen_shows_each_camera(station: Station) -> None:
    (left,), (right,) = see(station, "red"), see(station, (0, 0, 0), camera="right")
    text = station.operator().get("/").text
    assert "<bdi>red</bdi>" in text
    assert [f"/why/{event.record.name}" in text for event in (left, right)] == [True, True]
    for name in ("verdict recognised", "verdict unknown", "bar-mark"):
        assert name in text
    wait_until(lambda: 'data-number="1"' in station.operator().get("/live/1").text)


def test_german(station: Station) -> None:
    see(station, "red")
    visitor = Visitor(station.page, "olga", language="de")
    assert re.search(r"<b>[01],\d\d</b>", visitor.get("/").text)
    assert not re.search(r"<b>[01]\.\d\d</b>", visitor.get("/").text)


def test_a_picture_is_kept_by_browsers(station: Station) -> None:
    (event,) = see(station, "red")
    reply = station.operator().get(f"/picture/{event.record.name}.jpg")
    assert (reply.status, reply.headers["content-type"]) == (200, "image/jpeg")
    assert reply.body[:2] == b"\xff\xd8"
    assert "immutable" in reply.headers["cache-control"]
    assert "private" in reply.headers["cache-control"]


@pytest.mark.parametrize("name", ["nothing", "%00", "..%2f..%2fetc", "x" * 3000])
def test_a_picture_that_is_not_there(station: Station, name: str) -> None:
    assert station.operator().get(f"/picture/{name}.jpg").status == 404


@pytest.mark.parametrize("camera", HOSTILE)
def test_a_card_that_is_not_there(station: Station, camera: str) -> None:
    path = f"/live/{camera}" if camera.isascii() else "/live/%D9%A3"
    assert station.operator().get(path).status == 404


@pytest.mark.parametrize("path", ["/", "/live/0", "/picture/x.jpg", "/events", "/events?live=1"])
def test_strangers_see_nothing(station: Station, path: str) -> None:
    assert station.stranger().get(path, Accept="text/event-stream").status == 401


def test_a_stream_follows_the_line(station: Station) -> None:
    with watching(station.operator()) as stream:
        assert stream.next("beat")["ended"] is None
        (event,) = station.show("red")
        card = stream.card(1)
        assert (card["name"], card["picture"], card["golden"]) == (event.record.name, True, True)
        assert "<bdi>red</bdi>" in card["facts"]
        assert f"/why/{event.record.name}" in card["thumb"]
        station.show((0, 0, 0))
        assert "verdict unknown" in stream.card(2)["facts"]
        station.show("blue", camera="right")
        assert "<bdi>blue</bdi>" in stream.card(1, camera=1)["facts"]


def test_a_stream_of_another_screen_has_heartbeats_alone(station: Station) -> None:
    with watching(station.operator(), "/events") as stream:
        station.show("red")
        events = stream.events()
        assert {next(events)[0] for _ in range(3)} == {"beat"}
    assert shown(station) == []


def test_browsers_share_the_events_of_a_language(station: Station) -> None:
    with ExitStack() as stack:
        streams = [stack.enter_context(watching(station.operator())) for _ in range(3)]
        station.show("red")
        assert len({stream.card(1)["facts"] for stream in streams}) == 1
    wait_until(lambda: len(station.page.context.streams) == 0)


def test_the_oldest_stream_makes_room(station: Station) -> None:
    visitor = station.operator()
    with ExitStack() as stack:
        first, *others = streams = [stack.enter_context(watching(visitor, "/events")) for _ in range(MAX_STREAMS)]
        assert [stream.next("beat")["ended"] for stream in streams] == [None] * MAX_STREAMS
        stack.enter_context(watching(visitor, "/events")).next("beat")
        assert first.next("full") == {}
        assert first.response.read().strip() == b""
        assert others[0].next("beat")["ended"] is None


def test_a_stream_ends_with_its_session(station: Station) -> None:
    visitor = station.operator()
    with watching(visitor) as stream:
        stream.next("beat")
        station.page.context.sessions.end(visitor.token)
        stream.response.read()
    assert visitor.get("/live/0", Accept="text/plain").status == 401


@pytest.mark.parametrize(
    ("role", "path", "keeps_awake"),
    [("operator", "/events?live=1", True), ("operator", "/events", False), ("engineer", "/events?live=1", False)],
)
def test_the_live_screen_of_an_operator_keeps_its_session_awake(
    station: Station, role: str, path: str, keeps_awake: bool
) -> None:
    visitor: Visitor = getattr(station, role)()

    def used() -> float:
        session = station.page.context.sessions.find(visitor.token, is_use=False)
        assert session is not None
        return session.used

    before = used()
    with watching(visitor, path) as stream:
        stream.next("beat")
        stream.next("beat")
        assert (used() > before) is keeps_awake


def test_the_heartbeat_counts_troubles(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_streams, "TROUBLES_S", 0.0)
    wait_until(lambda: set(station.line.states().values()) == {"open"})
    with watching(station.operator(), "/events") as stream:
        assert stream.next("beat")["troubles"] == 0
        extra = {"event": "nothing_recognised", "camera": "left"}
        logging.getLogger("partsight.line").warning("it is dark", extra=extra)
        next(data for name, data in stream.events() if data.get("troubles") == 1)


def test_all_streams_share_one_look_for_troubles() -> None:
    counts: list[int] = []

    def count() -> int:
        counts.append(1)
        return len(counts)

    line = FakeLine(None)  # type: ignore[arg-type]
    recent = RecentResults(line.as_line, clock=line.clock)
    view = LiveView(line.as_line, recent, ShiftCounters(line.as_line, (0,), clock=line.clock), clock=line.clock)
    streams = LiveStreams(view, count)
    written: list[bytes] = []

    async def write(data: bytes) -> None:
        written.append(data)
        if len(written) == 4:
            recent.close()

    async def both() -> None:
        await asyncio.gather(*(streams.open("en", lambda: True, None).run(write) for _ in range(2)))

    asyncio.run(both())
    assert len(counts) == 1
    assert any(b'"troubles":1' in data for data in written)


def test_troubles_that_cannot_be_counted_leave_the_heartbeat(caplog: pytest.LogCaptureFixture) -> None:
    line = FakeLine(None)  # type: ignore[arg-type]
    recent = RecentResults(line.as_line, clock=line.clock)
    view = LiveView(line.as_line, recent, ShiftCounters(line.as_line, (0,), clock=line.clock), clock=line.clock)
    written: list[bytes] = []

    async def write(data: bytes) -> None:
        written.append(data)
        if b"event: beat" in data:
            recent.close()

    asyncio.run(LiveStreams(view, lambda: 1 // 0).open("en", lambda: True, None).run(write))
    assert b'"troubles":0' in written[-1]
    assert [record.event for record in caplog.records if hasattr(record, "event")] == ["page_failed"]


def test_a_card_counts_since_the_swap(station: Station, tmp_path: Path) -> None:
    see(station, "red")
    assert "since-swap" not in station.operator().get("/live/0").text
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.4)
    station.line.swap(write_tiny_package(tmp_path / "other.partsight", matching=tiny_matching(), decision=decision))
    assert "since-swap" in station.operator().get("/live/0").text  # and no frame yet
    station.show("red", (0, 0, 0))
    card = station.operator().get("/live/0").text
    (shown,) = re.findall(r'"since-swap">([^<]*)<', card)
    assert re.findall(r"\d+\.\d %|\d+ frames", shown) == ["50.0 %", "2 frames"]
    assert "since-swap" in station.operator().get("/live/1").text


def test_a_label_breaks_at_its_marks_alone() -> None:
    text = Environment(loader=PackageLoader("partsight.runtime.page", "templates"), autoescape=True).from_string(
        '{% from "decision_label.html" import broken %}{{ broken(label) }}'
    )
    assert text.render(label="A_B-1.2<x_") == "A_<wbr>B-<wbr>1.<wbr>2&lt;x_"


def test_the_heartbeat_says_when_the_line_ended(station: Station) -> None:
    (event,) = station.show("red")
    with watching(station.operator()) as stream:
        assert stream.next("beat")["ended"] is None
        station.line.stop()
        station.line.wait()
        ended = (data["ended"] for name, data in stream.events() if name == "beat" and data["ended"])
        first = next(ended)
        assert first >= event.record.timestamp
        assert next(ended) == first


def test_a_page_that_closes_ends_its_streams(station: Station, caplog: pytest.LogCaptureFixture) -> None:
    with watching(station.operator()) as stream:
        stream.next("beat")
        station.page.close()
        assert b"event: full" not in stream.response.read()
    assert [
        record.getMessage() for record in caplog.records if record.name == "uvicorn.error" and record.levelno > 30
    ] == []


def test_a_browser_that_takes_nothing_loses_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_streams, "SEND_S", 0.01)
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)
        if message.get("body"):
            await asyncio.Event().wait()

    asyncio.run(EventStream(lambda write: write(b"x")).stream_response(send))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


def test_a_slow_browser_gets_the_newest_alone(matching_package: Path) -> None:
    with Recognizer(matching_package, batch_size=1, engine=ONE_THREAD) as recognizer:
        line = FakeLine(recognizer)
        streams, recent = streams_of(line)
        numbers: list[int] = []

        async def write(data: bytes) -> None:
            numbers.extend(int(number) for number in re.findall(rb'"number":(\d+)', data))
            for _ in range(5):  # while this browser takes its time, another one looks
                line.publish(solid("red"))
                line.now += 1.0
                recent.draw()
            if len(numbers) == 3:
                recent.close()

        stream = streams.open("en", lambda: True, lambda view: event_bytes("card", {"number": newest(view)}))
        asyncio.run(stream.run(write))
    assert numbers == [5, 10, 15]


def test_a_fault_of_one_picture_leaves_the_heartbeat(caplog: pytest.LogCaptureFixture) -> None:
    line = FakeLine(None)  # type: ignore[arg-type]
    streams, recent = streams_of(line)
    beats = []

    async def write(data: bytes) -> None:
        beats.append(b"event: beat" in data)
        if len(beats) == 4:
            recent.close()

    def broken(_: object) -> bytes:
        raise ValueError("broken")

    asyncio.run(streams.open("en", lambda: True, broken).run(write))
    assert any(beats[1:])
    assert [record.event for record in caplog.records if hasattr(record, "event")] == ["page_failed"]


def test_a_day_leaves_memory_flat(matching_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of 100,000 results and five browsers, with a clock that goes fast."""
    halves, per_half, real_sleep, sizes = 1000, 100, asyncio.sleep, []
    with Recognizer(matching_package, batch_size=1, engine=ONE_THREAD) as recognizer:
        line = FakeLine(recognizer, {"left": CameraCounters(), "right": CameraCounters()})
        streams, recent = streams_of(line)
        frames = [solid(colour) for colour in ("red", "blue", "green")]

        async def write(_: bytes) -> None:
            return None

        async def sleep(seconds: float) -> None:
            await real_sleep(0 if seconds < 1 else seconds)

        async def day() -> None:
            opened = [
                streams.open(language, lambda: True, lambda view: event_bytes("card", {"number": newest(view)}))
                for language in ("en", "de", "en", "de", "en")
            ]
            tasks = [asyncio.create_task(stream.run(write)) for stream in opened]
            for half in range(halves):
                for number in range(per_half):
                    line.publish(frames[number % 3], ("recognised", "unknown")[number % 2], ("left", "right")[half % 2])
                line.now += 86_400 / halves
                seen = recent.shown(("left", "right")[half % 2])[:1]
                while recent.shown(("left", "right")[half % 2])[:1] == seen:
                    await real_sleep(0.0005)
                if half in {200, halves - 1}:
                    sizes.append(resident_bytes())
            recent.close()
            await asyncio.gather(*tasks)

        monkeypatch.setattr(asyncio, "sleep", sleep)
        asyncio.run(day())
    assert line.sequence + 1 == halves * per_half
    assert len(recent.shown("left")) == SHOWN
    assert sizes[1] - sizes[0] < 8 * 2**20


def streams_of(line: FakeLine) -> tuple[LiveStreams, RecentResults]:
    recent = RecentResults(line.as_line, clock=line.clock)
    shift = ShiftCounters(line.as_line, (0,), clock=line.clock, monotonic=line.clock)
    return LiveStreams(LiveView(line.as_line, recent, shift, clock=line.clock)), recent


def newest(view: Any) -> int:
    return view.newest.number if view.newest else 0


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
