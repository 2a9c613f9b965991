"""The screen `live`: what each camera saw last, and the streams that keep it up to date."""

from collections.abc import Mapping
from datetime import datetime

from starlette.responses import Response

from partsight.runtime.page.access.accounts import Role
from partsight.runtime.page.live.picture import PICTURE_HW
from partsight.runtime.page.live.streams import event_bytes
from partsight.runtime.page.live.view import CameraView
from partsight.runtime.page.web.call import Call, PageRoute
from partsight.runtime.sinks import Record


def live(call: Call) -> Response:
    """Return the whole screen."""
    views = call.context.streams.view.cameras()
    return call.render("live.html", {"views": views, **_helpers(call)})


def live_card(call: Call) -> Response:
    """Return the card of one camera: for a browser that missed some of its events."""
    text, views = call.request.path_params["camera"], call.context.streams.view.cameras()
    if not (text.isascii() and text.isdigit() and len(text) < 4 and int(text) < len(views)):
        return Response(status_code=404)
    return call.render("live_card.html", {"view": views[int(text)], **_helpers(call)})


async def picture(call: Call) -> Response:
    """Return the picture of a result. A result never gets another one, so browsers keep it."""
    result = call.context.recent.find(call.request.path_params["name"])
    if result is None or not result.picture:
        return Response(status_code=404)
    headers = {"Cache-Control": "private, max-age=86400, immutable"}
    return Response(result.picture, media_type="image/jpeg", headers=headers)


async def events(call: Call) -> Response:
    """Return a stream of events: the heartbeat, and with `?live=1` the changes of the live screen."""
    is_live = call.query("live") == "1"
    token = call.token
    # The live screen of an operator keeps its session awake: a display on the wall must not be logged out. That of an
    # engineer or an admin does not: they may change the line, and leave the screen open.
    is_use = is_live and call.role == Role.OPERATOR
    return call.context.streams.open(
        call.messages.language,
        lambda: call.context.sessions.find(token, is_use=is_use) is not None,
        (lambda view: _event(call, view)) if is_live else None,
    )


def _event(call: Call, view: CameraView) -> bytes:
    """Return the event of a camera; it depends on the language, and on no session."""
    result, values = view.newest, {"view": view, **_helpers(call)}
    event = {
        "camera": view.index,
        "facts": bytes(call.render("live_facts.html", values).body).decode(),
        "number": result.number if result else 0,
    }
    if result is not None:
        event |= {
            "name": result.record.name,
            "picture": bool(result.picture),
            "golden": result.has_golden,
            "alt": in_short(call, result.record),
            "thumb": bytes(call.render("live_thumb.html", values | {"result": result}).body).decode(),
        }
    return event_bytes("card", event)


def _helpers(call: Call) -> Mapping[str, object]:
    """Return the functions that the templates call."""

    return {
        "number": call.messages.number,
        "clock": lambda time: f"{datetime.fromtimestamp(time):%H:%M:%S}",
        "short": lambda result: in_short(call, result.record),
        "pair": call.messages.against,
        "bar": bar_of,
        "picture_hw": PICTURE_HW,
    }


def bar_of(value: float) -> float:
    """Return the place of a score on the bar, 0 to 100; scores below 0 stand at its begin."""
    return round(100 * min(1.0, max(0.0, value)), 2)


def in_short(call: Call, record: Record) -> str:
    """Return a result in a few words, such as "accepted: ABC-1, 12:03:41"."""
    outcome = call.text("common.failed_frame" if record.outcome == "failed" else f"common.{record.outcome}")
    time = f"{datetime.fromtimestamp(record.timestamp):%H:%M:%S}"
    return f"{outcome}: {record.label}, {time}" if record.label else f"{outcome}, {time}"


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/", live, Role.OPERATOR),
    PageRoute("/live/{camera}", live_card, Role.OPERATOR, is_use=False),
    PageRoute("/picture/{name}.jpg", picture, Role.OPERATOR, is_stream=True, is_use=False),
    PageRoute("/events", events, Role.OPERATOR, is_stream=True, is_use=False),
)
