"""The served model: a recogniser, a batcher of all clients' frames, and the answers as tensors."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass

import numpy as np

from partsight.runtime.cluster.serve.frames import FrameReader
from partsight.runtime.cluster.serve.protocol import InferRequest, OutputRequest, select_outputs
from partsight.runtime.cluster.serve.settings import ServedPackage
from partsight.runtime.cluster.serve.tensor_data import RequestError
from partsight.runtime.core import FrameError, PackageError, Pixels, RemoteError
from partsight.runtime.inference import EngineSettings
from partsight.runtime.matching import via_size
from partsight.runtime.package import ModelPackage
from partsight.runtime.recognition import (
    ANSWER_TENSORS,
    MAX_TOP,
    NETWORK_SCORE,
    AnswerCodec,
    MicroBatcher,
    Recognizer,
    Result,
)

VERSION = "1"
"""The version of every model: a new package replaces the old one under the same name."""

_OUTPUTS = tuple(spec.name for spec in ANSWER_TENSORS)


@dataclass(frozen=True)
class ModelFacts:
    """Facts of a served model, for its metadata.

    Attributes:
        name: Name in URLs.
        package_id: Id of the package.
        parts: Number of parts.
        via_hw: Height and width of prepared frames, in pixels.
        threshold: Least score that is accepted, for a frame without margin.
        signed_by: Ids of the trusted keys that signed the package.
        max_frames: Most frames of a request.
    """

    name: str
    package_id: str
    parts: int
    via_hw: tuple[int, int]
    threshold: float
    signed_by: tuple[str, ...]
    max_frames: int


def check_model(facts: ModelFacts, name: str, version: str) -> None:
    """Refuse another model, or another version of it.

    Raises:
        RequestError: The client names another model; the status is 404.
    """
    if (name, version) != (facts.name, VERSION):
        raise RequestError(
            f"received the model {name[:64]!r}, version {version[:16]!r}; expected {facts.name!r}, {VERSION!r}; "
            "POST /v2/repository/index names all models",
            404,
        )


@dataclass(frozen=True)
class Answered:
    """The outputs for a request, in the client's order, and the results that they hold."""

    outputs: Sequence[OutputRequest]
    tensors: Mapping[str, np.ndarray]
    results: Sequence[Result]


class ServedModel:
    """Answers requests with one package. Thread-safe. `close` frees it."""

    def __init__(self, settings: ServedPackage) -> None:
        """Load the package and warm it up.

        Args:
            settings: Package, and how to run it.

        Raises:
            PackageError: The package is damaged, or does not compare frames with golden images.
            SignatureError: No trusted key signed it.
            ProviderError: The provider does not work on this machine.
        """
        self._limits = settings.limits
        package = ModelPackage.read(settings.path, settings.trusted_keys)
        matching = package.manifest.matching
        if matching is None:
            raise PackageError(
                f"{settings.path}: does not compare frames with golden images; `partsight serve` needs it: export again"
            )
        self._recognizer = Recognizer(
            settings.path,
            provider=settings.provider,
            precision=settings.precision,
            batch_size=settings.batch_size,
            top=MAX_TOP,
            cropped=True,
            engine=EngineSettings(threads=settings.threads),
            trusted_keys=settings.trusted_keys,
        )
        if self._recognizer.package_id != package.package_id:
            raise PackageError(f"{settings.path}: changed while it was read; start again when it is complete")
        via = via_size(package.manifest.preprocess, matching.spec)
        self._reader = FrameReader(package.manifest.preprocess, via, settings.limits.frames)
        self._codec = AnswerCodec(self._recognizer.labels, self._recognizer.package_id)
        self.facts = ModelFacts(
            settings.name, package.package_id, len(self._codec.labels), via, self._recognizer.threshold,
            self._recognizer.signed_by, settings.limits.frames,
        )  # fmt: skip
        self._recognizer.preload()
        self._golden = self._golden_frame()
        self._expected = self._recognizer.recognize_batch([self._golden] * settings.batch_size)[0].top[0].label
        self._batcher = MicroBatcher(self._recognizer, settings.max_wait_ms)

    def answer(self, request: InferRequest) -> Answered:
        """Answer a request, in the batches of all requests of this moment.

        Raises:
            RequestError: The client's request cannot be answered.
            RemoteError: The answer takes too long.
            PackageError: A golden image is damaged.
        """
        outputs = select_outputs(request, _OUTPUTS, (NETWORK_SCORE,))
        frames = self._reader.read(request)
        try:
            results = self._recognized(frames, self._limits.answer_s)
        except FrameError as error:
            raise RequestError(str(error)) from error
        tensors = self._codec.encode(results)
        if any(output.name == NETWORK_SCORE for output in outputs):
            tensors[NETWORK_SCORE] = np.asarray(self._recognizer.infer(frames).score, np.float32)
        return Answered(outputs, tensors, results)

    def check(self) -> None:
        """Answer a golden image, like a client's frame: it shows that the whole way works.

        Raises:
            RemoteError: The answer takes too long, or is another than at the start.
        """
        (result,) = self._recognized([self._golden], self._limits.health_s)
        if result.top[0].label != self._expected:
            raise RemoteError(
                f"the golden image of {self._expected!r} is answered as {result.top[0].label!r}; expected the answer "
                "of the start: check the memory of this machine"
            )

    def close(self) -> None:
        """Answer the frames that wait, then free the package."""
        self._batcher.close()
        self._recognizer.close()

    def _recognized(self, frames: Sequence[Pixels], limit_s: float) -> list[Result]:
        ends_at = time.monotonic() + limit_s
        pending: list[Future[Result]] = [self._batcher.submit(frame) for frame in frames]
        _, late = wait(pending, max(0.0, ends_at - time.monotonic()))
        for answer in late:
            answer.cancel()  # frames whose batch has not started are not answered in vain
        if late:
            raise RemoteError(f"{len(late)} of {len(frames)} frames were not answered within {limit_s:g} s; ask again")
        try:
            return [answer.result() for answer in pending]
        except CancelledError as error:
            raise RemoteError("the server stopped before it answered; ask again") from error

    def _golden_frame(self) -> Pixels:
        golden = self._recognizer.golden_image(self._codec.labels[0])
        assert golden is not None  # it compares frames with golden images
        if self._recognizer.manifest.preprocess.color == "mono":
            return np.ascontiguousarray(golden[:, :, 0])
        return golden
