"""The recogniser: frames in, parts out. The class that people embed."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from partsight.runtime.core import PartsightError, Pixels, ProcessBound, check_path, check_positive, is_number
from partsight.runtime.images import check_batch, preprocess
from partsight.runtime.inference import Arithmetic, GpuSettings, Inference, Settings
from partsight.runtime.matching import Appearance, appearance_of
from partsight.runtime.package import resized
from partsight.runtime.recognition.batch import late
from partsight.runtime.recognition.loading import load
from partsight.runtime.recognition.pipeline import Pipeline
from partsight.runtime.recognition.results import Result, Started
from partsight.runtime.recognition.threshold import warn_of_threshold
from partsight.runtime.signing import KeyLike, read_keys

COMPARERS_TEXT = "comparers has no effect: matching uses all cores by threads; remove it"
"""The warning about `comparers`, which Python, `partsight run` and a line's file still accept in this release."""


class Recognizer(ProcessBound):
    """Recognises parts with a model package.

    Safe to call from several threads, and in the process that made it alone: elsewhere each call raises PartsightError.
    Use it as a context manager, or call `close`.

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
        precision: Arithmetic = "fp32",
        batch_size: int = 16,
        top: int = 5,
        threshold: float | None = None,
        verify: bool = True,
        threads: int | None = None,
        comparers: int | None = None,
        spinning: bool = True,
        cache: str | Path | None = None,
        gpu: GpuSettings | None = None,
        trusted_keys: Sequence[KeyLike] | None = None,
    ) -> None:
        """Load and warm up a package.

        Args:
            package: the folder that `partsight export` wrote, or one of its `.onnx` files alone.
            provider: `cpu`, `openvino`, `cuda` or `tensorrt`: it is this one or an error, there is no fallback. `auto`
                tries all that are installed and takes the fastest; `provider` and `provider_reason` then say which.
            precision: what the network is computed in. `bf16` is the fp32 model computed so (OpenVINO alone).
            batch_size: the most frames in one run of the network; more are split.
            top: how many candidates a result names.
            threshold: scores below it are answered "unknown"; None for the package's own. The log warns of one that
                refuses many good frames, or accepts most unknown parts, as the package's calibration says.
            verify: compare frames with golden images where the package has them (an `.onnx` file alone has none);
                False for the network's answer alone.
            threads: for the CPU's share of the network; None for one a physical core.
            comparers: Deprecated. It has no effect, and the next release removes it.
            spinning: let ONNX Runtime's threads spin for a moment while they wait within a run. False spares some of
                the processor's time, and a batch of one takes a tenth longer.
            cache: folder where OpenVINO and TensorRT keep what they compiled, for a faster start; None for none.
            gpu: steps towards the speed of the card; None for all of them.
            trusted_keys: public keys, or paths of their files: the package is refused unless one of them signed it, and
                `signed_by` then says which. None where only this machine's setting counts, which always does
                (docs/signing.md).

        Raises:
            PackageError: the package is damaged or altered, or its labels do not match its network.
            SignatureError: it is not signed by a trusted key.
            KeyFileError: a trusted key cannot be read.
            ProviderError: the provider cannot be had here, or not in this precision.
            DependencyError: no ONNX Runtime is installed, or no `cryptography` where a signature is demanded.
            ValueError: a number is not one that can be.
            TypeError: an argument is of another kind, such as None for the package.
        """
        check_path(package)
        check_positive("batch_size", batch_size)
        check_positive("top", top)
        if threads is not None:
            check_positive("threads", threads)
        if comparers is not None:
            warnings.warn(COMPARERS_TEXT, DeprecationWarning, stacklevel=2)
        if threshold is not None and not (
            is_number(threshold) and math.isfinite(threshold)
        ):  # nothing is below NaN, nor above
            raise ValueError(
                f"threshold is {threshold!r}; expected a finite number, or None for the package's own: scores are at "
                "most 1, so that one above it refuses everything, and -1 nothing"
            )
        settings = Settings(
            arithmetic=precision,
            threads=threads,
            spinning=spinning,
            batch_sizes=tuple(sorted({1, batch_size})),
            cache=None if cache is None else Path(cache),
            gpu=gpu or GpuSettings(),
        )
        self.trusted_keys = None if trusted_keys is None else read_keys(trusted_keys)
        loaded = load(Path(package), provider, settings, self.trusted_keys, has_comparison=verify)
        session = loaded.choice.session
        self.manifest, self.package_id, self.signed_by = loaded.manifest, loaded.package_id, loaded.signed_by
        self.batch_size = batch_size
        self._provider, self._provider_reason = session.provider.name, loaded.choice.reason
        comparison = loaded.comparison
        self.decision = comparison.matching.decision if comparison else self.manifest.decision
        self.threshold = self.decision.threshold if threshold is None else threshold
        if threshold is not None:
            warn_of_threshold(self.decision, threshold, self.package_id)
        pipeline = Pipeline(session, self.manifest, comparison, batch_size=batch_size, top=top)
        pipeline.warm_up()
        self._pipeline: Pipeline | None = pipeline

    @property
    def labels(self) -> tuple[str, ...]:
        """The parts that the package was taught, in the order of the network's scores."""
        return self.manifest.labels

    @property
    def provider(self) -> str:
        """The provider that the network really runs on."""
        return self._provider

    @property
    def provider_reason(self) -> str:
        """Why it runs there, for people."""
        return self._provider_reason

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._pipeline is None

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

        All frames are checked before the first is worked on. Where there are more than `batch_size`, the next batch is
        prepared and the last one is compared with golden images while the network runs, if that leaves a core: on a
        GPU, or where frames are compared. Else, one thing comes after the other. Of more than `batch_size`, a sequence
        that reads its frames from files (`ImageFiles`) reads each twice, first to check it; few are in memory at a
        time.

        Raises:
            FrameError: a frame is not such an array as `recognize` takes; the message names its place. Or `frames` is
                one frame, or no sequence.
        """
        results: list[Result] = []
        pipeline = self._open()
        check_batch(frames, self.manifest.preprocess.color)
        ahead = pipeline.ahead if len(frames) > self.batch_size else 0
        for batch in late(pipeline.start(frames, self.threshold, ahead), ahead):
            results += batch.wait()
        return results

    def start_batch(self, frames: Sequence[Pixels]) -> Started:
        """Run the network on a batch, and return while the frames are compared with golden images.

        For a loop that has its next frames already: it starts them, and only then waits for the results of these. Where
        to compare meanwhile gains nothing (see `recognize_batch`), that is done before this returns.

        Example:
            >>> before = recognizer.start_batch(frames)
            >>> after = recognizer.start_batch(next_frames)
            >>> results = before.wait()

        Args:
            frames: as for `recognize`, at least one and at most `batch_size`.

        Raises:
            FrameError: as for `recognize_batch`.
            ValueError: there are none or too many.
            PackageError: a golden image is damaged; raised by `Started.wait`, too.
        """
        pipeline = self._open()
        check_batch(frames, self.manifest.preprocess.color)
        if not 0 < len(frames) <= self.batch_size:
            raise ValueError(f"received {len(frames)} frames; expected 1 to {self.batch_size}, which is batch_size")
        (batch,) = pipeline.start(frames, self.threshold, pipeline.ahead)
        if not pipeline.ahead:
            batch.wait()
        return batch

    def infer(self, frames: Sequence[Pixels]) -> Inference:
        """Return the network's whole scores and embeddings: for calibration and comparison.

        Of a package with a search (`manifest.search`) most scores are not computed; see `PrototypeSearch.score`.

        Raises:
            FrameError: as for `recognize_batch`.
        """
        pipeline = self._open()
        check_batch(frames, self.manifest.preprocess.color)
        inferences = []
        for chunk in pipeline.chunks(frames, 1):
            inferences.append(chunk.inference)
            chunk.prepared.release()
        if not inferences:
            return Inference(
                np.empty((0, pipeline.session.classes), np.float32),
                np.empty((0, pipeline.session.embedding_size), np.float32),
            )
        return Inference(
            np.concatenate([inference.score for inference in inferences]),
            np.concatenate([inference.embedding for inference in inferences]),
        )

    def appearance(self, frame: Pixels, label: str) -> Appearance | None:
        """Measure how sharp and how bright a frame is beside the golden image of a part.

        Args:
            frame: as for `recognize`.
            label: of the part that it shows.

        Returns:
            None where the package has no golden images, or they are not used (`verify=False`).

        Raises:
            FrameError: the frame is not such an array as `recognize` takes.
            ValueError: the package was not taught the part.
            PackageError: the golden image is damaged.
        """
        golden, comparison = self.golden_image(label), self._open().comparison
        if golden is None or comparison is None:
            return None
        spec = comparison.matching.spec.preprocess(self.manifest.preprocess)
        return appearance_of(preprocess([frame], spec)[0], golden)

    def golden_image(self, label: str) -> Pixels | None:
        """Return the golden image that frames of a part are compared with.

        Returns:
            (height, width, 3) uint8 BGR, cropped and of the size at which they are compared; None as of `appearance`.

        Raises:
            ValueError: the package was not taught the part.
            PackageError: the golden image is damaged.
        """
        comparison = self._open().comparison
        if label not in self.labels:
            raise ValueError(f"received label {label!r}; expected one of the {len(self.labels)} parts of the package")
        if comparison is None:
            return None
        image = comparison.package.golden_image(self.labels.index(label))
        return resized(image, comparison.matching.spec.size_hw)

    def hold(self) -> None:
        """Read into memory, and make ready, what answers would otherwise wait for when they first need it.

        A start is faster without, by a second or so of work for a thousand parts; a line calls it, and needs the
        package's folder no more. Of more than 256 MB of golden images the rest stays where it is. May be called from
        any thread, once is enough; `close` ends it.

        Raises:
            PackageError: a golden image is damaged or gone.
        """
        self._open().preload(lambda: not self.is_closed)

    def close(self) -> None:
        """Give memory back. Calls after it raise PartsightError; calls under way come to their end."""
        self._pipeline = None  # those calls hold it, and the last of them frees it

    def check_open(self) -> None:
        """Refuse a recogniser that can answer nothing: for what takes one over and needs it later.

        Raises:
            PartsightError: it is closed, or was made in another process.
        """
        self._open()

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Pipeline:
        pipeline = self._pipeline
        if pipeline is None:
            raise PartsightError("this Recognizer is closed; create a new one")
        return pipeline
