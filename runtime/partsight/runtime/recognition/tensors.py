"""Answers as tensors: the outputs of a bundle and of a server, which a remote recogniser turns into answers again."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from partsight.runtime.matching import PartPose
from partsight.runtime.recognition.results import REASONS, Answer, ScoredLabel

MAX_TOP = 5
"""Number of parts in the outputs `top_index` and `top_agreement`."""

NO_PART = -1
"""Index in `top_index` where fewer parts were compared."""


@dataclass(frozen=True)
class TensorSpec:
    """An output: its name, its type in the KServe v2 protocol, and the values per frame; None for a single one."""

    name: str
    datatype: str
    width: int | None = None

    @property
    def dtype(self) -> npt.DTypeLike:
        """NumPy's type; texts are objects, `bytes` in UTF-8."""
        return _DTYPES[self.datatype]


_DTYPES: Mapping[str, npt.DTypeLike] = {"BYTES": np.object_, "INT64": np.int64, "FP32": np.float32, "BOOL": np.bool_}

ANSWER_TENSORS = (
    TensorSpec("label", "BYTES"),
    TensorSpec("label_index", "INT64"),
    TensorSpec("agreement", "FP32"),
    TensorSpec("margin", "FP32"),
    TensorSpec("threshold", "FP32"),
    TensorSpec("least_margin", "FP32"),
    TensorSpec("accepted", "BOOL"),
    TensorSpec("reason", "INT64"),
    TensorSpec("top_index", "INT64", MAX_TOP),
    TensorSpec("top_agreement", "FP32", MAX_TOP),
    TensorSpec("pose", "FP32", 5),
    TensorSpec("reference", "INT64"),
    TensorSpec("package_id", "BYTES"),
)
"""Outputs that hold an answer. docs/bundle.md describes each; a bundle lacks the two of texts."""

NETWORK_SCORE = "network_score"
"""Output with the network's scores of all parts, (batch, parts) float32: for explanations, not for answers."""


@dataclass(frozen=True)
class AnswerCodec:
    """Turns the answers of one package into tensors and back.

    Attributes:
        labels: Labels of the package, in order.
        package_id: Id of the package: an answer of another one is never taken.
    """

    labels: Sequence[str]
    package_id: str

    def encode(self, answers: Sequence[Answer]) -> dict[str, np.ndarray]:
        """Return the tensors of `ANSWER_TENSORS`, by name; the first axis of each is that of the answers.

        Args:
            answers: Answers of a package that compares frames with golden images.
        """
        rows = [self._row(answer) for answer in answers]
        return {spec.name: self._column(spec, [row[spec.name] for row in rows]) for spec in ANSWER_TENSORS}

    def decode(self, tensors: Mapping[str, np.ndarray], top: int, shift: float = 0.0) -> list[Answer]:
        """Return the answers that tensors hold. The caller has checked shapes, types and `package_id`.

        Args:
            tensors: Tensors of `ANSWER_TENSORS` by name; `label`, `accepted` and `reason` follow from the others.
            top: Number of candidates that an answer names, at most `MAX_TOP`.
            shift: Difference between the caller's threshold and the package's.
        """
        names = ("agreement", "margin", "threshold", "least_margin", "top_index", "top_agreement", "pose", "reference")
        columns = [np.asarray(tensors[name]).tolist() for name in names]
        return [self._answer(row, top, shift) for row in zip(*columns, strict=True)]

    @cached_property
    def _index_of(self) -> Mapping[str, int]:
        return {label: index for index, label in enumerate(self.labels)}

    def _row(self, answer: Answer) -> dict[str, Any]:
        assert answer.pose is not None and answer.reference is not None
        top = answer.top[:MAX_TOP]
        missing = MAX_TOP - len(top)
        return {
            "label": (answer.label or "").encode(),
            "label_index": self._index_of[top[0].label] if top else 0,
            "agreement": answer.score,
            "margin": answer.margin,
            "threshold": answer.threshold,
            "least_margin": answer.least_margin,
            "accepted": answer.accepted,
            "reason": REASONS.index(answer.reason),
            "top_index": [*(self._index_of[item.label] for item in top), *[NO_PART] * missing],
            "top_agreement": [*(item.score for item in top), *[0.0] * missing],
            "pose": astuple(answer.pose),
            "reference": answer.reference,
            "package_id": self.package_id.encode(),
        }

    def _column(self, spec: TensorSpec, values: Sequence[Any]) -> np.ndarray:
        shape = (len(values),) if spec.width is None else (len(values), spec.width)
        return np.array(values, spec.dtype).reshape(shape)

    def _answer(self, row: Sequence[Any], top: int, shift: float) -> Answer:
        agreement, margin, threshold, least_margin, top_index, top_agreement, pose, reference = row
        needed = threshold + shift
        accepted = agreement >= needed and margin >= least_margin and agreement > 0
        pairs = zip(top_index, top_agreement, strict=True)
        named = tuple(ScoredLabel(self.labels[index], value) for index, value in pairs if index != NO_PART)
        return Answer(
            label=named[0].label if accepted else None,
            score=agreement,
            margin=margin,
            accepted=accepted,
            top=named[:top],
            reason="recognised" if accepted else "two_parts_fit" if agreement >= needed else "agrees_with_none",
            threshold=needed,
            least_margin=least_margin,
            pose=PartPose(*pose),
            reference=reference,
        )
