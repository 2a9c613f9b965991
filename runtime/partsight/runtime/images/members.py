"""Listing of the files in an archive, by the rules of `listing`: each is an image, ignored, or a fault."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from partsight.runtime.images.listing import (
    IGNORED_FOLDERS,
    Kind,
    judge_file,
    label_of,
    matches,
    name_of_image,
)


@dataclass(frozen=True)
class Member:
    """A file in an archive that may be a picture.

    Attributes:
        index: Its index in the archive: two members may have one name.
        name: Its name in the archive.
        fault: Cause and remedy if it cannot be used; empty for an image, whose reader finds its faults.
    """

    index: int
    name: str
    fault: str = ""


def list_members(names: Sequence[str], read_head: Callable[[int], bytes]) -> tuple[Member, ...]:
    """List the files in an archive, sorted by name.

    Args:
        names: Name of each file, with `/` between folders; of a folder, the name ends in `/`.
        read_head: Function that returns the first 512 bytes of the file with an index. An OSError that it raises is a
            fault of that file.
    """
    files = sorted((name, index) for index, name in enumerate(names) if not name.endswith("/"))
    judged = [(Member(index, name), *_judge(PurePosixPath(name), partial(read_head, index))) for name, index in files]
    images = [PurePosixPath(member.name) for member, kind, _ in judged if kind == "image"]
    taken = {(path.parent, name.casefold()) for path in images for name in (path.name, label_of(path))}
    listed = []
    for member, kind, cause in judged:
        path = PurePosixPath(member.name)
        is_fault = kind == "fault" or (kind == "source" and (path.parent, name_of_image(path).casefold()) not in taken)
        if kind == "image" or is_fault:
            listed.append(Member(member.index, member.name, cause if is_fault else ""))
    return tuple(listed)


def _judge(path: PurePosixPath, read_head: Callable[[], bytes]) -> tuple[Kind, str]:
    folders = path.parts[:-1]
    if any(matches(folder, IGNORED_FOLDERS) for folder in folders):
        return "ignored", ""
    kind, cause = judge_file(path.name, read_head)
    if not any(folder.startswith(".") for folder in folders):
        return kind, cause
    return ("ignored" if kind == "ignored" else "fault"), (
        "in a hidden folder; to use it, rename the folder without the leading dot, else leave it out of the archive"
    )
