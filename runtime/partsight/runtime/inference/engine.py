"""The contract of an engine: one loaded model that answers batches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from partsight.runtime.core import FloatArray, Pixels

INPUT_NAME = "image_bgr"
SCORE_NAME = "score"
BOUND_NAME = "bound"
"""Name of the output that takes the place of the score in a package with a search; see `PrototypeSearch`."""
EMBEDDING_NAME = "embedding"


@dataclass(frozen=True)
class Tensor:
    """An input or output: NumPy's name of its type, and its shape; None for a size that is not fixed."""

    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.dtype} ({', '.join('?' if size is None else str(size) for size in self.shape)})"


@dataclass(frozen=True)
class ModelInterface:
    """A model's inputs and outputs by name, and the texts in its metadata."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    def __str__(self) -> str:
        return f"inputs {_listed(self.inputs)} and outputs {_listed(self.outputs)}"

    @property
    def score_name(self) -> str:
        """Name of the output with the scores, or with their bounds where the model has those."""
        return BOUND_NAME if BOUND_NAME in self.outputs else SCORE_NAME


@dataclass(frozen=True)
class Inference:
    """The network's outputs for a batch.

    Attributes:
        score: Scores, (batch, classes) float32; from a session with a search, see `PrototypeSearch.score`.
        embedding: Embeddings, (batch, d) float32.
    """

    score: FloatArray
    embedding: FloatArray


class Engine(Protocol):
    """A loaded model. Safe to use from several threads."""

    @property
    def interface(self) -> ModelInterface:
        """The model's inputs, outputs and metadata."""

    def run(self, batch: Pixels) -> Inference:
        """Run the model on a batch.

        A model that gives bounds has them in place of the scores. The caller may change both arrays.

        Args:
            batch: Frames, (batch, height, width, 3) uint8 BGR.
        """


def _listed(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tensor}" for name, tensor in tensors.items()) or "none"
