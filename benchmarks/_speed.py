"""What the speed benchmarks share: frames as a camera delivers them, fair turns, and result files.

All competitors take their turn within each round, in an order that is drawn anew, with a pause between turns in which
the threads of the one before go to sleep. What else the machine does then meets all of them alike; ratios are taken
within rounds, and the median of the rounds is reported.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _common import default_data, write_results
from matplotlib.figure import Figure

from partsight.runtime import DependencyError, PackageError, ProviderError, Recognizer, read_image
from partsight.runtime.cameras import find_images
from partsight.runtime.core import Pixels, progress, progress_bar
from partsight.runtime.inference import PROVIDERS, Arithmetic

PAUSE_S = 0.05
"""Between turns: ONNX Runtime's threads spin for some ten milliseconds after each run."""
ARITHMETIC: tuple[Arithmetic, ...] = ("fp32", "bf16", "fp16", "int8")

Turn = Callable[[], float]
"""Takes a turn, and returns the seconds of its median call."""
Rounds = dict[str, list[float]]
"""Seconds of a call in each round, by competitor."""


def line_paths(data: Path, count: int) -> list[Path]:
    """Return `count` image files of DATA/line/PART, spread over all parts."""
    paths = find_images(data / "line")
    return [paths[place] for place in np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)]


def line_frames(data: Path, count: int, size: tuple[int, int] | None) -> list[Pixels]:
    """Return the frames in `line_paths`, enlarged to (width, height); None for as they are."""
    frames = [read_image(path) for path in line_paths(data, count)]
    if size is None:
        return frames
    return [np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), np.uint8) for frame in frames]


def batches(frames: Sequence[Pixels], size: int) -> Iterator[list[Pixels]]:
    """Return batch after batch without end, each of the frames that follow the last one's."""
    endless = itertools.cycle(frames)
    return (list(itertools.islice(endless, size)) for _ in itertools.count())


def timed(task: Callable[[], object], turn_s: float = 0.1) -> float:
    """Take a turn: return the median seconds of its calls; see `times`."""
    return statistics.median(times(task, turn_s))


def times(task: Callable[[], object], turn_s: float) -> list[float]:
    """Take a turn: return the seconds of as many calls as `turn_s` seconds hold, at least one."""
    task()  # not timed: the turn before has filled the caches and put the threads to sleep
    seconds: list[float] = []
    ends = time.perf_counter() + turn_s
    while not seconds or time.perf_counter() < ends:
        started = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - started)
    return seconds


def interleave(turns: Mapping[str, Turn], rounds: int, what: str, pause_s: float = PAUSE_S) -> Rounds:
    """Let all take their turn in each round; the first round warms up and is left out."""
    rng = np.random.default_rng(0)
    names = list(turns)
    found: Rounds = {name: [] for name in names}
    with progress_bar((rounds + 1) * len(names), what, "turn") as bar:
        for number in range(rounds + 1):
            for place in rng.permutation(len(names)):
                time.sleep(pause_s)
                seconds = turns[names[place]]()
                if number > 0:
                    found[names[place]].append(seconds)
                bar.update()
    return found


def median_of(found: Sequence[float], reference: Sequence[float] | None = None) -> float:
    """Return the median of all rounds; of the ratio within each round where a reference is given."""
    if reference is None:
        return statistics.median(found)
    return statistics.median(one / other for one, other in zip(found, reference, strict=True))


def difference(found: Sequence[float], *others: Sequence[float]) -> float:
    """Return the median of what one takes longer than the others together, within rounds."""
    return statistics.median(one - sum(rest) for one, *rest in zip(found, *others, strict=True))


def spread(found: Sequence[float]) -> tuple[float, float]:
    """Return the 10th and the 90th percentile of the rounds."""
    low, high = np.quantile(found, (0.1, 0.9))
    return float(low), float(high)


@dataclass(frozen=True)
class Way:
    """A provider and what it computes in."""

    provider: str
    precision: Arithmetic

    def __str__(self) -> str:
        return f"{self.provider} {self.precision}"

    def open(self, package: Path, **options: Any) -> Recognizer:
        """Open a package in this way."""
        return Recognizer(package, provider=self.provider, precision=self.precision, **options)


def open_all(
    package: Path, providers: Sequence[str] | None, **options: Any
) -> tuple[dict[Way, Recognizer], dict[str, str]]:
    """Return a recogniser for each way that works here, and why others do not.

    Args:
        package: its folder.
        providers: to try; None for all.
        options: of `Recognizer`.
    """
    opened: dict[Way, Recognizer] = {}
    left_out: dict[str, str] = {}
    ways = [
        Way(name, precision)
        for name in providers or PROVIDERS
        for precision in ARITHMETIC
        if precision in PROVIDERS[name].arithmetic
    ]
    for way in progress(ways, len(ways), "loading", "way"):
        try:
            opened[way] = way.open(package, **options)
        except (ProviderError, DependencyError, PackageError) as error:
            left_out[str(way)] = brief(error)
    return opened, left_out


def brief(error: Exception | str, length: int = 160) -> str:
    """Return the first words of an error, on one line that fits into a table."""
    text = " ".join(str(error).split()).partition("; mend it with")[0].replace("|", "/")
    return text if len(text) <= length else f"{text[:length]}…"


def left_out_text(left_out: Mapping[str, str]) -> str:
    """Return a line of Markdown for each reason why competitors were left out."""
    reasons: dict[str, list[str]] = {}
    for name, why in left_out.items():
        reasons.setdefault(why, []).append(name)
    return "\n".join(f"- Left out: {'; '.join(names)} ({why})" for why, names in reasons.items())


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def report(args: argparse.Namespace, results: dict[str, Any], text: str, figure: Figure) -> None:
    """Print Markdown, and write it with the JSON and the picture."""
    print(text)
    write_results(args.out, args.name, results, text)
    figure.savefig(args.out / f"{args.name}.png", dpi=110)
    print(f"written to {args.out / args.name}.json, .md and .png")


def pixels(text: str) -> tuple[int, int]:
    """Return (width, height) of text such as 1280x1024, for argparse."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT in pixels, such as 1280x1024")
    return int(width), int(height)


def size_text(size: tuple[int, int] | None) -> str:
    """Return the name of a frame size."""
    return "as taken" if size is None else f"{size[0]}×{size[1]}"


def parser(documentation: str, name: str, rounds: int | None = 10, frames: int | None = 48) -> argparse.ArgumentParser:
    """Return a parser with what all speed benchmarks take; without `--rounds` or `--frames` if None."""
    made = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--data",
        type=Path,
        default=default_data(),
        help="its line/ is used; default: $PARTSIGHT_DATA, else examples/parts",
    )
    if frames is not None:
        made.add_argument("--frames", type=int, default=frames, help="how many different ones (default: %(default)s)")
    if rounds is not None:
        made.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    made.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="folder (default: %(default)s)")
    made.add_argument("--name", default=name, help="of the result files (default: %(default)s)")
    return made
