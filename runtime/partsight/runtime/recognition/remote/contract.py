"""The contract of a model on a server: what it must take and return, and checks of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from partsight.runtime.core import RemoteError
from partsight.runtime.inference import INPUT_NAME
from partsight.runtime.recognition.remote.connection import ModelFacts, TensorFacts
from partsight.runtime.recognition.results import REASONS
from partsight.runtime.recognition.tensors import ANSWER_TENSORS, NETWORK_SCORE, NO_PART, TensorSpec

PACKAGE_ID = "package_id"

ASKED = tuple(spec for spec in ANSWER_TENSORS if spec.name not in ("label", "label_index"))
"""Outputs that answers are made of: the two others follow from `top_index`."""

_SCORE = TensorSpec(NETWORK_SCORE, "FP32")
_BY_NAME = {spec.name: spec for spec in ANSWER_TENSORS}


@dataclass(frozen=True)
class Contract:
    """Contract of one package's model.

    Attributes:
        server: Address of the model, for messages.
        size_hw: (height, width) of prepared frames, in pixels.
        parts: Number of parts.
        references: Number of references of each part.
        package_id: Id of the package.
    """

    server: str
    size_hw: tuple[int, int]
    parts: int
    references: Sequence[int]
    package_id: str

    def check_facts(self, facts: ModelFacts) -> None:
        """Refuse a model with other inputs or outputs.

        Raises:
            RemoteError: An input or output is missing, or of another type or shape.
        """
        expected = [-1, *self.size_hw, 3]
        inputs = {tensor.name: tensor for tensor in facts.inputs}
        image = inputs.get(INPUT_NAME)
        if image is None or image.datatype != "UINT8" or not _fits(image.shape, expected):
            found = ", ".join(map(_shown, facts.inputs)) or "none"
            raise RemoteError(
                f"{self.server}: takes {found}; expected {INPUT_NAME} UINT8 {expected}: serve this package, with "
                "`partsight serve` or `partsight triton`"
            )
        outputs = {tensor.name: tensor for tensor in facts.outputs}
        for spec in ASKED:
            self._check_output(outputs.get(spec.name), spec.name, spec.datatype, spec.width)
        if NETWORK_SCORE in outputs:
            self._check_output(outputs[NETWORK_SCORE], NETWORK_SCORE, _SCORE.datatype, self.parts)

    def answers(self, tensors: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
        """Return the tensors of answers in the shapes of the contract, after a check of their values.

        Args:
            tensors: Outputs of the server.
            count: Number of frames that were sent.

        Raises:
            RemoteError: Another package answered, or a tensor has another type, shape or a value that no answer has.
        """
        self._check_package(tensors, count)
        found = {spec.name: self._shaped(tensors[spec.name], spec, spec.width, count) for spec in ASKED}
        top, reference, reason = found["top_index"], found["reference"], found["reason"]
        references = np.asarray(self.references)[np.clip(top[:, 0], 0, self.parts - 1)]
        is_sound = (
            ((top >= NO_PART) & (top < self.parts)).all()
            and ((reference >= 0) & (reference < references)).all()
            and ((reason >= 0) & (reason < len(REASONS))).all()
            and (found["accepted"] == (reason == 0)).all()
            and (~found["accepted"] | (top[:, 0] != NO_PART)).all()
        )
        if not is_sound:
            raise RemoteError(
                f"{self.server}: its answer names parts, references or reasons that the package does not have; serve "
                "this package"
            )
        return found

    def score(self, tensors: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """Return the network's scores, (count, parts) float32.

        Raises:
            RemoteError: Another package answered, or they have another type or shape.
        """
        self._check_package(tensors, count)
        return self._shaped(tensors[NETWORK_SCORE], _SCORE, self.parts, count)

    def package_ids(self, tensors: Mapping[str, np.ndarray], count: int) -> set[str]:
        """Return the ids of the packages that answered.

        Raises:
            RemoteError: They have another type or shape.
        """
        ids = self._shaped(tensors[PACKAGE_ID], _BY_NAME[PACKAGE_ID], None, count)
        return {value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in ids}

    def _check_package(self, tensors: Mapping[str, np.ndarray], count: int) -> None:
        ids = self.package_ids(tensors, count)
        if ids != {self.package_id}:
            raise RemoteError(
                f"{self.server}: answers with package {' and '.join(sorted(ids))}; this recogniser has "
                f"{self.package_id}: swap this line to the server's package, or load this one on the server"
            )

    def _shaped(self, values: np.ndarray, spec: TensorSpec, width: int | None, count: int) -> np.ndarray:
        """Return a tensor in the contract's shape: a server may give (n, 1) for (n,)."""
        shape = (count,) if width is None else (count, width)
        if values.dtype != spec.dtype or values.shape[:1] != (count,) or values.size != int(np.prod(shape)):
            raise RemoteError(
                f"{self.server}: returned {spec.name} {values.dtype} {values.shape}; expected {spec.datatype} {shape}"
            )
        return values.reshape(shape)

    def _check_output(self, found: TensorFacts | None, name: str, datatype: str, width: int | None) -> None:
        shapes = [[-1], [-1, 1]] if width is None else [[-1, width]]
        if found is None or found.datatype != datatype or not any(_fits(found.shape, shape) for shape in shapes):
            received = "does not return it" if found is None else f"returns {_shown(found)}"
            raise RemoteError(
                f"{self.server}: expected the output {name} {datatype} {shapes[0]}, but the model {received}: serve "
                "this package, with `partsight serve` or `partsight triton`"
            )


def _fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    """Whether a shape can be the expected one, where -1 on either side is any size."""
    pairs = zip(shape, expected, strict=False)
    return len(shape) == len(expected) and all(-1 in pair or pair[0] == pair[1] for pair in pairs)


def _shown(tensor: TensorFacts) -> str:
    return f"{tensor.name} {tensor.datatype} {list(tensor.shape)}"
