"""Labels that a person may name in a review."""

import difflib
from dataclasses import dataclass
from pathlib import Path

from partsight.runtime.core import FeedbackError, folded, normalized
from partsight.runtime.feedback import Feedback
from partsight.runtime.package import ModelPackage


@dataclass(frozen=True)
class Labels:
    """Labels that a person may name.

    Attributes:
        known: The labels, by their form NFC.
        source: Where they stand, for messages.
        remedy: How a person finds the label that is missing.
    """

    known: dict[str, str]
    source: str
    remedy: str

    @classmethod
    def of(cls, feedback: Feedback, package: str | Path | None) -> "Labels":
        """Return the labels of a package; without one the labels in the records and decisions of a folder.

        Raises:
            PackageError: the package cannot be read.
        """
        if package is not None:
            labels = set(ModelPackage.read(package).manifest.labels)
            return cls(_by_form(labels), str(package), f"run `partsight inspect {package} --labels`")
        labels = {frame.label for frame in feedback.frames if frame.label is not None}
        for frame in feedback.frames:
            labels |= {candidate.label for candidate in frame.record.top} if frame.record else set()
        return cls(_by_form(labels), f"the records of {feedback.folder}", "name the package with --package PACKAGE")

    def find(self, text: str) -> str:
        """Return the label that a person wrote, as the package spells it.

        Raises:
            FeedbackError: there is no such label; the message names the nearest.
        """
        label = self.known.get(normalized(text))
        if label is None:
            by_case = {folded(known): known for known in self.known.values()}
            near = difflib.get_close_matches(folded(text), by_case, 3, 0.5)
            hint = f"; did you mean {', '.join(by_case[name] for name in near)}?" if near else f"; {self.remedy}"
            raise FeedbackError(f"{text!r} is no part in {self.source}{hint}")
        return label


def _by_form(labels: set[str]) -> dict[str, str]:
    return {normalized(label): label for label in sorted(labels)}
