"""Recognition of a chunk of frames, in an actor: each frame is read once, and answered by one package or by two."""

import socket
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from partsight.runtime.cluster.batch.frames import Reference
from partsight.runtime.cluster.batch.rows import answered, failed, row_of, schema
from partsight.runtime.cluster.batch.sources import Chunk
from partsight.runtime.core import FrameError, ImageError, PartsightError, Pixels, RemoteError, import_extra
from partsight.runtime.images import check_frame
from partsight.runtime.inference import Arithmetic, EngineSettings
from partsight.runtime.recognition import Recognizer, StartedBatch


@dataclass(frozen=True)
class AskedPackage:
    """A package that answers the frames.

    Attributes:
        path: Folder of the package; each machine must have it at this path.
        package_id: Its id.
    """

    path: Path
    package_id: str


@dataclass(frozen=True)
class Opening:
    """How an actor opens a package; each attribute is an option of `Recognizer`."""

    provider: str = "cpu"
    precision: Arithmetic = "fp32"
    batch_size: int = 16
    threads: int | None = None

    def open(self, asked: AskedPackage) -> Recognizer:
        """Open a package on this machine.

        Raises:
            RemoteError: The machine does not have it, has another one, or cannot run it.
        """
        settings = EngineSettings(threads=self.threads)
        try:
            recognizer = Recognizer(
                asked.path,
                provider=self.provider,
                precision=self.precision,
                batch_size=self.batch_size,
                engine=settings,
            )
        except PartsightError as error:
            raise RemoteError(f"machine {socket.gethostname()}: {error}") from error
        if recognizer.package_id != asked.package_id:
            raise RemoteError(
                f"machine {socket.gethostname()}: {asked.path} holds the package {recognizer.package_id}; expected "
                f"{asked.package_id}, which the machine of the command has there: let all machines use one share"
            )
        return recognizer


@dataclass
class RecognizeChunk:
    """Work on a chunk of frames, for the engine.

    Attributes:
        packages: The package that answers and, to compare with it, the old one.
        opening: How to open them.
        readers: Number of threads that read frames.
    """

    packages: tuple[AskedPackage, ...]
    opening: Opening
    readers: int
    _recognizers: list[Recognizer] = field(default_factory=list, init=False, repr=False)

    def __call__(self, chunk: Chunk) -> Any:
        """Answer the frames of a chunk, and return their rows in order, a pyarrow.Table.

        Raises:
            RemoteError: This machine does not have the frames or a package.
            PackageError: A golden image is damaged.
        """
        _check_present(chunk.frames.place)
        if not self._recognizers:
            self._recognizers = [self.opening.open(asked) for asked in self.packages]
        rows = list(self._rows(chunk))
        if any(row["outcome"] == "failed" for row in rows):
            _check_present(chunk.frames.place)  # a share that goes away fails all its files
        arrow = import_extra("pyarrow", "ray")
        return arrow.Table.from_pylist(rows, schema=schema(is_compared=len(self.packages) > 1))

    def _rows(self, chunk: Chunk) -> Iterator[dict[str, Any]]:
        size = self.opening.batch_size
        with closing(chunk.frames.references()) as references, ThreadPoolExecutor(self.readers) as pool:
            images = _read_ahead(pool, references, 2 * size)
            groups = iter(lambda: list(islice(images, size)), [])
            index = chunk.start
            for group, answers in _overlapped(groups, self._recognizers):
                for image, columns in zip(group, zip(*answers, strict=True), strict=True):
                    yield row_of(index, image.source, columns)
                    index += 1


@dataclass(frozen=True)
class _Image:
    """A frame that was read: its pixels, or the reason why there are none."""

    source: str
    pixels: Pixels | None
    fault: str = ""


@dataclass(frozen=True)
class _Started:
    """Answers of one package to a group of images, while they are still compared; faults by index in the group."""

    package_id: str
    count: int
    faults: dict[int, str]
    batch: StartedBatch | None

    def wait(self) -> list[dict[str, Any]]:
        """Return the columns of each image, in order."""
        results = iter(self.batch.wait() if self.batch else ())
        return [
            failed(self.faults[index]) if index in self.faults else answered(next(results), self.package_id)
            for index in range(self.count)
        ]


def _overlapped(
    groups: Iterable[list[_Image]], recognizers: Sequence[Recognizer]
) -> Iterator[tuple[list[_Image], list[list[dict[str, Any]]]]]:
    """Yield each group with the answers of each package; the network runs while the group before is compared."""
    before: tuple[list[_Image], list[_Started]] | None = None
    for group in groups:
        started = [_start(group, recognizer) for recognizer in recognizers]
        if before is not None:
            yield before[0], [each.wait() for each in before[1]]
        before = group, started
    if before is not None:
        yield before[0], [each.wait() for each in before[1]]


def _start(group: Sequence[_Image], recognizer: Recognizer) -> _Started:
    faults, frames = dict[int, str](), list[Pixels]()
    for index, image in enumerate(group):
        try:
            if image.pixels is None:
                faults[index] = image.fault
            else:
                frames.append(check_frame(image.pixels, recognizer.manifest.preprocess))
        except FrameError as error:
            faults[index] = str(error)
    return _Started(recognizer.package_id, len(group), faults, recognizer.start_batch(frames) if frames else None)


def _read_ahead(pool: ThreadPoolExecutor, references: Iterable[Reference], ahead: int) -> Iterator[_Image]:
    """Yield the images in order, and read some further ones meanwhile."""
    reading: deque[Future[_Image]] = deque()
    for reference in references:
        reading.append(pool.submit(_read, reference))
        if len(reading) >= ahead:
            yield reading.popleft().result()
    while reading:
        yield reading.popleft().result()


def _read(reference: Reference) -> _Image:
    try:
        return _Image(reference.source, reference.read())
    except ImageError as error:
        return _Image(reference.source, None, str(error).removeprefix(f"{reference.source}: "))


def _check_present(place: Path) -> None:
    """Refuse to fail frames one by one because this machine does not have the folder or file that holds them."""
    if not place.exists():
        raise RemoteError(
            f"machine {socket.gethostname()}: there is no {place}; mount the share with the frames there on every "
            "machine of the cluster"
        )
