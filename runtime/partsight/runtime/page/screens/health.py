"""The screen Health: whether all is well, and if not, what to do."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from starlette.responses import Response

from partsight.runtime.core import PageError
from partsight.runtime.page.access.accounts import Role
from partsight.runtime.page.health.troubles import Trouble, current_troubles
from partsight.runtime.page.health.versions import software_versions
from partsight.runtime.page.health.view import plot_camera, view_cameras
from partsight.runtime.page.web.call import Call, PageRoute

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
"""Levels from which on the log is shown, by their words in the address."""

HOURS = {"1": 1, "8": 8, "24": 24}
"""Hours that plots show, by their words in the address."""

_SHOWN_ENTRIES = 200

_T = TypeVar("_T")


def health(call: Call) -> Response:
    """Show the whole screen."""
    return call.render("health.html", {**_now(call), **_plots(call), **_log(call)})


def health_now(call: Call) -> Response:
    """Show the verdict, the cameras, the sinks and the package again."""
    return call.render("health_now.html", _now(call))


def health_plots(call: Call) -> Response:
    """Show the plots again, or those of another camera or of other hours."""
    return call.render("health_plots.html", _plots(call))


def health_log(call: Call) -> Response:
    """Show the log again, or another level of it."""
    return call.render("health_log.html", _log(call))


def _now(call: Call) -> dict[str, Any]:
    line, history, events = call.context.line, call.context.history, call.context.events
    state, counters, recognizer = history.state(), line.counters(), line.recognizer
    commissionings = recognizer.manifest.provenance.commissionings
    return {
        "troubles": current_troubles(line, history, events),
        "cameras": view_cameras(line, history),
        "expected": state.expected,
        "counters": counters,
        "recognizer": recognizer,
        "commissioned": commissionings[-1] if commissionings else None,
        "versions": software_versions(),
        "trouble_text": _trouble_text_of(call),
        "local": _local_of(call),
        "time_of": call.messages.time,
        "at": call.messages.time(time.time()),
        "n": _number_of(call),
    }


def _plots(call: Call) -> dict[str, Any]:
    names = list(call.context.line.states())
    hours = _one_of(call, "hours", HOURS, "8")
    camera = _one_of(call, "camera", {name: name for name in names}, _first_camera(call, names))
    plots = plot_camera(call.context.history, camera, time.time(), hours)
    return {"plots": plots, "names": names, "camera": camera, "hours": hours, "all_hours": HOURS, "n": _number_of(call)}


def _first_camera(call: Call, names: Sequence[str]) -> str:
    """Return the camera that people want to see first: one with a trouble, else the first of the line."""
    troubles = current_troubles(call.context.line, call.context.history, call.context.events)
    return next((trouble.name for trouble in troubles if trouble.name in names), names[0])


def _log(call: Call) -> dict[str, Any]:
    entries = call.context.events.entries(_one_of(call, "level", LEVELS, "info"))[:_SHOWN_ENTRIES]
    return {
        "entries": entries,
        "level": call.query("level", "info"),
        "levels": LEVELS,
        "time_of": call.messages.time,
        "n": _number_of(call),
    }


def _one_of(call: Call, name: str, known: Mapping[str, _T], default: str) -> _T:
    """Return the value of a parameter of the address; raises PageError if it is not among the known ones."""
    given = call.query(name, default)
    if given not in known:
        raise PageError(call.text("health.wrong_parameter", name=name, given=given, known=", ".join(known)))
    return known[given]


def _trouble_text_of(call: Call) -> Callable[[Trouble], str]:
    """Return a function that describes a trouble."""
    number = _number_of(call)

    def text(trouble: Trouble) -> str:
        is_signed = trouble.kind.startswith("exposure")
        values = {
            name: number(value, 2 if isinstance(value, float) else 0, is_signed=is_signed)
            for name, value in trouble.values.items()
        }
        return call.text(f"health.trouble_{trouble.kind}", **values)

    return text


def _local_of(call: Call) -> Callable[[str], str]:
    """Return a function that writes a time of a manifest as a local time; any other text as it is."""

    def local(text: str) -> str:
        try:
            return call.messages.time(datetime.fromisoformat(text).timestamp())
        except (ValueError, OverflowError, OSError):
            return text

    return local


def _number_of(call: Call) -> Callable[..., str]:
    """Return a function that writes numbers as the person's language does; a dash for None."""

    def number(value: float | None, digits: int = 0, *, is_signed: bool = False) -> str:
        if value is None:
            return "–"
        rounded = round(value, digits) or 0.0  # never −0
        sign = "−" if rounded < 0 else "+" if is_signed and rounded else ""
        return sign + call.messages.number(abs(rounded), digits)

    return number


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/health", health, Role.OPERATOR),
    PageRoute("/health/now", health_now, Role.OPERATOR, is_use=False),
    PageRoute("/health/plots", health_plots, Role.OPERATOR, is_use=False),
    PageRoute("/health/log", health_log, Role.OPERATOR, is_use=False),
)
