"""Listing of folders with pictures, for catalogues and for frames: each entry is an image, ignored, or a fault."""

import errno
import fnmatch
import os
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Literal

from partsight.runtime.images.header import READ_FORMATS, format_of

IMAGE_SUFFIXES = frozenset({".bmp", ".dib", ".jfif", ".jif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

IGNORED_FOLDERS = (
    *("#recycle", "#snapshot", "$RECYCLE.BIN", "RECYCLER", "@sharebin", "@tmp", "trashbox", ".@__thumb"),
    *(".dropbox.cache", ".dtrash", ".picasaoriginals", ".wdmc", ".AppleDB", ".AppleDouble", ".DocumentRevisions-V100"),
    *(".Spotlight-V100", ".TemporaryItems", ".Trash*", ".fseventsd", ".git", ".hg", ".idea", ".ipynb_checkpoints"),
    *(".partsight-cache", ".recycle", ".snapshot*", ".stversions", ".svn", ".thumbnails", ".tmb", ".venv", ".vscode"),
    *(".xvpics", ".zfs", "@Recently-Snapshot", "@Recycle", "@eaDir", "Network Trash Folder"),
    *("System Volume Information", "Temporary Items", "__MACOSX", "__pycache__", "lost+found", "~snapshot"),
)
"""Patterns of folders of systems, NAS and programs: thumbnails, trash, snapshots. partsight never lists them."""

IGNORED_FILES = (
    *(".#*", ".DS_Store", "Thumbs.db*", "desktop.ini", "ehthumbs*.db", "*.thm", "~$*", "Icon\r", "*.jbf", "*.ctg"),
    *("ZbThumbnail.info", "*Zone.Identifier", "*:AFP_*", "*:com.apple.*"),
)
"""Patterns of files of systems and programs, always ignored."""

NOTES = (
    *("*.txt", "*.md", "*.rst", "*.rtf", "*.log", "*.csv", "*.tsv", "*.json", "*.jsonl", "*.xml", "*.yaml", "*.yml"),
    *("*.toml", "*.ini", "*.cfg", "*.html", "*.htm", "*.url", "*.pdf", "*.doc", "*.docx", "*.odt", "*.xls", "*.xlsx"),
    *("*.xlsm", "*.ods", "*.ppt", "*.pptx", "*.odp", "*.db", "*.sqlite", "*.md5", "*.sha1", "*.sha256", "*.xmp"),
    *("*.aae", "*.pp3", "*.py", "*.ipynb", "*.sh", "*.bat", "*.ps1", "*.exe", "*.onnx", "*.mp3", "*.wav"),
    *("*.eml", "*.msg", "*.mdb", "*.vsd", "*.vsdx"),
    *("*.3mf", "*.catpart", "*.dwg", "*.dxf", "*.fcstd", "*.iam", "*.idw", "*.iges", "*.igs", "*.ipt", "*.prt"),
    *("*.sldasm", "*.slddrw", "*.sldprt", "*.step", "*.stl", "*.stp"),
)
"""Patterns of notes, tables and drawings next to pictures, ignored unless their bytes are a picture."""

BACKUPS = ("*~", "*.bak", "*.backup", "*.old", "*.orig", "*.*_original", "*.swp")
"""Patterns of copies that editors leave, ignored unless they are pictures and the original is missing."""

_BACKUP_END = re.compile(r"(?:~|\.bak|\.backup|\.old|\.orig|\.swp|_original)$", re.IGNORECASE)

_PARTIAL = ("*.part", "*.partial", "*.crdownload", "*.download", "*.filepart", "*.opdownload", "*.tmp", "*.icloud")

_RAW = frozenset({".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw"})
"""Suffixes of cameras' raw files. Many are a TIFF whose first picture is a thumbnail."""

_OTHER_IMAGE_SUFFIXES = _RAW | {
    *(".avif", ".bpg", ".exr", ".gif", ".hdr", ".heic", ".heics", ".heif", ".hif", ".ico", ".j2k", ".jp2", ".jpx"),
    *(".jxl", ".jxr", ".mpo", ".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".qoi", ".tga"),
    *(".ai", ".emf", ".eps", ".psb", ".psd", ".svg", ".wmf", ".xcf"),
}

_FIXES = {
    "archive": "unpack it",
    "video": "save its frames as images",
    "shortcut of Windows": "copy the file itself there",
    "pointer of Git LFS": "run `git lfs pull`",
}

_GOES_ON = re.compile(r"\.(?:bmp|dib|jfif|jif|jpe|jpe?g|png|tiff?|webp)(?![0-9a-z])", re.IGNORECASE)
_HEAD_BYTES = 512

_Identity = tuple[int, int] | str
Kind = Literal["image", "folder", "ignored", "fault", "source"]
"""A source is a file from which an image was made, or a copy of an image: a fault if the image is not next to it."""


@dataclass(frozen=True)
class Listing:
    """Contents of a folder.

    Attributes:
        images: Paths of image files, sorted.
        folders: Paths of inner folders, sorted; empty if the listing includes their contents.
        faults: Cause and remedy of each entry that may be a picture but cannot be used, by its path, sorted.
    """

    images: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    faults: dict[Path, str] = field(default_factory=dict)

    @property
    def entries(self) -> list[Path]:
        """Paths of images and faults together, sorted."""
        return sorted((*self.images, *self.faults))


def label_of(path: PurePath) -> str:
    """Return a file's name without the suffix of an image format: `M2.5` for `M2.5.png`, and for a PNG named `M2.5`."""
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES | _OTHER_IMAGE_SUFFIXES else path.name


def name_of_image(source: PurePath) -> str:
    """Return the name of the image that belongs to a source: M8 for `M8.psd`, M8.png for `M8.png.bak`."""
    return _BACKUP_END.sub("", label_of(source))


def list_folder(folder: Path) -> Listing:
    """List one folder without its inner folders.

    A file is an image by its suffix. If the suffix is not an image format's, the first bytes decide.

    Raises:
        OSError: the folder cannot be listed.
    """
    with os.scandir(folder) as entries:
        judged = sorted((folder / entry.name, _judge(entry, folder / entry.name)) for entry in entries)
    images = tuple(path for path, (kind, _) in judged if kind == "image")
    taken = {name.casefold() for path in images for name in (path.name, label_of(path))}
    faults = {
        path: cause
        for path, (kind, cause) in judged
        if kind == "fault" or (kind == "source" and name_of_image(path).casefold() not in taken)
    }
    return Listing(images, tuple(path for path, (kind, _) in judged if kind == "folder"), faults)


def list_images(root: Path) -> Listing:
    """List a folder and all inner folders, linked folders too, each folder once.

    Raises:
        OSError: `root` cannot be listed.
    """
    images: list[Path] = []
    faults: dict[Path, str] = {}
    above, seen = _identities(Path(os.path.realpath(root)).parents), set[_Identity]()
    folders, links = deque([root]), deque[Path]()
    while folders or links:  # links last, so that a folder keeps the path without a link if it has one
        folder = folders.popleft() if folders else links.popleft()
        try:
            identity = _identity(folder)
            if identity in above:
                faults[folder] = "a link to a folder above the listed one, which makes a loop; remove the link"
                continue
            if identity in seen:
                continue
            seen.add(identity)
            listing = list_folder(folder)
        except OSError as error:
            if folder == root:
                raise
            faults[folder] = _unreadable(error)
            continue
        images += listing.images
        faults |= listing.faults
        for inner in listing.folders:
            (links if inner.is_symlink() else folders).append(inner)
    return Listing(tuple(sorted(images)), (), {path: faults[path] for path in sorted(faults)})


def _judge(entry: "os.DirEntry[str]", path: Path) -> tuple[Kind, str]:
    try:
        if entry.is_dir():
            return _judge_folder(path)
        if entry.is_file():
            return judge_file(path.name, lambda: _head(path))
    except OSError as error:
        looped = error.errno == errno.ELOOP
        cause = "a link to itself; link to the file" if looped else _unreadable(error)
        return ("ignored", "") if matches(path.name, IGNORED_FILES) else ("fault", cause)
    if matches(path.name, IGNORED_FILES + IGNORED_FOLDERS):
        return "ignored", ""
    if entry.is_symlink():
        return "fault", _broken_link(path)
    return "fault", "a pipe, socket or device, which partsight does not read; move it elsewhere"


def _broken_link(path: Path) -> str:
    try:
        target = f" to {os.readlink(path)!r}"  # noqa: PTH115 (for a junction, Path.readlink raises other errors)
    except OSError:
        target = ""
    return f"a link{target}, which is missing; connect the drive or share, or correct or remove the link"


def _judge_folder(path: Path) -> tuple[Kind, str]:
    if matches(path.name, IGNORED_FOLDERS):
        return "ignored", ""
    if not path.name.startswith("."):
        return "folder", ""
    try:
        if not _holds_picture(path):
            return "ignored", ""
    except OSError as error:
        return "fault", _unreadable(error)
    return "fault", (
        "a hidden folder with an image in it; to use it, rename it without the leading dot, else move it elsewhere"
    )


def judge_file(name: str, read_head: Callable[[], bytes]) -> tuple[Kind, str]:
    """Return the kind of a file, and the cause and remedy of a fault.

    Args:
        name: Name of the file.
        read_head: Function that returns its first 512 bytes. It is not called if the name is enough.
    """
    suffix = PurePath(name).suffix.lower()
    hidden = name.startswith(".")
    if suffix in IMAGE_SUFFIXES and not hidden:
        return "image", ""  # the reader finds its faults
    if matches(name, IGNORED_FILES):
        return "ignored", ""
    try:
        head = read_head()
    except OSError as error:
        return ("ignored", "") if hidden or matches(name, NOTES + BACKUPS) else ("fault", _unreadable(error))
    found = format_of(head)
    if found in READ_FORMATS and suffix not in _RAW:
        return _judge_picture(name, found)
    return _judge_other(name, suffix, head, found)


def _judge_picture(name: str, found: str) -> tuple[Kind, str]:
    """Judge a file that holds a picture, but is hidden or lacks the suffix of a format that is read."""
    remedy = f"to use it, rename it so that its name ends in .{found.lower()}, else move it elsewhere"
    if name.startswith("."):
        return (
            "fault",
            f"a hidden {found} picture; to use it, rename it without the leading dot, else move it elsewhere",
        )
    if matches(name, _PARTIAL):
        return "fault", f"a {found} picture, perhaps copied only in part; copy it again, or remove it"
    if matches(name, BACKUPS):
        return "source", f"a backup copy of a {found} picture; {remedy}"
    if matches(name, NOTES):
        return "fault", f"a {found} picture with the name of a note or table; {remedy}"
    if _GOES_ON.search(name):
        return "fault", f"a {found} picture whose name goes on after its suffix; {remedy}"
    return "image", ""


def _judge_other(name: str, suffix: str, head: bytes, found: str) -> tuple[Kind, str]:
    """Judge a file that holds no picture in a format that is read."""
    if name.startswith("._") or matches(name, NOTES):  # macOS keeps attributes of other files in files `._NAME`
        return "ignored", ""
    if matches(name, _PARTIAL) and not (found == "text" and not _GOES_ON.search(name)):
        return "fault", "a file that was copied or downloaded only in part; copy it again, or remove it"
    if suffix in _OTHER_IMAGE_SUFFIXES or found.endswith(" picture"):
        kind = found if found.endswith(" picture") else f"{suffix[1:]} file"
        fix = f"save it as {', '.join(READ_FORMATS[:-1])} or {READ_FORMATS[-1]}"
        return "source", f"{kind}, which partsight does not read; {fix}, or move it elsewhere"
    if suffix in IMAGE_SUFFIXES:
        return "fault", "a hidden file with the suffix of an image, but without a picture; remove it, or copy it again"
    if name.startswith(".") or found == "text" or matches(name, BACKUPS):
        return "ignored", ""
    fix = _FIXES.get(found, "convert it to an image")
    cause = f"{found or 'a file of unknown format'}, which partsight does not read; {fix}, or move it elsewhere"
    return "fault", cause if head else "an empty file; copy it again, or remove it"


def _holds_picture(folder: Path) -> bool:
    """Return whether a folder or an inner folder has a picture of any format; links are not followed."""

    def fail(error: OSError) -> None:
        raise error

    for where, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not matches(name, IGNORED_FOLDERS)]
        if any(_is_picture(Path(where, name)) for name in files):
            return True
    return False


def _is_picture(path: Path) -> bool:
    if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("._"):
        return True
    try:
        found = format_of(_head(path)) if path.is_file() else ""
    except OSError:
        return False
    return found in READ_FORMATS or found.endswith(" picture")


def _head(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return file.read(_HEAD_BYTES) or b""


def _unreadable(error: OSError) -> str:
    return f"cannot be read ({error.strerror or error}); make it readable, or move it elsewhere"


def _identity(folder: Path) -> _Identity:
    status = folder.stat()
    # By number, since a loop on the server of a share does not show in paths; but some network drives have no numbers.
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(folder)


def _identities(folders: Iterable[Path]) -> set[_Identity]:
    found = set()
    for folder in folders:
        try:
            found.add(_identity(folder))
        except OSError:
            continue
    return found


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Return whether a name matches a pattern; letters' case is no difference."""
    return _compiled(patterns).match(name.lower()) is not None


@lru_cache
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern.lower()) for pattern in patterns))
