"""Draw frames above the golden image of the part that each was recognised as.

python examples/show_answers.py line3.partsight                         # frames of examples/parts, one unknown
python examples/show_answers.py line3.partsight photos frame.png --out answers.png
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from partsight.runtime import ModelPackage, PartsightError, Recognizer, Result, read_image
from partsight.runtime.cameras import find_images
from partsight.runtime.core import Pixels

PARTS = Path(__file__).parent / "parts"
RIGHT, WRONG, NEUTRAL = "#1f7a4d", "#c0392b", "#34495e"
NOT_TAUGHT, MAX_NAME = "(not taught)", 28


def main() -> None:
    """Answer the frames and write the picture."""
    args = parse_arguments()
    try:
        package = ModelPackage.read(args.package)
        labels = package.manifest.labels
        paths = choose(args.frames, args.columns) if args.frames else example_frames(labels, args.columns)
        frames = [read_image(path) for path in paths]
        with Recognizer(args.package) as recognizer:
            answers = recognizer.recognize_batch(frames)
            goldens = [golden_image(package, labels.index(answer.top[0][0])) for answer in answers]
    except PartsightError as error:
        sys.exit(f"show_answers: error: {error}")
    figure = Figure(figsize=(2 * len(frames) + 0.4, 4.6), layout="constrained")
    axes = figure.subplots(2, len(frames), squeeze=False)
    for column, (path, frame, answer, golden) in enumerate(zip(paths, frames, answers, goldens, strict=True)):
        truth = None if args.frames else truth_of(path, labels)
        show(axes[0, column], frame, shortened(truth or path.name), NEUTRAL)
        label = shortened(answer.label) if answer.label else "unknown; the nearest:"
        show(axes[1, column], golden, f"{label}\n{answer.score:.3f}", color_of(answer, truth))
    for row, name in enumerate(("frame", "answer")):
        axes[row, 0].text(-0.12, 0.5, name, transform=axes[row, 0].transAxes, rotation=90, va="center")
    figure.savefig(args.out, dpi=90)
    print(args.out)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Draw frames above the golden images of the parts that they were recognised as."
    )
    parser.add_argument("package", metavar="PACKAGE", help="the folder that `partsight export` wrote")
    parser.add_argument(
        "frames",
        nargs="*",
        type=Path,
        metavar="FRAMES",
        help="images or folders of them (default: frames of the examples)",
    )
    parser.add_argument("--columns", type=int, default=6, metavar="N", help="largest number of frames (default: 6)")
    parser.add_argument("--out", default="answers.png", metavar="FILE", help="picture to write (default: answers.png)")
    args = parser.parse_args()
    if args.columns < 2:
        parser.error(f"received --columns {args.columns}; expected 2 or more")
    return args


def example_frames(labels: Sequence[str], count: int) -> list[Path]:
    """Return line frames of the example parts with these labels, else of all, and one of a part that was not taught."""
    taught = [PARTS / "line" / label for label in labels if (PARTS / "line" / label).is_dir()]
    return [*choose(taught or [PARTS / "line"], count - 1), *choose([PARTS / "unknown"], 1)]


def choose(sources: list[Path], count: int) -> list[Path]:
    """Return the images of files and folders, in order; at most `count`, drawn at random."""
    paths = [path for source in sources for path in (find_images(source) if source.is_dir() else [source])]
    chosen = np.random.default_rng(0).choice(len(paths), min(count, len(paths)), replace=False)
    return [paths[index] for index in sorted(chosen)]


def truth_of(path: Path, labels: Sequence[str]) -> str:
    """Return the part that an example frame shows."""
    return path.parent.name if path.parent.name in labels else NOT_TAUGHT


def shortened(name: str) -> str:
    """Return a name that fits above a picture, with both of its ends."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 9]}…{name[-8:]}"


def color_of(answer: Result, truth: str | None) -> str:
    """Return the color of an answer: right, wrong, or neutral if the part is not known."""
    if truth is None:
        return NEUTRAL
    return RIGHT if (answer.label or NOT_TAUGHT) == truth else WRONG


def golden_image(package: ModelPackage, index: int) -> Pixels | None:
    """Return the golden image of a part; None from a package without golden images."""
    return None if package.manifest.matching is None else package.golden_image(index)


def show(axes: Axes, image: Pixels | None, title: str, color: str) -> None:
    """Draw one picture with its title."""
    axes.axis("off")
    axes.set_title(title, fontsize=7, color=color)
    if image is None:
        axes.text(0.5, 0.5, "no golden images\nin this package", fontsize=7, ha="center", va="center")
    elif image.ndim == 2:
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    else:
        axes.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


if __name__ == "__main__":
    main()
