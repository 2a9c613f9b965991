"""`partsight explain`: why frames got their answers, as pictures and in words."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from partsight.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from partsight.runtime import Recognizer
    from partsight.runtime.recognition import Explanation

_DESCRIPTION = """\
Answer frames as the line does, and show why. For each frame, explain writes a picture and a JSON file into FOLDER. The
picture shows the golden image of the best part, the frame laid over it, their difference, and the spot where they
differ most; the same follows for the next part. docs/explain.md describes both files.

A frame that cannot be read or compared is named, and the others go on; the exit code is then 4.
"""

_EXAMPLE = """\
examples:
  partsight explain line3.partsight kept/20251124T201817284000Z_left_4711_1a2b3c4d.png --out why
  partsight explain line3.partsight photos --out why
"""


@dataclass(frozen=True)
class _Frame:
    """A frame to explain.

    Attributes:
        path: File of the frame.
        name: Path of its picture and its JSON file in the folder, without the suffix.
        fault: Reason why it cannot be a frame; empty if it may be one.
    """

    path: Path
    name: PurePath
    fault: str = ""


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add `partsight explain` to the command."""
    parser = subparsers.add_parser(
        "explain",
        help="show why frames got their answers",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        usage="%(prog)s PACKAGE FRAME... --out FOLDER",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("package", metavar="PACKAGE", help="package that answers the frames")
    parser.add_argument("paths", metavar="FRAME", nargs="+", help="image, or folder with images")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder to write; must not exist")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Explain the frames, and return the exit code."""
    from partsight.runtime import Recognizer
    from partsight.runtime.core import check_output_folder, new_folder

    check_output_folder(Path(args.out))
    frames = list(_distinct(_find(args.paths)))
    with Recognizer(args.package) as recognizer, new_folder(Path(args.out)) as folder:
        rows, faults = _explain_all(recognizer, frames, folder)
    _print_table(rows)
    print(f"\n{len(rows)} of {len(frames)} frames explained in {args.out}")
    for path, fault in faults.items():
        print(f"partsight: warning: {path}: {fault}", file=sys.stderr)
    return ExitCode.SOME_FAILED if faults else ExitCode.DONE


def _find(paths: Iterable[str]) -> Iterator[_Frame]:
    """Yield the frames of all files and folders; the pictures of a folder keep its structure."""
    from partsight.runtime.core import ImageError
    from partsight.runtime.images import label_of, list_images

    for path in map(Path, paths):
        if not os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises where it may not look)
            yield _Frame(path, PurePath(label_of(path)))
            continue
        try:
            listing = list_images(path)
        except OSError as error:
            raise ImageError(f"{path}: cannot be listed ({error}); check the rights of the folder") from error
        if not listing.entries:
            raise ImageError(f"{path}: holds no image; name a folder with frames, or the frames themselves")
        for entry in listing.entries:
            name = entry.relative_to(path)
            yield _Frame(entry, PurePath(name.parent, label_of(name)), listing.faults.get(entry, ""))


def _distinct(frames: Iterable[_Frame]) -> Iterator[_Frame]:
    """Yield the frames, of equal names the second as NAME-2 and so on; on Windows letters' case is no difference."""
    taken: set[str] = set()
    for frame in frames:
        name, number = frame.name, 1
        while str(name).casefold() in taken:
            number += 1
            name = frame.name.with_name(f"{frame.name.name}-{number}")
        taken.add(str(name).casefold())
        yield _Frame(frame.path, name, frame.fault)


def _explain_all(
    recognizer: "Recognizer", frames: list[_Frame], folder: Path
) -> tuple[list[tuple[str, ...]], dict[Path, str]]:
    """Write the files of all frames; return a row of the table for each, and the faults of those without."""
    from partsight.runtime.core import FrameError, ImageError, progress
    from partsight.runtime.images import read_image

    rows, faults = list[tuple[str, ...]](), dict[Path, str]()
    for frame in progress(frames, len(frames), "explaining frames", ""):
        if frame.fault:
            faults[frame.path] = frame.fault
            continue
        try:
            explanation = recognizer.explain(read_image(frame.path))
        except (ImageError, FrameError) as error:
            faults[frame.path] = str(error).removeprefix(f"{frame.path}: ")
            continue
        _write(explanation, folder / frame.name)
        answer = explanation.answer
        score = f"{answer.score:.3f}/{answer.threshold:.3f}"
        rows.append((str(frame.path), answer.label or "unknown", score, explanation.sentence))
    return rows, faults


def _write(explanation: "Explanation", name: Path) -> None:
    import cv2

    from partsight.runtime.recognition import draw_explanation

    name.parent.mkdir(parents=True, exist_ok=True)
    picture = cv2.imencode(".png", draw_explanation(explanation))[1]
    name.with_name(f"{name.name}.png").write_bytes(picture.tobytes())
    name.with_name(f"{name.name}.json").write_bytes(explanation.to_json())


def _print_table(rows: list[tuple[str, ...]]) -> None:
    table = [("frame", "answer", "score/needs", "reason"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    for row in table:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
