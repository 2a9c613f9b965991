"""The recogniser: frames in, parts out. The class that people embed."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec
import numpy as np

from partsight.runtime.decision import Answer, decide, decide_verified
from partsight.runtime.errors import PackageError, PartsightError
from partsight.runtime.images import Pixels
from partsight.runtime.manifest import METADATA_KEY, Manifest, Precision, Verification
from partsight.runtime.package import ModelPackage
from partsight.runtime.preprocess import check_frames, preprocess
from partsight.runtime.references import References
from partsight.runtime.session import Inference, Session
from partsight.runtime.storage import sha256_bytes
from partsight.runtime.verification import verify as compare


@dataclass(frozen=True)
class Result(Answer):
    """An answer and how long it took.

    Attributes:
        latency_ms: milliseconds from the call to the moment when this frame's answer was ready.
    """

    latency_ms: float


class Recognizer:
    """Recognises parts with a model package.

    Safe to call from several threads. Use it as a context manager, or call `close`.

    Example:
        >>> with Recognizer("line3.partsight") as recognizer:
        ...     part = recognizer.recognize(frame)
        ...     print(part.label, part.score, part.accepted)
    """

    def __init__(  # noqa: PLR0913 (each a keyword with a default)
        self,
        package: str | Path,
        *,
        provider: str = "cpu",
        precision: Precision = "fp32",
        batch_size: int = 16,
        top: int = 5,
        threshold: float | None = None,
        threads: int | None = None,
        verify: bool = True,
    ) -> None:
        """Load and warm up a package.

        Args:
            package: the folder that `partsight export` wrote, or one of its `.onnx` files alone.
            provider: `cpu` or `cuda`. It is this one or an error; there is no fallback.
            precision: of the model to load.
            batch_size: the most frames in one run of the network; more are split.
            top: how many candidates a result names.
            threshold: scores below it are answered "unknown"; None for the package's own.
            threads: of ONNX Runtime on the CPU; None for one a physical core.
            verify: compare frames with golden images where the package has them (an `.onnx` file alone has none);
                False for the network's answer alone.

        Raises:
            PackageError: the package is damaged or altered, or its labels do not match its network.
            ProviderError: the provider cannot be had here.
            DependencyError: no ONNX Runtime is installed.
        """
        _check_positive("batch_size", batch_size)
        _check_positive("top", top)
        if threads is not None:
            _check_positive("threads", threads)
        loaded = _load(Path(package), provider, precision, threads)
        self.manifest, self.package_id, session = loaded.manifest, loaded.package_id, loaded.session
        self._session: Session | None = session
        self._provider = session.provider.name
        self._comparison = _comparison(loaded) if verify else None
        decision = self._comparison.verification.decision if self._comparison else self.manifest.decision
        self.threshold = decision.threshold if threshold is None else threshold
        self.batch_size = batch_size
        self._top = top
        self._buffers: deque[Pixels] = deque()  # append and pop are atomic: threads share it without a lock
        self._warm_up(session)

    @property
    def labels(self) -> tuple[str, ...]:
        """The parts that the package was taught, in the order of the network's scores."""
        return self.manifest.labels

    @property
    def provider(self) -> str:
        """The provider that the network really runs on."""
        return self._provider

    def recognize(self, frame: Pixels) -> Result:
        """Recognise the part in one frame.

        Args:
            frame: (height, width, 3) uint8 BGR as OpenCV and most cameras deliver it, or (height, width)
                uint8 if the package was taught grey images. Of any size.

        Raises:
            FrameError: it is not such an array.
        """
        return self.recognize_batch([frame])[0]

    def recognize_batch(self, frames: Sequence[Pixels]) -> list[Result]:
        """Recognise the parts in several frames; results in the order of the frames.

        All frames are checked before the first is worked on.

        Raises:
            FrameError: a frame is not such an array as `recognize` takes; the message names its place.
        """
        started = time.perf_counter()
        comparison = self._comparison  # as it is now: a `close` meanwhile must not change how the rest is answered
        results: list[Result] = []
        for chunk, inference in self._chunks(frames):
            answers = self._decide(chunk, inference, comparison)
            latency_ms = (time.perf_counter() - started) * 1000
            results += [
                Result(answer.label, answer.score, answer.margin, answer.accepted, answer.top, latency_ms)
                for answer in answers
            ]
        return results

    def infer(self, frames: Sequence[Pixels]) -> Inference:
        """Return the network's whole scores and embeddings: for calibration, comparison and enrolment.

        Raises:
            FrameError: as for `recognize_batch`.
        """
        session = self._open_session()
        parts = [inference for _, inference in self._chunks(frames)]
        if not parts:
            return Inference(
                np.empty((0, session.classes), np.float32),
                np.empty((0, session.embedding_size), np.float32),
            )
        return Inference(
            np.concatenate([part.score for part in parts]), np.concatenate([part.embedding for part in parts])
        )

    def close(self) -> None:
        """Give memory back. Calls after it raise PartsightError; calls under way come to their end."""
        self._session = None  # first: who finds no comparison after it finds no session either
        self._comparison = None
        self._buffers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_session(self) -> Session:
        session = self._session
        if session is None:
            raise PartsightError("this Recognizer is closed; create a new one")
        return session

    def _decide(self, frames: Sequence[Pixels], inference: Inference, comparison: "_Comparison | None") -> list[Answer]:
        if comparison is None:
            return decide(inference.score, self.labels, self.threshold, self._top)
        spec, references = comparison.verification.spec, comparison.references
        prepared_as = spec.preprocess(self.manifest.preprocess)
        answers = []
        for frame, score in zip(frames, inference.score, strict=True):
            verified = compare(preprocess([frame], prepared_as)[0], score, references, spec, self.threshold)
            answers.append(decide_verified(verified, spec, self.labels, self.threshold, self._top))
        return answers

    def _chunks(self, frames: Sequence[Pixels]) -> Iterator[tuple[Sequence[Pixels], Inference]]:
        session = self._open_session()
        spec = self.manifest.preprocess
        if len(frames) > self.batch_size:
            check_frames(frames, spec)
        for start in range(0, len(frames), self.batch_size):
            chunk, buffer = frames[start : start + self.batch_size], self._take_buffer()
            inference = session.run(preprocess(chunk, spec, buffer))
            self._buffers.append(buffer)
            yield chunk, inference

    def _take_buffer(self) -> Pixels:
        try:
            return self._buffers.pop()
        except IndexError:
            spec = self.manifest.preprocess
            return np.empty((self.batch_size, spec.height, spec.width, 3), np.uint8)

    def _warm_up(self, session: Session) -> None:
        """Run the sizes that the line will use most, so that its first frame is as fast as its last."""
        spec = self.manifest.preprocess
        for size in {1, self.batch_size}:
            session.run(np.zeros((size, spec.height, spec.width, 3), np.uint8))


@dataclass(frozen=True)
class _Loaded:
    """What was found at a path; `package` is None for an ONNX file alone."""

    manifest: Manifest
    package_id: str
    session: Session
    package: ModelPackage | None


def _load(path: Path, provider: str, precision: Precision, threads: int | None) -> _Loaded:
    """Load a package's folder, or an ONNX file alone by the manifest in its metadata."""
    if path.suffix == ".onnx" and path.is_file():
        session = Session(path.read_bytes(), provider, threads)
        text = session.metadata.get(METADATA_KEY)
        if text is None:
            raise PackageError(
                f"{path}: its metadata holds no partsight manifest; use a file that `partsight export` wrote"
            )
        manifest = msgspec.structs.replace(Manifest.from_json(text.encode(), str(path)), verification=None)
        loaded = _Loaded(manifest, sha256_bytes(text.encode())[:16], session, None)
    else:
        package = ModelPackage.read(path)
        session = Session(package.model_bytes(precision), provider, threads)
        loaded = _Loaded(package.manifest, package.package_id, session, package)
    _check_agreement(path, loaded.manifest, session)
    return loaded


@dataclass(frozen=True)
class _Comparison:
    """The second stage of a package."""

    verification: Verification
    references: References


def _comparison(loaded: _Loaded) -> _Comparison | None:
    verification = loaded.manifest.verification
    if verification is None or loaded.package is None:
        return None
    spec = verification.spec
    return _Comparison(verification, References(loaded.package.reference, (spec.height, spec.width)))


def _check_agreement(path: Path, manifest: Manifest, session: Session) -> None:
    if len(manifest.labels) != session.classes:
        raise PackageError(
            f"{path}: the manifest has {len(manifest.labels)} labels, the network {session.classes} scores; "
            "they are not from one export: export the package again"
        )
    expected = (manifest.preprocess.height, manifest.preprocess.width)
    if expected != session.input_hw:
        raise PackageError(
            f"{path}: the manifest prepares frames of {expected} (height, width), the network takes "
            f"{session.input_hw}; they are not from one export: export the package again"
        )


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} is {value}; expected at least 1")
