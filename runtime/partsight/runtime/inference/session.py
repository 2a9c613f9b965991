"""The session: a model, checked against partsight's contract, on the provider that the caller named or on the fastest.

There is no fallback: a provider that the caller named works, or partsight raises an error.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from partsight.runtime.core import DependencyError, FloatArray, PackageError, Pixels, ProviderError
from partsight.runtime.inference.engine import (
    BOUND_NAME,
    EMBEDDING_NAME,
    INPUT_NAME,
    SCORE_NAME,
    Engine,
    Inference,
    ModelInterface,
    Tensor,
)
from partsight.runtime.inference.onnx_runtime import OnnxRuntimeEngine
from partsight.runtime.inference.openvino import OpenVinoEngine
from partsight.runtime.inference.prototype_search import PrototypeSearch
from partsight.runtime.inference.providers import AUTO, PROVIDERS, Provider, find_provider, without_remedy
from partsight.runtime.inference.settings import ModelSettings

_ROUNDS = 3

_log = logging.getLogger("partsight.runtime")


class Session:
    """One loaded model on one provider. Safe to use from several threads.

    Attributes:
        provider: Provider on which the model runs.
        reason: Why it runs there, in words.
        input_hw: (height, width) of the input in pixels.
        classes: Number of scores of a frame.
        embedding_size: Length of an embedding.
        metadata: Texts in the model's file.
    """

    def __init__(
        self,
        model: bytes,
        provider: str = "cpu",
        settings: ModelSettings | None = None,
        search: PrototypeSearch | None = None,
    ) -> None:
        """Load a model.

        Args:
            model: Bytes of an ONNX file.
            provider: Name of one of `PROVIDERS`.
            settings: How to run it; None for FP32 and defaults.
            search: Search for the scores of a model that gives bounds; None for a model that gives scores.

        Raises:
            ProviderError: The provider does not work on this machine.
            PackageError: The bytes are not a model of partsight's contract, or the search does not fit the model.
            DependencyError: ONNX Runtime is not installed.
        """
        settings = settings or ModelSettings()
        self.provider = find_provider(provider, settings.arithmetic)
        self.reason = "named by the caller"
        self._engine = _load(model, self.provider, settings)
        interface = self._engine.interface
        _check_contract(interface, search)
        self.input_hw, self.classes, self.embedding_size = _sizes(interface)
        if search is not None:
            _check_search(search, self.classes, self.embedding_size)
        self._search, self._slack = search, _slack(self.provider, settings)
        self.metadata: dict[str, str] = dict(interface.metadata)

    def run(self, batch: Pixels) -> Inference:
        """Run the network on a batch.

        Args:
            batch: Frames, (batch, height, width, 3) uint8 BGR, as `preprocess` makes them.

        Raises:
            ProviderError: The provider cannot run the model: memory is short, or the model is damaged.
            PackageError: The outputs have other shapes than the model declares.
        """
        try:
            found = self._engine.run(batch)
        except Exception as error:  # of any kind: each engine has its own errors
            raise ProviderError(
                f"provider {self.provider.name} cannot run the model on {len(batch)} frames ({error}); check the free "
                "memory. If there is enough, the model is damaged: export it again"
            ) from error
        self._check_shapes(len(batch), found.score, found.embedding)
        if self._search is None:
            return found
        return Inference(self._search.score(found.score, found.embedding, self._slack), found.embedding)

    def _check_shapes(self, count: int, score: FloatArray, embedding: FloatArray) -> None:
        """Refuse outputs that give no labels: an engine does not check the declared shapes."""
        expected = (count, self.classes), (count, self.embedding_size)
        if (score.shape, embedding.shape) != expected or score.dtype != embedding.dtype or score.dtype != np.float32:
            raise PackageError(
                f"the model gave scores {score.dtype} {score.shape}, embeddings {embedding.dtype} {embedding.shape}; "
                f"expected float32 {expected[0]} and {expected[1]}: export it again"
            )


def open_session(
    model: bytes, provider: str, settings: ModelSettings, search: PrototypeSearch | None = None
) -> Session:
    """Load a model on the provider that the caller names, or for `auto` on the fastest; see `select_provider`.

    Args:
        model: Bytes of an ONNX file.
        provider: Name of one of `PROVIDERS`, or `auto`.
        settings: How to run it.
        search: Search for the scores of a model that gives bounds.

    Raises:
        ProviderError: The provider, or for `auto` every provider, does not work on this machine.
        PackageError: The bytes are not a model of partsight's contract. For `auto`: no provider works, and at least one
            says so.
        DependencyError: The library of the named provider is not installed.
    """
    return select_provider(model, settings, search) if provider == AUTO else Session(model, provider, settings, search)


def select_provider(model: bytes, settings: ModelSettings, search: PrototypeSearch | None = None) -> Session:
    """Try all providers that compute in `settings.arithmetic`, and return a session on the fastest.

    Each provider loads the model and is timed on the largest batch, which takes as long as a few answers of each.

    Args:
        model: Bytes of an ONNX file.
        settings: How to run it.
        search: Search for the scores of a model that gives bounds.

    Raises:
        ProviderError: No provider works on this machine.
        PackageError: No provider works, and at least one says that the bytes are not a model of partsight's contract.
    """
    trial = _Trial(model, settings, search)
    for provider in PROVIDERS.values():
        if settings.arithmetic in provider.arithmetic:
            trial.add(provider.name)
    session = trial.fastest()
    _log.info("provider auto took %s", session.reason, extra={"event": "provider_taken"})
    return session


@dataclass
class _Trial:
    """The providers that were tried. Of several sessions at most two are in memory at any moment."""

    model: bytes
    settings: ModelSettings
    search: PrototypeSearch | None
    best: Session | None = None
    best_ms: float = np.inf
    findings: list[str] = field(default_factory=list)
    refusal: PackageError | None = None

    def add(self, name: str) -> None:
        try:
            session = Session(self.model, name, self.settings, self.search)
            frame_ms = frame_time_ms(session, max(self.settings.batch_sizes))
        except (ProviderError, DependencyError, PackageError) as error:
            if self.refusal is None and isinstance(error, PackageError):
                self.refusal = error
            self.findings.append(f"{name} does not work ({without_remedy(error)})")
            return
        if frame_ms < self.best_ms:
            self.best, self.best_ms = session, frame_ms
        self.findings.append(f"{name} {frame_ms:.1f} ms a frame")

    def fastest(self) -> Session:
        findings = "; ".join(self.findings)
        if self.best is None and self.refusal is not None:  # no provider can repair the model
            raise self.refusal
        if self.best is None:
            raise ProviderError(
                f"no provider that computes in {self.settings.arithmetic} works here: {findings}. Run `partsight "
                "doctor` to check this machine"
            )
        size = max(self.settings.batch_sizes)
        self.best.reason = f"{self.best.provider.name}, the fastest of: {findings}; in batches of {size}"
        return self.best


def frame_time_ms(session: Session, size: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the milliseconds of one frame in the fastest of a few batches: other programs only slow a batch down."""
    batch = np.zeros((size, *session.input_hw, 3), np.uint8)
    session.run(batch)
    times = []
    for _ in range(_ROUNDS):
        started = clock()
        session.run(batch)
        times.append(clock() - started)
    return min(times) * 1000 / size


def _load(model: bytes, provider: Provider, settings: ModelSettings) -> Engine:
    try:
        return OnnxRuntimeEngine(model, provider, settings) if provider.ort_name else OpenVinoEngine(model, settings)
    except UnicodeDecodeError as error:
        raise PackageError(f"the model holds a text that is not UTF-8 ({error}); export it again") from error


def _slack(provider: Provider, settings: ModelSettings) -> float:
    """Return by how much rounding may lower the bound of a score: for two vectors of length 1 or less."""
    is_exact = not provider.on_card and settings.arithmetic != "bf16"  # a card may multiply in TF32
    return 1e-5 if is_exact else 1e-2


def _check_contract(interface: ModelInterface, search: PrototypeSearch | None) -> None:
    """Refuse a model with other inputs or outputs than partsight's."""
    name = SCORE_NAME if search is None else BOUND_NAME
    if search is None and BOUND_NAME in interface.outputs:
        raise PackageError(
            "the model gives bounds of scores, and the scores need a file of its package; use the package's folder, "
            "not its .onnx file alone"
        )
    missing = Tensor("", ())
    image = interface.inputs.get(INPUT_NAME, missing)
    rows = [interface.outputs.get(name, missing) for name in (name, EMBEDDING_NAME)]
    is_image = len(interface.inputs) == 1 and image.dtype == "uint8" and len(image.shape) == 4 and image.shape[3] == 3
    if not is_image or image.shape[0] is not None or any(row.dtype != "float32" or len(row.shape) != 2 for row in rows):
        raise PackageError(
            f"the model has {interface}; expected one input {INPUT_NAME} uint8 (batch, height, width, 3) of any batch, "
            f"and the outputs {name} float32 (batch, classes) and {EMBEDDING_NAME} float32 (batch, d): use "
            "`partsight export`"
        )


def _sizes(interface: ModelInterface) -> tuple[tuple[int, int], int, int]:
    """Return the input's (height, width), the number of classes and the embedding's size."""
    outputs = [interface.outputs[name].shape[1] for name in (interface.score_name, EMBEDDING_NAME)]
    sizes = (*interface.inputs[INPUT_NAME].shape[1:3], *outputs)
    height, width, classes, embedding_size = (size or 0 for size in sizes)
    if min(height, width, classes, embedding_size) < 1:
        raise PackageError(f"the model's height, width, classes and embedding are {sizes}; expected fixed numbers")
    return (height, width), classes, embedding_size


def _check_search(search: PrototypeSearch, classes: int, embedding_size: int) -> None:
    if (classes, embedding_size) != search.prototypes.shape:
        raise PackageError(
            f"the model has {classes} classes and an embedding of {embedding_size}, the package's prototypes are "
            f"{search.prototypes.shape}; they are not from one export: export the package again"
        )
