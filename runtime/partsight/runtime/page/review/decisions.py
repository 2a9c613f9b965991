"""Decisions about kept frames, from the forms of the screens: what a person may say, and what the labels are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from partsight.runtime.core import PageError, folded, is_usable, normalized
from partsight.runtime.feedback import Feedback, Verdict
from partsight.runtime.page.review.label_search import search_labels
from partsight.runtime.page.review.reviews import Decision
from partsight.runtime.page.web.messages import Messages

_MAX_LABEL_BYTES = 200  # a folder gets this name, with three letters for each that a folder's name may not have

_VERDICTS: dict[str, Verdict] = {
    "confirm": "confirmed",
    "not_taught": "not_taught",
    "discard": "discarded",
    "undo": "open",
}


@dataclass(frozen=True)
class KnownLabels:
    """Labels that a person may give a frame.

    Attributes:
        taught: Labels of the package.
        new: Labels that people gave to confirmed frames, and that the package lacks.
    """

    taught: tuple[str, ...]
    new: tuple[str, ...]

    @classmethod
    def of(cls, taught: Iterable[str], feedback: Feedback) -> "KnownLabels":
        """Return the labels of a package and of a folder."""
        taught = tuple(taught)
        known = {normalized(label) for label in taught}
        given = {frame.label for frame in feedback.frames if frame.label is not None}
        return cls(taught, tuple(sorted(label for label in given if normalized(label) not in known)))

    def search(self, text: str) -> list[str]:
        """Return the best labels for what a person typed, see `search_labels`."""
        return search_labels((*self.taught, *self.new), text, 8)

    def find(self, text: str) -> str | None:
        """Return the label that a person wrote, as the package spells it; case counts only between two labels."""
        known = (*self.taught, *self.new)
        exact = [label for label in known if normalized(label) == normalized(text)]
        alike = [label for label in known if folded(label) == folded(text)]
        return exact[0] if exact else alike[0] if len(alike) == 1 else None


def read_decision(form: Mapping[str, str], labels: KnownLabels, messages: Messages) -> Decision:
    """Return the decision of a form.

    The form has `seen`, see `Decision`, and one of: `part` with a label; `action=part` with a label in `q`;
    `action=new` with a label in `label`; or `action` with `confirm`, `not_taught`, `discard` or `undo`.

    Raises:
        PageError: the form says nothing of these, or the label cannot be used; the text is in the person's language.
    """
    action, seen = form.get("action", ""), form.get("seen", "")
    if "part" in form or action == "part":
        return Decision("confirmed", _known(form.get("part") or form.get("q", ""), labels, messages), seen)
    if action == "new":
        return Decision("confirmed", _new(form.get("label", ""), labels, messages), seen)
    if action not in _VERDICTS:
        raise PageError(messages.text("refused.no_decision"))
    return Decision(_VERDICTS[action], None, seen)


def _known(text: str, labels: KnownLabels, messages: Messages) -> str:
    text = text.strip()[:1000]
    found = labels.find(text)
    if found is not None:
        return found
    near = labels.search(text)[:3]
    if near:
        raise PageError(messages.text("refused.no_such_part_near", label=_short(text), near=", ".join(near)))
    raise PageError(messages.text("refused.no_such_part", label=_short(text)))


def _new(text: str, labels: KnownLabels, messages: Messages) -> str:
    label = normalized(text.strip())
    found = labels.find(label)
    if found is not None:
        return found
    if not is_usable(label):
        raise PageError(messages.text("refused.unusable_label", label=_short(label)))
    if len(label.encode()) > _MAX_LABEL_BYTES:
        raise PageError(messages.text("refused.long_label", most=_MAX_LABEL_BYTES))
    return label


def _short(text: str) -> str:
    return "".join(character if character.isprintable() else "\ufffd" for character in text[:80])
