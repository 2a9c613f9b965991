"""The recogniser: frames in, parts out. Programs embed this class."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Self, Unpack

import msgspec

from partsight.runtime.core import (
    PartsightError,
    Pixels,
    ProcessBound,
    check_path,
    check_positive,
    warn_renamed,
)
from partsight.runtime.images import check_batch, preprocess
from partsight.runtime.inference import Arithmetic, EngineSettings, Inference, ModelSettings, Session, find_cores
from partsight.runtime.matching import Appearance, Rule, appearance_of
from partsight.runtime.package import Manifest
from partsight.runtime.recognition.explanation import Explanation
from partsight.runtime.recognition.loading import Loaded, load
from partsight.runtime.recognition.old_options import NEW_NAMES, OldOptions, check_known, read_engine
from partsight.runtime.recognition.pipeline import Pipeline
from partsight.runtime.recognition.preparer import prefetch
from partsight.runtime.recognition.remote import RemotePipeline
from partsight.runtime.recognition.results import Result
from partsight.runtime.recognition.started_batch import StartedBatch
from partsight.runtime.recognition.threshold import check_threshold, warn_of_threshold
from partsight.runtime.signing import KeyLike, read_keys


class Recognizer(ProcessBound):
    """Recognises parts with a model package.

    Thread-safe. Only the process that made it can use it: in any other process each call raises PartsightError.
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
        matching: bool = True,
        cropped: bool = False,
        engine: EngineSettings | None = None,
        trusted_keys: Sequence[KeyLike] | None = None,
        **old: Unpack[OldOptions],
    ) -> None:
        """Load and warm up a package.

        Args:
            package: Folder that `partsight export` wrote, or one of its `.onnx` files alone.
            provider: `cpu`, `openvino`, `cuda` or `tensorrt`; an error if it does not work, for there is no fallback.
                `auto` tries all that are installed and takes the fastest; see `provider_reason`. Or the address of a
                server that has this package, `kserve://HOST:PORT/MODEL` (docs/remote.md).
            precision: Number format in which the network is computed. For `bf16` OpenVINO computes the fp32 model so.
                A server chooses its own: leave the default.
            batch_size: Most frames in one run of the network; longer batches are split.
            top: Number of candidates that a result names.
            threshold: Least score that is accepted; None for the package's own. A margin and the network's lead may
                lower it for a frame, see `Answer.threshold`. The log warns of a threshold that refuses many good
                frames, or accepts most unknown parts, according to the package's calibration.
            matching: Whether to compare frames with golden images, if the package has them (an `.onnx` file alone has
                none); False for the network's answer alone.
            cropped: Whether frames show the package's region alone, because the camera or a client has cropped them.
            engine: Use of the machine (device, threads, cache, card); None for the fastest.
            trusted_keys: Public keys, or paths of their files. partsight refuses a package that none of them signed;
                `signed_by` then names the keys that did. The machine's own setting holds as well (docs/signing.md).
            old: Deprecated keywords of `OldOptions`: `verify` is now `matching`; `threads`, `spinning`, `cache` and
                `gpu` are fields of `engine`.

        Raises:
            PackageError: The package is damaged or altered, its labels do not match its network, or the server has
                another package.
            SignatureError: No trusted key signed it.
            KeyFileError: A trusted key cannot be read.
            ProviderError: The provider does not work on this machine, or not in this precision or with these options;
                or the device of `engine` is not there.
            RemoteError: The server does not answer, or has another model.
            DependencyError: ONNX Runtime is not installed, or tritonclient for a server, or `cryptography` and a
                signature is demanded.
            ValueError: A number is out of bounds.
            TypeError: An argument is of another kind, such as None for the package.
        """
        check_path(package)
        check_positive("batch_size", batch_size)
        check_positive("top", top)
        check_threshold(threshold)
        check_known(old)
        for name in old:
            warn_renamed(f"Recognizer({name}=...)", f"Recognizer({NEW_NAMES[name]})")
        matching, engine = old.get("verify", matching), read_engine(old, engine)
        settings = ModelSettings(precision, tuple(sorted({1, batch_size})), engine=engine)
        self.trusted_keys = None if trusted_keys is None else read_keys(trusted_keys)
        self._cores = find_cores(provider, engine.device)
        with self._cores.pinned():  # all threads that are started meanwhile stay there, and the memory that they fill
            loaded = load(Path(package), provider, settings, self.trusted_keys, matching=matching)
        session, stage = loaded.session, loaded.matching_stage
        self.manifest = _without_region(loaded.manifest) if cropped else loaded.manifest
        self.package_id, self.signed_by = loaded.package_id, loaded.signed_by
        self.batch_size = batch_size
        self._provider, self._provider_reason = session.provider.name, session.reason
        self.decision = stage.matching.decision if stage else self.manifest.decision
        self.threshold = self.decision.threshold if threshold is None else threshold
        if threshold is not None:
            warn_of_threshold(self.decision, threshold, self.package_id)
        with self._cores.pinned():
            pipeline = self._make_pipeline(loaded, top)
            pipeline.warm_up()
        self._pipeline: Pipeline | RemotePipeline | None = pipeline

    @property
    def labels(self) -> tuple[str, ...]:
        """The parts of the package, in the order of the network's scores."""
        return self.manifest.labels

    @property
    def provider(self) -> str:
        """Name of the provider on which the network runs."""
        return self._provider

    @property
    def provider_reason(self) -> str:
        """Why the network runs on that provider, in words."""
        return self._provider_reason

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._pipeline is None

    def recognize(self, frame: Pixels) -> Result:
        """Recognise the part in one frame.

        Args:
            frame: Frame of any size, (height, width, 3) uint8 BGR as OpenCV and most cameras deliver it; (height,
                width) uint8 if the package has grey golden images.

        Raises:
            FrameError: The frame is not such an array.
            PackageError: A golden image is damaged.
        """
        return self.recognize_batch([frame])[0]

    def recognize_batch(self, frames: Sequence[Pixels]) -> list[Result]:
        """Recognise the parts in several frames; return the results in the order of the frames.

        All frames are checked before the first is recognised. For more than `batch_size` frames, the next batch is
        prepared and the last batch is compared with golden images while the network runs, if that leaves a core: on a
        GPU, or with golden images. Otherwise one step follows the other.

        A sequence that reads its frames from files (`ImageFiles`) reads each twice if there are more than `batch_size`,
        first to check it; few are in memory at a time.

        Args:
            frames: Frames as for `recognize`.

        Raises:
            FrameError: A frame is not such an array as `recognize` takes; the message names its index. Or `frames` is
                one frame, or no sequence.
            PackageError: A golden image is damaged.
        """
        results: list[Result] = []
        pipeline = self._open()
        check_batch(frames, self.manifest.preprocess.color)
        depth = pipeline.prefetch_depth if len(frames) > self.batch_size else 0
        with self._cores.pinned():
            for batch in prefetch(pipeline.start(frames, self._rule(), depth), depth):
                results += batch.wait()
        return results

    def start_batch(self, frames: Sequence[Pixels]) -> StartedBatch:
        """Run the network on a batch; return while the frames are still compared with golden images.

        For a loop that already has its next frames: it starts them, and then waits for the results of these. If the
        overlap gains nothing (see `recognize_batch`), this call compares the frames itself.

        Example:
            >>> before = recognizer.start_batch(frames)
            >>> after = recognizer.start_batch(next_frames)
            >>> results = before.wait()

        Args:
            frames: Frames as for `recognize`, 1 to `batch_size` of them.

        Raises:
            FrameError: As for `recognize_batch`.
            ValueError: There are no frames or too many.
            PackageError: A golden image is damaged. `StartedBatch.wait` may raise it, too.
        """
        pipeline = self._open()
        check_batch(frames, self.manifest.preprocess.color)
        if not 0 < len(frames) <= self.batch_size:
            raise ValueError(f"received {len(frames)} frames; expected 1 to {self.batch_size}, which is batch_size")
        with self._cores.pinned():
            (batch,) = pipeline.start(frames, self._rule(), pipeline.prefetch_depth)
        return batch

    def explain(self, frame: Pixels) -> Explanation:
        """Recognise the part in one frame, and say why: for people to look at, not for each frame of a line.

        A package or a call without golden images (`matching=False`) explains by the network's scores, without overlays.

        Args:
            frame: Frame as for `recognize`.

        Returns:
            The answer of `recognize` and its reason; `draw_explanation` draws it.

        Raises:
            FrameError: As for `recognize`.
            PackageError: A golden image is damaged or missing.
        """
        pipeline = self._open()
        check_batch([frame], self.manifest.preprocess.color)
        return pipeline.explain(frame, self._rule())

    def infer(self, frames: Sequence[Pixels]) -> Inference:
        """Return all scores and embeddings of the network: for calibration and comparison.

        With a search in the package (`manifest.search`) most scores are not computed; see `PrototypeSearch.score`.

        Args:
            frames: Frames as for `recognize`.

        Raises:
            FrameError: As for `recognize_batch`.
        """
        pipeline = self._open()
        check_batch(frames, self.manifest.preprocess.color)
        return pipeline.infer(frames)

    def appearance(self, frame: Pixels, label: str) -> Appearance | None:
        """Measure how sharp and how bright a frame is, compared with the golden image of a part.

        Args:
            frame: Frame as for `recognize`.
            label: The part that it shows.

        Returns:
            None if the package has no golden images, or with `matching=False`.

        Raises:
            FrameError: The frame is not such an array as `recognize` takes.
            ValueError: The package does not have the part.
            PackageError: The golden image is damaged.
        """
        golden, stage = self.golden_image(label), self._open().matching_stage
        if golden is None or stage is None:
            return None
        spec = stage.matching.spec.preprocess(self.manifest.preprocess)
        return appearance_of(preprocess([frame], spec)[0], golden)

    def golden_image(self, label: str, reference: int = 0) -> Pixels | None:
        """Return the golden image of a part, or another of its references.

        Args:
            label: One of `labels`.
            reference: Index of the reference, as in `Answer.reference`.

        Returns:
            (height, width, 3) uint8 BGR, cropped, and of the size of the comparison. None as for `appearance`.

        Raises:
            ValueError: The package does not have the part.
            IndexError: The part has no such reference.
            PackageError: The golden image is damaged.
        """
        stage = self._open().matching_stage
        if label not in self.labels:
            raise ValueError(f"received label {label!r}; expected one of the {len(self.labels)} parts of the package")
        return None if stage is None else stage.reference_image(self.labels.index(label), reference)

    def preload(self) -> None:
        """Read golden images and their references into memory before answers need them.

        A start without it is faster, by about a second for a thousand parts. A line calls it, and then no longer needs
        the package's folder. Golden images beyond 256 MB stay on disk. Any thread may call it, once; `close` ends it.

        Raises:
            PackageError: A golden image is damaged or missing.
        """
        pipeline = self._open()
        if pipeline.matching_stage is not None:
            with self._cores.pinned():
                pipeline.matching_stage.preload(lambda: not self.is_closed)

    def hold(self) -> None:
        """Call `preload`, the new name. Deprecated."""
        text = "Recognizer.hold is the old name; use Recognizer.preload"
        warnings.warn(text, DeprecationWarning, stacklevel=3)  # one more than usual, for the check of the process
        self.preload()

    def close(self) -> None:
        """Free the memory. Later calls raise PartsightError; calls that still run come to their end."""
        self._pipeline = None  # running calls hold it, and the last of them frees it

    def check_open(self) -> None:
        """Refuse a recogniser that cannot answer: for an object that takes it over and needs it later.

        Raises:
            PartsightError: It is closed, or was made in another process.
        """
        self._open()

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def end_soon(self) -> None:
        """Ask a lost server again for one more `timeout_s` at most, all batches together: a line that stops calls it.

        Without a server it has no effect.
        """
        pipeline = self._pipeline
        if isinstance(pipeline, RemotePipeline):
            pipeline.session.end_soon()

    def take_retries(self) -> int:
        """Return how many requests were sent again since the last call; 0 without a server. A line counts them."""
        pipeline = self._pipeline
        return pipeline.session.watch.take_retries() if isinstance(pipeline, RemotePipeline) else 0

    def _make_pipeline(self, loaded: Loaded, top: int) -> Pipeline | RemotePipeline:
        session, stage, size = loaded.session, loaded.matching_stage, self.batch_size
        if isinstance(session, Session):
            return Pipeline(session, self.manifest, stage, batch_size=size, top=top)
        assert stage is not None
        return RemotePipeline(session, self.manifest, loaded.package_id, stage, batch_size=size, top=top)

    def _rule(self) -> Rule:
        """Return the package's rule, with the user's threshold."""
        return Rule(self.threshold, self.decision.by_margin, self.decision.by_network)

    def _open(self) -> Pipeline | RemotePipeline:
        pipeline = self._pipeline
        if pipeline is None:
            raise PartsightError("this Recognizer is closed; create a new one")
        return pipeline


def _without_region(manifest: Manifest) -> Manifest:
    """Return a manifest for frames that are cropped already."""
    spec = msgspec.structs.replace(manifest.preprocess, region=None, golden_hw=None)
    return msgspec.structs.replace(manifest, preprocess=spec)
