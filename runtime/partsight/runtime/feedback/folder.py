"""A folder of kept frames: its pictures, each with the line's record and the decision of a person."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from partsight.runtime.core import FeedbackError
from partsight.runtime.feedback.frame import KeptFrame, Verdict
from partsight.runtime.feedback.layout import CONFIRMED, FLAT, label_of_folder
from partsight.runtime.images import Listing, list_folder
from partsight.runtime.sinks import RECORD_VERSION, KeptRecord

_PARTIAL = ".partial"
_ENDS = {".png": b"IEND\xaeB`\x82", ".jpg": b"\xff\xd9"}


@dataclass(frozen=True)
class Feedback:
    """Frames of a folder.

    Attributes:
        folder: The folder.
        frames: Its frames, by name, and so by time.
        faults: Cause and remedy of each file that cannot be read, by its path. A frame with a damaged record stays in
            `frames`, without its record.
    """

    folder: Path
    frames: tuple[KeptFrame, ...]
    faults: dict[Path, str] = field(default_factory=dict)

    def of(self, *verdicts: Verdict) -> tuple[KeptFrame, ...]:
        """Return the frames with one of these decisions."""
        return tuple(frame for frame in self.frames if frame.verdict in verdicts)


def read_feedback(folder: str | Path, earlier: Feedback | None = None) -> Feedback:
    """Read a folder that the sink `images:` keeps, and the decisions of people about its frames.

    It reads the records, and only the last bytes of a picture. It leaves out frames that the sink removes meanwhile.

    Args:
        folder: The folder.
        earlier: An earlier reading of the folder: frames that still lie where they lay are not read again. None to read
            all.

    Raises:
        FeedbackError: there is no such folder, or it cannot be listed.
    """
    root = Path(folder)
    reader = _Reader(root, earlier)
    try:
        for place in _places(root):
            reader.read(place)
    except OSError as error:
        raise FeedbackError(f"{root}: cannot be read ({error}); expected the folder of a sink images:FOLDER") from error
    return reader.feedback()


def confirmed_frames(folder: str | Path) -> tuple[KeptFrame, ...]:
    """Return the frames of which a person said what they show.

    Args:
        folder: Folder that the sink `images:` keeps.

    Returns:
        Frames by name. `label` is the part, and None for a part that is not taught.

    Raises:
        FeedbackError: see `read_feedback`.
    """
    return read_feedback(folder).of("confirmed", "not_taught")


def is_reviewed(folder: str | Path) -> bool:
    """Return whether people have decided about frames of a folder that the sink `images:` keeps."""
    return any(Path(folder, name).is_dir() for name in (CONFIRMED, "not_taught"))


@dataclass(frozen=True)
class _Place:
    """A folder in which all frames have the same decision."""

    listing: Listing
    verdict: Verdict
    label: str | None = None


def _places(root: Path) -> Iterator[_Place]:
    listing = list_folder(root)
    yield _Place(Listing(listing.images, (), listing.faults), "open")
    for folder in listing.folders:
        if folder.name in FLAT:
            yield _Place(list_folder(folder), FLAT[folder.name])
        elif folder.name == CONFIRMED:
            parts = list_folder(folder)
            for path in parts.images:
                parts.faults[path] = "lies next to the folders of parts; move it into the folder of its part"
            yield _Place(Listing((), (), parts.faults), "confirmed")
            for part in parts.folders:
                yield _Place(list_folder(part), "confirmed", label_of_folder(part))


class _Reader:
    """Collects frames and faults."""

    def __init__(self, root: Path, earlier: Feedback | None) -> None:
        self._root = root
        # A picture with a record is whole, and neither changes; a picture without one may still get its record.
        self._read = {frame.path: frame for frame in earlier.frames if frame.record} if earlier else {}
        self._frames: dict[str, KeptFrame] = {}
        self._faults: dict[Path, str] = {}
        self._decoder = msgspec.json.Decoder(KeptRecord)

    def read(self, place: _Place) -> None:
        self._faults |= {path: fault for path, fault in place.listing.faults.items() if path.suffix != _PARTIAL}
        for path in place.listing.images:
            if path in self._read and path.stem not in self._frames:
                self._frames[path.stem] = self._read[path]
                continue
            record = self._record_of(path)
            fault = self._fault_of(path, is_from_sink=record is not None)
            if fault:
                self._faults[path] = fault
            elif fault is not None:
                self._frames[path.stem] = KeptFrame(path, place.verdict, place.label, record)

    def feedback(self) -> Feedback:
        frames = tuple(self._frames[name] for name in sorted(self._frames))
        return Feedback(self._root, frames, {path: self._faults[path] for path in sorted(self._faults)})

    def _fault_of(self, picture: Path, *, is_from_sink: bool) -> str | None:
        """Return cause and remedy; an empty text without a fault, and None if the picture is gone."""
        other = self._frames.get(picture.stem)
        if other is not None and other.path.exists():
            return f"has the name of {other.path.relative_to(self._root)}; remove or rename one of them"
        try:
            is_whole = _is_whole(picture) if is_from_sink else picture.stat().st_size > 0
        except FileNotFoundError:  # the sink has removed it, or a person has decided: both move files meanwhile
            return None
        except OSError as error:
            return f"cannot be read ({error.strerror}); make it readable"
        return "" if is_whole else "is cut off; copy it again from the line's machine, or remove it"

    def _record_of(self, picture: Path) -> KeptRecord | None:
        """Return the record next to a picture, or in the sink's folder, if a person has moved the picture alone."""
        name = f"{picture.stem}.json"
        path = next((path for path in (picture.with_name(name), self._root / name) if path.exists()), None)
        if path is None:
            return None
        try:
            record = self._decoder.decode(path.read_bytes())
        except OSError as error:
            self._faults[path] = f"cannot be read ({error.strerror}); make it readable"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._faults[path] = f"is no record ({error}); copy it again from the line's machine, or remove it"
        else:
            if record.schema_version <= RECORD_VERSION:
                return record
            fault = f"record of version {record.schema_version}, expected at most {RECORD_VERSION}"
            self._faults[path] = f"{fault}; install the partsight that wrote it, or a newer one"
        return None


def _is_whole(picture: Path) -> bool:
    """Return whether a picture of the sink has its end; a copy that was interrupted has none."""
    end = _ENDS.get(picture.suffix, b"")
    with picture.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(end)))
        return size > 0 and file.read() == end if end else size > 0
