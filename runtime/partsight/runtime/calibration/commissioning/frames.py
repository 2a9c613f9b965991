"""Line frames: the image files on which a package is commissioned, and the part that each shows."""

import csv
import difflib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from partsight.runtime.core import CommissionError, normalized
from partsight.runtime.images import Listing, describe_mistake, list_folder, list_images

_COLUMNS = ("file", "label")
_LAYOUTS = (
    "expected a folder with one folder of frames for each part, a CSV file with the columns file and label, or a "
    "folder of frames without labels"
)
_REVIEWED = "confirmed"  # folder of frames that a person confirmed, see `feedback`
_MAX_NAMED = 10


class Confirmed(Protocol):
    """A frame that a person confirmed, such as feedback's."""

    @property
    def path(self) -> Path:
        """Image file."""

    @property
    def label(self) -> str | None:
        """Part that it shows; None for a part that the package does not know."""

    @property
    def stands_for(self) -> int:
        """Number of frames of the line that it stands for.

        A line may keep one recognised frame in N. A frame that it kept only because it refused it stands for none.
        """


@dataclass(frozen=True)
class LineFrame:
    """A frame of the line.

    Attributes:
        path: Image file.
        label: Part that it shows; None if the package does not have the part, or nobody named it.
        group: Frames of one group show one part: they are alike, and a held-out test keeps them together.
        stands_for: Number of frames of the line that it stands for; 0 if it is no fair sample.
        is_open: Whether nobody named its part.
    """

    path: Path
    label: str | None
    group: str
    stands_for: int = 1
    is_open: bool = False


@dataclass(frozen=True)
class LineFrames:
    """The frames to commission on.

    Attributes:
        frames: Frames, the confirmed ones of taught parts first.
        faults: Cause of each file that cannot be used, by its path.
    """

    frames: tuple[LineFrame, ...]
    faults: dict[Path, str] = field(default_factory=dict)

    @property
    def is_confirmed(self) -> bool:
        """Whether a person named the part of each frame."""
        return not any(frame.is_open for frame in self.frames)


def read_line_frames(
    source: str | Path | Iterable[Confirmed], labels: Sequence[str], unknown: str | Path | None = None
) -> LineFrames:
    """List the frames; their files are not opened yet.

    Args:
        source: Folder with one folder of frames for each part; CSV file with the columns file (relative to the CSV)
            and label (empty for a part that is not taught); folder of frames without labels; or confirmed frames. A
            confirmed frame of a part that the package does not have counts as unknown.
        labels: Labels of the package.
        unknown: Folder of frames of parts that the package does not have; frames of one inner folder show one part.

    Raises:
        CommissionError: there are no frames, or a folder or CSV names a part that the package does not have.
    """
    if isinstance(source, str | Path):
        found = _read_path(Path(source), labels)
    else:
        found = LineFrames(tuple(_confirmed(item, set(labels)) for item in source))
        _refuse_unfair(found.frames)
    if unknown is not None:
        others = _read_unknown(Path(unknown))
        found = LineFrames((*found.frames, *others.frames), found.faults | others.faults)
    if not found.frames:
        raise CommissionError(f"{source}: holds no frames; {_LAYOUTS}")
    return found


def _confirmed(item: Confirmed, labels: Collection[str]) -> LineFrame:
    label = item.label if item.label in labels else None
    return LineFrame(Path(item.path), label, item.label or str(item.path), item.stands_for)


def _refuse_unfair(frames: Sequence[LineFrame]) -> None:
    """Refuse frames that the line kept because it refused them: a rate of them is no rate of the line."""
    if frames and not any(frame.stands_for for frame in frames):
        raise CommissionError(
            f"received {len(frames)} frames, such as {frames[0].path}, which the line kept because it was not sure: "
            "these are no fair sample. Keep recognised frames as well with `partsight run PACKAGE --sink "
            "images:FOLDER?every=1`, review them, and commission again"
        )


def _read_path(path: Path, labels: Sequence[str]) -> LineFrames:
    if path.is_file() and path.suffix.lower() == ".csv":
        return _read_csv(path, labels)
    listing = _listed(path, list_folder)
    if listing.folders and listing.images:
        raise CommissionError(
            f"{path}: holds both folders ({listing.folders[0].name}, …) and images ({listing.images[0].name}, …); "
            f"{_LAYOUTS}"
        )
    if listing.images:
        frames = tuple(LineFrame(image, None, str(image), is_open=True) for image in listing.images)
        return LineFrames(frames, dict(listing.faults))
    if _REVIEWED in {folder.name for folder in listing.folders} - set(labels):
        raise CommissionError(
            f"{path}: is a folder of kept frames; pass feedback.confirmed_frames({str(path)!r}), or name the folder in "
            "`partsight commission`"
        )
    known = _known(path, [folder.name for folder in listing.folders], labels)
    frames_of, faults = [], dict(listing.faults)
    for folder in listing.folders:
        inner = list_images(folder)
        faults |= inner.faults
        label = known[folder.name]
        frames_of += [LineFrame(image, label, label) for image in inner.images]
    return LineFrames(tuple(frames_of), faults)


def _read_unknown(path: Path) -> LineFrames:
    listing = _listed(path, list_images)
    frames = [LineFrame(image, None, str(image if image.parent == path else image.parent)) for image in listing.images]
    if not frames:
        raise CommissionError(f"{path}: holds no images; expected frames of parts that the package does not have")
    return LineFrames(tuple(frames), dict(listing.faults))


def _read_csv(path: Path, labels: Sequence[str]) -> LineFrames:
    try:
        with path.open(encoding="utf-8-sig", newline="") as table:
            rows = list(csv.DictReader(table))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CommissionError(f"{path}: cannot be read ({error}); save it as CSV in UTF-8") from error
    if rows and any(name not in rows[0] for name in _COLUMNS):
        raise CommissionError(f"{path}: has the columns {', '.join(map(str, rows[0]))}; expected file and label")
    incomplete = [number for number, row in enumerate(rows, start=2) if not row["file"] or row["label"] is None]
    if incomplete:
        raise CommissionError(f"{path}: line {incomplete[0]} has no file or no label; expected FILE,LABEL")
    known = _known(path, list(dict.fromkeys(row["label"] for row in rows if row["label"])), labels)
    frames = []
    for row in rows:
        file, label = path.parent / row["file"], known.get(row["label"])
        frames.append(LineFrame(file, label, label or str(file)))
    return LineFrames(tuple(frames))


def _known(source: Path, names: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Return the package's spelling of each name: macOS encodes accents in another way.

    Raises:
        CommissionError: the package does not have a part; the message names the labels that are nearest.
    """
    own = {normalized(label): label for label in labels}
    foreign = [name for name in names if normalized(name) not in own]
    if foreign:
        hints = [_hinted(name, labels) for name in foreign[:_MAX_NAMED]]
        more = f" and {len(foreign) - _MAX_NAMED} more" if len(foreign) > _MAX_NAMED else ""
        raise CommissionError(
            f"{source}: the package has no part {', '.join(hints)}{more}; correct the names, or name frames of parts "
            "that are not taught with --unknown FOLDER"
        )
    return {name: own[normalized(name)] for name in names}


def _hinted(name: str, labels: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, labels, 2)
    return f"{name!r} (did you mean {' or '.join(nearest)}?)" if nearest else repr(name)


def _listed(path: Path, list_it: Callable[[Path], Listing]) -> Listing:
    mistake = describe_mistake(path, "catalog")
    if mistake:
        raise CommissionError(f"{path}: {mistake}; {_LAYOUTS}")
    try:
        return list_it(path)
    except OSError as error:
        raise CommissionError(f"{path}: cannot be listed ({error.strerror or error}); {_LAYOUTS}") from error
