"""The session: a model, checked against partsight's contract, on the provider that was asked for, or not at all."""

import math
from dataclasses import dataclass

import numpy as np

from partsight.runtime.core import FloatArray, PackageError, Pixels, ProviderError
from partsight.runtime.inference.engine import (
    BOUND_NAME,
    EMBEDDING_NAME,
    INPUT_NAME,
    SCORE_NAME,
    Engine,
    Settings,
    Signature,
    Tensor,
)
from partsight.runtime.inference.onnx_runtime import OnnxRuntimeEngine
from partsight.runtime.inference.openvino import OpenVinoEngine
from partsight.runtime.inference.prototype_search import PrototypeSearch
from partsight.runtime.inference.providers import Provider, find_provider


@dataclass(frozen=True)
class Inference:
    """What the network says of a batch.

    Attributes:
        score: (batch, classes) float32; of a session with a search, see `PrototypeSearch.score`.
        embedding: (batch, d) float32.
    """

    score: FloatArray
    embedding: FloatArray


class Session:
    """One loaded model on one provider. Safe to use from several threads."""

    def __init__(
        self,
        model: bytes,
        provider: str = "cpu",
        settings: Settings | None = None,
        search: PrototypeSearch | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: an ONNX file's bytes.
            provider: of `PROVIDERS`; there is no fallback from one to another.
            settings: how it is run; None for FP32 and defaults.
            search: finds the scores of a model that gives their bounds; None for one that gives the scores.

        Raises:
            ProviderError: the provider cannot be had here.
            PackageError: the bytes are not a model of partsight's contract, or the search is not of this model.
            DependencyError: no ONNX Runtime is installed.
        """
        settings = settings or Settings()
        self.provider = find_provider(provider, settings.arithmetic)
        self._engine = _load(model, self.provider, settings)
        signature = self._engine.signature
        self.input_hw, self.classes, self.embedding_size = _check_contract(signature, search)
        self._search, self._slack = search, _slack(self.provider, settings)
        self.metadata: dict[str, str] = dict(signature.metadata)

    def run(self, batch: Pixels) -> Inference:
        """Run the network on (batch, height, width, 3) uint8 BGR, as `preprocess` makes it.

        Raises:
            ProviderError: the provider cannot run it, for want of memory or because the model is not sound.
            PackageError: it gives other shapes than it says.
        """
        try:
            score, embedding = self._engine.run(batch)
        except Exception as error:  # of any kind: engines have errors of their own
            raise ProviderError(
                f"provider {self.provider.name} cannot run the model on {len(batch)} frames ({error}); is the memory "
                "used up? If not, the model is damaged: export it again"
            ) from error
        self._check_shapes(len(batch), score, embedding)
        return Inference(self._search.score(score, embedding, self._slack) if self._search else score, embedding)

    def _check_shapes(self, count: int, score: FloatArray, embedding: FloatArray) -> None:
        """Refuse what labels cannot be told from: engines let a model give other shapes than it says."""
        expected = (count, self.classes), (count, self.embedding_size)
        if (score.shape, embedding.shape) != expected or score.dtype != embedding.dtype or score.dtype != np.float32:
            raise PackageError(
                f"the model gave scores {score.dtype} {score.shape}, embeddings {embedding.dtype} {embedding.shape}; "
                f"expected float32 {expected[0]} and {expected[1]}: export it again"
            )


def _load(model: bytes, provider: Provider, settings: Settings) -> Engine:
    try:
        return OnnxRuntimeEngine(model, provider, settings) if provider.ort_name else OpenVinoEngine(model, settings)
    except UnicodeDecodeError as error:
        raise PackageError(f"the model holds a text that is no UTF-8 ({error}); export it again") from error


def _slack(provider: Provider, settings: Settings) -> float:
    """Return by how much rounding may lower the bound of a score: two numbers of 1 or less lose that many digits."""
    is_exact = not provider.on_card and settings.arithmetic != "bf16"  # a card may multiply in TF32
    return 1e-5 if is_exact else 1e-2


def _check_contract(signature: Signature, search: PrototypeSearch | None) -> tuple[tuple[int, int], int, int]:
    """Return the input's (height, width), the number of classes and the embedding's size."""
    name = SCORE_NAME if search is None else BOUND_NAME
    missing = Tensor("", ())
    image = signature.inputs.get(INPUT_NAME, missing)
    rows = [signature.outputs.get(name, missing) for name in (name, EMBEDDING_NAME)]
    if search is None and BOUND_NAME in signature.outputs:
        raise PackageError(
            "the model gives bounds of scores, and its package finds the scores with a file of its own; expected the "
            "package's folder: use that, and not its .onnx file alone"
        )
    is_image = len(signature.inputs) == 1 and image.dtype == "uint8" and len(image.shape) == 4 and image.shape[3] == 3
    if not is_image or image.shape[0] is not None or any(row.dtype != "float32" or len(row.shape) != 2 for row in rows):
        raise PackageError(
            f"the model has {signature}; expected one input {INPUT_NAME} uint8 (batch, height, width, 3) of any batch, "
            f"and the outputs {name} float32 (batch, classes) and {EMBEDDING_NAME} float32 (batch, d): use "
            "`partsight export`"
        )
    sizes = (*image.shape[1:3], rows[0].shape[1], rows[1].shape[1])
    height, width, classes, embedding_size = (size if size is not None and 0 < size < math.inf else 0 for size in sizes)
    if not all((height, width, classes, embedding_size)):
        raise PackageError(f"the model's height, width, classes and embedding are {sizes}; expected fixed numbers")
    if search is not None and (classes, embedding_size) != search.prototypes.shape:
        raise PackageError(
            f"the model has {classes} classes and an embedding of {embedding_size}, the package's prototypes are "
            f"{search.prototypes.shape}; they are not from one export: export the package again"
        )
    return (height, width), classes, embedding_size
