"""The screen `why`: one result, and the reason for it in pictures and words."""

from dataclasses import dataclass

from starlette.responses import Response

from partsight.runtime.matching import Overlay
from partsight.runtime.page.access.accounts import Role
from partsight.runtime.page.screens.decision import decision_values
from partsight.runtime.page.web.call import Call, PageRoute
from partsight.runtime.page.why.explainer import Explained
from partsight.runtime.page.why.overlay_pictures import HEAT
from partsight.runtime.page.why.reason_words import ReasonWords
from partsight.runtime.recognition import Explanation

_ZOOMED = 4.0  # sides of a spot that its enlargement shows
_MAX_NAME = 200


@dataclass(frozen=True)
class Layers:
    """Pictures that lie over each other.

    Attributes:
        kind: `best`, `next` or `pair`: first part of the names of its files.
        label: Part of the golden image.
        overlay: The pictures' measures.
        zoom: Left, top and side of the square that shows the worst spot, in pixels.
    """

    kind: str
    label: str
    overlay: Overlay
    zoom: tuple[float, float, float]

    @classmethod
    def of(cls, kind: str, label: str, overlay: Overlay) -> "Layers":
        """Return the layers of an overlay, with a square that stays inside the picture."""
        height, width = overlay.golden.shape[:2]
        spot = overlay.spot
        side = min(_ZOOMED * spot.side, width, height)
        left, top = (
            min(max(place + 0.5 - side / 2, 0.0), size - side) for place, size in ((spot.x, width), (spot.y, height))
        )
        return cls(kind, label, overlay, (round(left, 2), round(top, 2), round(side, 2)))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.overlay.golden.shape[:2]
        return width, height


def why(call: Call) -> Response:
    """Explain a result: GET only looks, but the first look costs the time of an explanation."""
    name = call.request.path_params["name"]
    explained = call.context.explainer.explain(name) if _is_name(name) else None
    if explained is None:
        return call.render("problem.html", {"text": call.text("why.not_known")}, 404)
    return call.render("why.html", _values(call, name, explained))


def picture(call: Call) -> Response:
    """Return a picture of an explanation; the address names the package, so a browser may keep it."""
    parameters = call.request.path_params
    name, package_id = parameters["name"], parameters["package"]
    explainer = call.context.explainer
    explained = explainer.kept(name, package_id)
    if explained is None and _is_name(name) and package_id == call.context.line.package_id:
        explained = explainer.explain(name)
    data = explained.pictures.get(parameters["picture"]) if explained and explained.package_id == package_id else None
    if data is None:
        return Response(status_code=404)
    kind = "image/png" if parameters["picture"].endswith(".png") else "image/jpeg"
    return Response(data, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})


def _is_name(name: str) -> bool:
    return len(name) <= _MAX_NAME and name.isprintable()


def _values(call: Call, name: str, explained: Explained) -> dict[str, object]:
    explanation, record = explained.explanation, explained.record
    words = ReasonWords(call.messages)
    frame = call.context.reviews.find(name) if call.context.reviews else None
    now = _outcome_of(explanation)
    return {
        "name": name,
        "record": record,
        "explained": explained,
        "words": words,
        "now": now,
        "now_label": explanation.answer.label if explanation else None,
        "shown": record.outcome if record else now,
        "shown_label": _shown_label(explained),
        "second_label": _second_label(explained),
        "is_other_answer": _is_other_answer(explained),
        "sentences": words.sentences(explanation) if explanation else [],
        "layers": _layers(explanation) if explanation else [],
        "needs_differ": _needs_differ(call, explanation),
        "heat": HEAT,
        "address": str(call.request.url.replace(query="", fragment="")),
        **decision_values(call, frame, back=f"/why/{name}"),
    }


def _needs_differ(call: Call, explanation: Explanation | None) -> bool:
    """Whether frames need different agreements: the package lowers the least one for a margin or the network's lead."""
    rule = call.context.line.recognizer.decision
    return explanation is not None and explanation.best is not None and bool(rule.by_margin or rule.by_network)


def _outcome_of(explanation: Explanation | None) -> str:
    if explanation is None:
        return "failed"
    return "recognised" if explanation.answer.accepted else "unknown"


def _shown_label(explained: Explained) -> str | None:
    """Return the part that the line named, or its best candidate."""
    record, explanation = explained.record, explained.explanation
    if record is None:
        return explanation.best_label if explanation else None
    return record.label or next((candidate.label for candidate in record.top), None)


def _second_label(explained: Explained) -> str | None:
    """Return the second part if two fit, as the line said."""
    record = explained.record
    if record is None or record.reason != "two_parts_fit" or len(record.top) < 2:
        return None
    return record.top[1].label


def _is_other_answer(explained: Explained) -> bool:
    """Whether the package that explains answers otherwise than the line did."""
    record, explanation = explained.record, explained.explanation
    if record is None or explanation is None:
        return False
    return (record.outcome, record.label) != (_outcome_of(explanation), explanation.answer.label)


def _layers(explanation: Explanation) -> list[Layers]:
    overlays = (
        ("best", explanation.best_label, explanation.best),
        ("pair", explanation.best_label, explanation.pair),
        ("next", explanation.runner_up_label, explanation.runner_up),
    )
    return [Layers.of(kind, label or "", overlay) for kind, label, overlay in overlays if overlay is not None]


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/why/{name}", why, Role.OPERATOR),
    PageRoute("/why/{name}/{package}/{picture}", picture, Role.OPERATOR),
)
