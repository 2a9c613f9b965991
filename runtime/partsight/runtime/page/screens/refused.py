"""The screen `refused`: frames that the line kept, and what people say of them."""

import math
import re

from starlette.responses import Response

from partsight.runtime.core import PageError
from partsight.runtime.feedback import Feedback, summarize
from partsight.runtime.page.access.accounts import Role
from partsight.runtime.page.review.frame_filter import (
    ALL,
    NOT_ACCEPTED,
    PAGE_FRAMES,
    FilterChoices,
    FrameFilter,
    reason_of,
)
from partsight.runtime.page.review.golden_pictures import GoldenPictures, golden_jpeg
from partsight.runtime.page.screens.decision import decide, deciders, decision_values, labels_of, reviews_of
from partsight.runtime.page.web.call import Call, PageRoute

_INDEX = re.compile(r"\d{1,7}", re.ASCII)
_MOST_NOTED = 3  # parts that people correct often, named at the top
_MOST_FAULTS = 5


def refused(call: Call) -> Response:
    """Show kept frames, the newest first."""
    if call.context.reviews is None:
        return call.render("refused.html", {"shown": None})
    try:
        wanted = FrameFilter.parse(call.request.query_params)
    except PageError as error:
        return call.render("problem.html", {"text": str(error)}, 400)
    feedback = call.context.reviews.read()
    return call.render("refused.html", _values(call, feedback, wanted))


def labels(call: Call) -> Response:
    """Return labels that contain what a person types, as a part of the form."""
    text = call.query("q")
    values = {"found": labels_of(call).search(text), "is_empty": not text.strip()}
    return call.render("decision_labels.html", values | {"golden": GoldenPictures.of(call.context.line.recognizer)})


def thumbnail(call: Call) -> Response:
    """Return a small picture of a kept frame."""
    data = reviews_of(call).thumbnail(call.request.path_params["name"])
    return _jpeg(data, "private, max-age=600")


def golden(call: Call) -> Response:
    """Return the golden image of a class of the package that answers now; 404 if the address means another package."""
    index, package_id = call.request.path_params["index"], call.query("package")
    recognizer = call.context.line.recognizer
    if not _INDEX.fullmatch(index) or package_id not in ("", recognizer.package_id):
        return Response(status_code=404)
    return _jpeg(golden_jpeg(recognizer, int(index)), "private, max-age=3600" if package_id else "no-cache")


def _jpeg(data: bytes | None, cached: str) -> Response:
    if data is None:
        return Response(status_code=404)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": cached})


def _values(call: Call, feedback: Feedback, wanted: FrameFilter) -> dict[str, object]:
    found = wanted.of(feedback.frames)
    pages = max(1, math.ceil(len(found) / PAGE_FRAMES))
    page = min(wanted.page, pages)
    shown = found[PAGE_FRAMES * (page - 1) : PAGE_FRAMES * page]
    faults = [(_text(path.name), _text(fault)) for path, fault in feedback.faults.items()]
    return {
        **decision_values(call, None, back=wanted.url(page=page)),
        "shown": shown,
        "deciders": deciders(call, *shown),
        "wanted": wanted,
        "choices": FilterChoices.of(feedback.frames, wanted.verdict),
        "fixed_choices": {"part": ("",), "camera": ("",), "reason": (NOT_ACCEPTED, ALL)},
        "count": len(found),
        "hidden": wanted.hidden(feedback.frames),
        "page": page,
        "pages": pages,
        "often": summarize(feedback.frames).often_corrected[:_MOST_NOTED],
        "faults": faults[:_MOST_FAULTS],
        "fault_count": len(faults),
        "reason_of": reason_of,
    }


def _text(text: str) -> str:
    """Return a text that can be sent: the name of a file need not be UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/refused", refused, Role.OPERATOR),
    PageRoute("/refused/{name}/decide", decide, Role.OPERATOR, "POST"),
    PageRoute("/refused/thumb/{name}.jpg", thumbnail, Role.OPERATOR),
    PageRoute("/labels", labels, Role.OPERATOR),
    PageRoute("/golden/{index}.jpg", golden, Role.OPERATOR),
)
