"""Streams of events to browsers: a heartbeat each second, and what changed on live screens."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Send

from partsight.runtime.page.live.recent_results import PERIOD_S
from partsight.runtime.page.live.view import CameraView, LiveView

MAX_STREAMS = 16
"""Streams at a time; for one more, the oldest ends."""

SEND_S = 10.0
"""Longest wait for a browser that takes nothing; then its stream ends."""

_TICKS_OF_BEAT = round(1 / PERIOD_S)
TROUBLES_S = 2.0
"""Shortest time between two looks for troubles, for all streams."""

_LATE_S = 0.002  # after the begin of a half second, so that its pictures are due
_RETRY = b"retry: 2000\n\n"  # milliseconds until a browser connects again

Write = Callable[[bytes], Coroutine[Any, Any, None]]
"""Function that sends bytes to a browser."""

Render = Callable[[CameraView], bytes]
"""Function that renders the event of a camera; the bytes are the same for all browsers of a language."""

_log = logging.getLogger("partsight.page")


class EventStream(StreamingResponse):
    """An answer that goes on until its function returns, the browser leaves, or takes nothing for `SEND_S`.

    Attributes:
        run: The function; it gets another one that sends bytes.
    """

    media_type = "text/event-stream"

    def __init__(self, run: Callable[[Write], Coroutine[Any, Any, None]]) -> None:
        """Take the function."""
        super().__init__(())
        self.run = run

    async def stream_response(self, send: Send) -> None:
        """Send all events."""

        async def write(data: bytes) -> None:
            async with asyncio.timeout(SEND_S):
                await send({"type": "http.response.body", "body": data, "more_body": True})

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            await self.run(write)
        except TimeoutError:
            return  # the server hangs up
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@dataclass(frozen=True, eq=False)
class _Stream:
    """A stream, and what its live screen shows; None on another screen, which gets the heartbeat alone."""

    language: str
    keep: Callable[[], bool]
    render: Render | None


class LiveStreams:
    """All streams of a page. The server's event loop alone uses it.

    Nothing queues for a slow browser: a stream looks twice a second at the newest event of each camera, and sends it
    unless it has sent it before. All streams share the picture, and all of a language the bytes.

    Attributes:
        view: View that they show.
    """

    def __init__(self, view: LiveView, count_troubles: Callable[[], int] = lambda: 0) -> None:
        """Start without streams.

        Args:
            view: View that they show.
            count_troubles: Function that returns the number of troubles of the line; called in a thread of its own.
        """
        self.view = view
        self._count_troubles, self._troubles, self._count_at = count_troubles, 0, 0.0
        self._streams: dict[_Stream, None] = {}  # oldest first
        self._update: asyncio.Future[None] | None = None
        self._events: dict[tuple[str, int], bytes] = {}  # newest of each language and camera
        self._failure = ""

    def __len__(self) -> int:
        return len(self._streams)

    def open(self, language: str, keep: Callable[[], bool], render: Render | None) -> EventStream:
        """Return a stream.

        Args:
            language: Language of its screen.
            keep: Function that returns whether the session still lasts; called each second.
            render: Function for the events of cameras; None for a stream of heartbeats alone.
        """
        stream = _Stream(language, keep, render)
        return EventStream(lambda write: self._serve(stream, write))

    async def _serve(self, stream: _Stream, write: Write) -> None:
        self._streams[stream] = None
        if len(self._streams) > MAX_STREAMS:
            del self._streams[next(iter(self._streams))]
        try:
            await write(_RETRY)
            await self._send(stream, write)
        finally:
            self._streams.pop(stream, None)

    async def _send(self, stream: _Stream, write: Write) -> None:
        """Send events until the page closes, the session ends, or the stream has to make room."""
        loop, tick, sent = asyncio.get_running_loop(), 0, dict[int, bytes]()
        while not self.view.is_closed:
            if stream not in self._streams:
                return await write(event_bytes("full", {}))
            data = b""
            if tick % _TICKS_OF_BEAT == 0:
                if not stream.keep():
                    return None
                await self._look_for_troubles(loop.time())
                beat = {"ended": self.view.ended(), "now": self.view.now(), "troubles": self._troubles}
                data = event_bytes("beat", beat)
            if stream.render:
                await self._refresh()
                data += self._news(stream.language, sent)
            if data:
                await write(data)
            tick += 1
            await asyncio.sleep(PERIOD_S - loop.time() % PERIOD_S + _LATE_S)
        return None

    async def _look_for_troubles(self, now: float) -> None:
        """Count the troubles anew if it is time; other streams send the old number meanwhile."""
        if now < self._count_at:
            return
        self._count_at = now + TROUBLES_S
        try:
            self._troubles = await run_in_threadpool(self._count_troubles)
        except Exception as error:  # noqa: BLE001 (the heartbeat goes on)
            extra = {"event": "page_failed", "path": "/events"}
            _log.warning("the page cannot count the troubles of its line: %s", error, extra=extra)
            self._count_at = now + 60

    def _news(self, language: str, sent: dict[int, bytes]) -> bytes:
        """Return the events that a stream has not sent yet."""
        news = b""
        for (its_language, index), event in self._events.items():
            if its_language == language and sent.get(index) is not event:
                sent[index] = event
                news += event
        return news

    async def _refresh(self) -> None:
        """Render the events anew, once for all streams that wait."""
        if self._update is None or self._update.done():
            renders = {stream.language: stream.render for stream in self._streams if stream.render is not None}
            self._update = asyncio.ensure_future(run_in_threadpool(self._render, renders))
        await asyncio.shield(self._update)

    def _render(self, renders: Mapping[str, Render]) -> None:
        """Render the event of each camera in each language; one that did not change stays the same object."""
        try:
            views = self.view.cameras()
            fresh = {(language, view.index): render(view) for language, render in renders.items() for view in views}
        except Exception as error:  # noqa: BLE001 (the heartbeat goes on, and the log says it once)
            if str(error) != self._failure:
                extra = {"event": "page_failed", "path": "/events"}
                _log.exception("the page cannot show the results of its line: %s", error, extra=extra)
            self._failure = str(error)
            return
        self._failure, old = "", self._events
        self._events = {key: old[key] if old.get(key) == event else event for key, event in fresh.items()}


def event_bytes(name: str, data: Mapping[str, object]) -> bytes:
    """Return a server-sent event with JSON, which has no line breaks."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))
