"""Rows: one for each frame, with the names of the line's records (docs/results.md)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from partsight.runtime.core import import_extra
from partsight.runtime.recognition import Answer

OLD = "old_"
"""Prefix of the columns with the answers of the package to compare with."""

Change = Literal["same", "other_label", "label_lost", "label_gained", "not_compared"]
"""How an answer differs from the old package's; `not_compared` where one of them could not answer."""

_OLD_NAMES = ("outcome", "label", "reason", "score", "margin", "threshold", "error")


def schema(*, is_compared: bool) -> Any:
    """Return the columns, a pyarrow.Schema.

    Args:
        is_compared: Whether there are columns for the old package's answer, and `change`.
    """
    arrow = import_extra("pyarrow", "ray")
    text, number = arrow.string(), arrow.float64()
    pose = arrow.struct([(name, number) for name in ("shift_x", "shift_y", "turn_deg", "shear", "stretch")])
    types = {
        "index": arrow.int64(),
        "source": text,
        "outcome": text,
        "label": text,
        "reason": text,
        "score": number,
        "margin": number,
        "threshold": number,
        "least_margin": number,
        "top": arrow.list_(arrow.struct([("label", text), ("score", number)])),
        "pose": pose,
        "reference": arrow.int32(),
        "error": text,
        "package_id": text,
    }
    if is_compared:
        types |= {f"{OLD}{name}": types[name] for name in _OLD_NAMES} | {"change": text}
    return arrow.schema(list(types.items()))


def answered(answer: Answer, package_id: str) -> dict[str, Any]:
    """Return the columns of an answer."""
    pose = answer.pose
    return {
        "outcome": "recognised" if answer.accepted else "unknown",
        "label": answer.label,
        "reason": answer.reason,
        "score": _number(answer.score),
        "margin": _number(answer.margin),
        "threshold": _number(answer.threshold),
        "least_margin": _number(answer.least_margin),
        "top": [{"label": label, "score": _number(score)} for label, score in answer.top],
        "pose": asdict(pose) if pose and all(map(math.isfinite, asdict(pose).values())) else None,
        "reference": answer.reference,
        "error": "",
        "package_id": package_id,
    }


def failed(error: str) -> dict[str, Any]:
    """Return the columns of a frame without an answer."""
    return {"outcome": "failed", "top": [], "error": _writable(error), "package_id": ""}


def row_of(index: int, source: str, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a row.

    Args:
        index: Index of the frame in its source.
        source: Origin of the frame.
        answers: Columns of the new package's answer and, to compare with it, of the old one's.
    """
    row = {"index": index, "source": _writable(source), **answers[0]}
    if len(answers) > 1:
        row |= {f"{OLD}{name}": answers[1].get(name) for name in _OLD_NAMES} | {"change": change_of(*answers)}
    return row


def change_of(new: Mapping[str, Any], old: Mapping[str, Any]) -> Change:
    """Return how the answer of the new package differs from the old one's."""
    if "failed" in (new["outcome"], old["outcome"]):
        return "not_compared"
    if new["label"] == old["label"]:
        return "same"
    if new["label"] is None:
        return "label_lost"
    return "label_gained" if old["label"] is None else "other_label"


def _writable(text: str) -> str:
    """Return a text that is UTF-8: the name of a file on Linux need not be."""
    return text.encode("utf-8", "backslashreplace").decode()


def _number(value: float) -> float | None:
    """Return None for infinity and NaN, as a record has."""
    return value if math.isfinite(value) else None
