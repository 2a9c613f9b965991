"""The decision about one kept frame: the part of the screens `refused` and `why` where a person says what it shows."""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from partsight.runtime.core import PageError, PartsightError
from partsight.runtime.feedback import KeptFrame
from partsight.runtime.page.access.audit import AuditEntry
from partsight.runtime.page.review.decisions import KnownLabels, read_decision
from partsight.runtime.page.review.frame_filter import is_accepted
from partsight.runtime.page.review.golden_pictures import GoldenPictures
from partsight.runtime.page.review.reviews import AlreadyDecidedError, FrameGoneError, Reviews, state_of
from partsight.runtime.page.web.call import Call
from partsight.runtime.page.why.reason_words import ReasonWords, isolated

ACTION = "frame_decided"
"""Name of a decision in the audit log."""

_MOST_ENTRIES = 1000  # decisions in the audit log, in which the screen looks for the person who decided
_CANDIDATES = 4
_MAX_TYPED = 1000  # characters


@dataclass(frozen=True)
class Decider:
    """Who decided about a frame, and when, in seconds since 1970."""

    who: str
    time: float


def decision_values(call: Call, frame: KeptFrame | None, back: str, note: str = "") -> dict[str, object]:
    """Return the values of the template `decision.html`.

    Args:
        call: The call.
        frame: The frame; None if the folder does not hold it.
        back: Address to which a browser without scripts returns after a decision.
        note: Sentence that a person must read first; empty for none.
    """
    return {
        "frame": frame,
        "note": note,
        "back": back,
        "state_of": state_of,
        "golden": GoldenPictures.of(call.context.line.recognizer),
        "words": ReasonWords(call.messages),
        "deciders": deciders(call, frame),
        "others": other_candidates,
        "is_accepted": is_accepted,
        "typed": "",
    }


def other_candidates(frame: KeptFrame) -> list[str]:
    """Return the labels of the candidates after the first."""
    labels = [candidate.label for candidate in frame.record.top] if frame.record else []
    return [label for label in labels if label != frame.answer][:_CANDIDATES]


def deciders(call: Call, *frames: KeptFrame | None) -> Mapping[str, Decider]:
    """Return who decided last about frames, by name, as far as the last entries of the audit log say."""
    names = {frame.name for frame in frames if frame is not None and frame.verdict != "open"}
    return _last(call.context.audit.entries(_MOST_ENTRIES, action=ACTION), names) if names else {}


def _last(entries: list[AuditEntry], names: set[str]) -> dict[str, Decider]:
    ours = [entry for entry in entries if entry.object in names]
    return {entry.object: Decider(entry.who, entry.time) for entry in reversed(ours)}


def reviews_of(call: Call) -> Reviews:
    """Return the kept frames; raises PageError if the line keeps none."""
    if call.context.reviews is None:
        raise PageError(call.text("refused.keeps_none"))
    return call.context.reviews


def labels_of(call: Call) -> KnownLabels:
    """Return the labels that a person may give a frame."""
    return KnownLabels.of(call.context.line.recognizer.labels, reviews_of(call).read())


def decide(call: Call) -> Response:
    """Keep a decision: move the frame to its place, and show the decision."""
    reviews, name = reviews_of(call), call.request.path_params["name"]

    def log(before: str, after: str) -> None:
        call.audit(ACTION, name, before, after)

    try:
        frame: KeptFrame | None = reviews.decide(name, read_decision(call.form, labels_of(call), call.messages), log)
    except AlreadyDecidedError as error:
        return _refused(call, error.frame, _who_decided(call, error.frame))
    except FrameGoneError:
        return _refused(call, None, call.text("refused.gone"))
    except PartsightError as error:
        return _refused(call, reviews.find(name), str(error))
    if call.is_part:
        return call.render("decision.html", decision_values(call, frame, _back(call)))
    return call.go_to(_back(call))


def _refused(call: Call, frame: KeptFrame | None, text: str) -> Response:
    if call.is_part:
        return call.render("decision.html", decision_values(call, frame, _back(call), text) | _typed(call), 409)
    return call.render("problem.html", {"text": text}, 409)


def _typed(call: Call) -> dict[str, object]:
    """Return what a person typed as another part, and the labels that may be meant: the form opens with them."""
    typed = call.form.get("q", "").strip()[:_MAX_TYPED]
    if call.form.get("action") != "part" or not typed:
        return {}
    return {"typed": typed, "found": labels_of(call).search(typed), "is_empty": False}


def _who_decided(call: Call, frame: KeptFrame) -> str:
    verdict = call.text(f"refused.is_{frame.verdict}", label=isolated(frame.label or ""))
    decider = _last(call.context.audit.entries(_MOST_ENTRIES, action=ACTION), {frame.name}).get(frame.name)
    if decider is None:
        return call.text("refused.decided_elsewhere", verdict=verdict)
    time = ReasonWords(call.messages).time(decider.time)
    return call.text("refused.decided_by", who=isolated(decider.who), time=time, verdict=verdict)


def _back(call: Call) -> str:
    """Return the screen from which a form came; forms name only screens of this page."""
    back = call.form.get("back", "")
    return back if back.startswith(("/refused", "/why/")) and back.isprintable() and "\\" not in back else "/refused"
