"""`images:FOLDER`: pictures of unknown parts, of close decisions and of a sample, with their records, to learn from."""

import contextlib
import os
import re
from collections import Counter, OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

import cv2
import msgspec

from partsight.runtime.core import Pixels, ProcessBound, ResultRefusedError, SinkError, SinkGoneError
from partsight.runtime.sinks.address import Address, Options
from partsight.runtime.sinks.files import check_folder, flush_folder
from partsight.runtime.sinks.record import FrameEvent, KeptRecord, Record
from partsight.runtime.sinks.sink import Sink

_PARTIAL = ".partial"
_QUALITY = 95
_NAME = re.compile(r"\d{8}T\d{12}Z_.*_[0-9a-f]{8}\.(png|jpg|json)")


class ImagesOptions(Options, frozen=True, kw_only=True):
    """Options of the folder.

    Attributes:
        margin: Margin to the second best below which pictures of recognised parts are kept; 0 keeps only unknown parts.
        every: One in how many of the other recognised frames is kept, drawn by chance; 1 keeps all, 0 none.
        format: `png`, without loss, or `jpg`, a tenth as large and with loss.
        quality: Quality of jpg, 1 to 100.
        max_files: Limit of pictures that nobody has reviewed; the oldest are removed first.
        max_mb: Limit of these pictures and their records, in MB (of 1,000,000 bytes); the oldest are removed first.
    """

    margin: Annotated[float, msgspec.Meta(ge=0)] = 0.05
    every: Annotated[int, msgspec.Meta(ge=0)] = 0
    format: Literal["png", "jpg"] = "png"
    quality: Annotated[int, msgspec.Meta(ge=1, le=100)] = _QUALITY
    max_files: Annotated[int, msgspec.Meta(ge=1)] = 2000
    max_mb: Annotated[float, msgspec.Meta(gt=0)] = 1000.0

    def __post_init__(self) -> None:
        if self.format == "png" and self.quality != _QUALITY:
            raise ValueError("quality has no effect on png; give format=jpg, or no quality")


class ImagesFolder(ProcessBound, unusable=SinkGoneError):
    """Keeps pairs of a picture and its record, NAME.png and NAME.json."""

    keeps_pictures = True  # without it the line passes no frames
    may_lose = True  # the line does not wait if the disk has no room for a picture

    def __init__(self, folder: str | Path, options: ImagesOptions | None = None) -> None:
        """Make the folder, or count its pictures and remove halves of pairs that a crash left.

        Raises:
            SinkError: the folder cannot be made or read, or its parent folder is missing.
        """
        self._folder, self._options = Path(folder), options or ImagesOptions()
        self._closed = False
        check_folder(self._folder)
        try:
            self._folder.mkdir(exist_ok=True)
            self._remove_halves()
            self._kept = self._take_stock()  # bytes of each pair, by its name without suffix, the oldest first
        except OSError as error:
            raise SinkError(f"{self._folder}: cannot be used ({error}); name a folder that you may write to") from error
        self._bytes = sum(self._kept.values())
        self._changed_ns = 0  # time of the last change of the folder that is the sink's own

    def write(self, event: FrameEvent) -> None:
        """Keep the picture of a result that is worth learning from; skip any other, and a result without a frame.

        Raises:
            ResultRefusedError: the picture cannot be encoded, or exceeds `max_mb` alone.
            SinkError: the disk is full or failed.
        """
        if self._closed:
            raise SinkGoneError(f"{self._folder}: this sink is closed; open it again")
        if event.frame is None or not self.wants(event.record):
            return
        kept = KeptRecord(**msgspec.structs.asdict(event.record), stands_for=self._stands_for(event.record))
        record, picture = kept.to_json(), self._encode(event.frame.image)
        name, size = event.record.name, len(record) + len(picture)
        try:
            self._make_room(name, size)
            # The record first: a picture in the folder always has one.
            _write(self._folder / f"{name}.json", record)
            _write(self._folder / f"{name}.{self._options.format}", picture)
            flush_folder(self._folder)
        except OSError as error:
            with contextlib.suppress(OSError):  # a half that stays is removed when the folder is opened again
                self._remove(name)
            raise SinkError(
                f"{self._folder}: {error}; free or repair the disk: the pictures already kept are whole"
            ) from error
        self._kept[name] = size
        self._bytes += size
        with contextlib.suppress(OSError):
            self._changed_ns = self._folder.stat().st_mtime_ns

    def close(self) -> None:
        """Take no further pictures. May be called twice."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wants(self, record: Record) -> bool:
        """Return whether the picture is worth learning from.

        The draw depends on nothing but the frame: a result that is written again is drawn alike, and parts that come
        in turn do not hide from a count.
        """
        return self._is_doubtful(record) or (self._options.every > 0 and record.key % self._options.every == 0)

    def _stands_for(self, record: Record) -> int:
        return min(1, self._options.every) if self._is_doubtful(record) else self._options.every

    def _is_doubtful(self, record: Record) -> bool:
        return record.outcome != "recognised" or record.margin is None or record.margin < self._options.margin

    def _encode(self, image: Pixels) -> bytes:
        quality = [cv2.IMWRITE_JPEG_QUALITY, self._options.quality] if self._options.format == "jpg" else []
        try:
            done, data = cv2.imencode(f".{self._options.format}", image, quality)
        except cv2.error as error:
            raise ResultRefusedError(f"{self._folder}: a picture of {image.shape} {image.dtype}: {error}") from error
        if not done:
            raise ResultRefusedError(
                f"{self._folder}: a picture of {image.shape} {image.dtype} cannot be a {self._options.format}"
            )
        return data.tobytes()

    def _make_room(self, name: str, size: int) -> None:
        limit = self._options.max_mb * 1e6
        if size > limit:
            raise ResultRefusedError(
                f"{self._folder}: a picture of {size:,} bytes exceeds the limit of all, {limit:,.0f}; raise max_mb"
            )
        self._bytes -= self._kept.pop(name, 0)  # written twice: it replaces itself
        if self._is_full(size) and self._folder.stat().st_mtime_ns != self._changed_ns:
            self._kept = self._take_stock()  # a review has moved pictures out: they do not count
            self._bytes = sum(self._kept.values())
        while self._kept and self._is_full(size):
            oldest, freed = next(iter(self._kept.items()))
            self._remove(oldest)
            del self._kept[oldest]
            self._bytes -= freed

    def _is_full(self, size: int) -> bool:
        return self._bytes + size > self._options.max_mb * 1e6 or len(self._kept) >= self._options.max_files

    def _remove(self, name: str) -> None:
        for suffix in ("png", "jpg", "json"):  # the picture first: see `write`
            (self._folder / f"{name}.{suffix}").unlink(missing_ok=True)

    def _take_stock(self) -> "OrderedDict[str, int]":
        """Return the bytes of each pair, by its name without suffix, the oldest first."""
        sizes: OrderedDict[str, int] = OrderedDict()
        for path in sorted(self._files()):
            with contextlib.suppress(FileNotFoundError):  # a review moves files meanwhile
                sizes[path.stem] = sizes.get(path.stem, 0) + path.stat().st_size
        return sizes

    def _remove_halves(self) -> None:
        names = Counter(path.stem for path in self._files())
        for name, count in names.items():
            if count == 1:
                self._remove(name)
        for path in self._folder.glob(f"*{_PARTIAL}"):
            if _NAME.fullmatch(path.name.removesuffix(_PARTIAL)):
                path.unlink()

    def _files(self) -> Iterator[Path]:
        """Yield pictures and records; other files in the folder are not the sink's."""
        return (path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))


OPTIONS = ImagesOptions


def open_address(address: Address) -> Sink:
    """Open `images:FOLDER`.

    Raises:
        SinkError: see `ImagesFolder`; or an option is wrong.
    """
    options = address.read_options(ImagesOptions)
    if not address.place:
        raise SinkError("sink images: names no folder; expected images:FOLDER")
    return ImagesFolder(address.place, options)


def _write(path: Path, data: bytes) -> None:
    """Write a file whole, or not at all."""
    partial = path.with_name(path.name + _PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
