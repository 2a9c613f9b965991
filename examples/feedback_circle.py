"""Teach a running line from its own frames: run, refuse, review, commission, swap.

python examples/feedback_circle.py line3.partsight frames work --unknown others

FRAMES holds a folder of frames for each part. It stands for the camera, and for the person who knows what each frame
shows. The line learns from the frames of some parts. The frames of the other parts show what it gains: it never learns
from them. WORK, a new folder, gets the kept frames and the new package. The program prints the share of frames that the
line refuses before and after, and the same of frames of parts that the package does not have.
"""

import argparse
import queue
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from partsight.runtime import PartsightError, Recognizer, read_image
from partsight.runtime.calibration import commission
from partsight.runtime.cameras import Frame
from partsight.runtime.feedback import confirmed_frames, decide, read_feedback
from partsight.runtime.line import Line
from partsight.runtime.sinks import FrameEvent, open_sink

LEARNED = 200
"""Frames to learn from: with fewer, a share of 1 % is uncertain."""

LONGEST_S = 60
"""Longest wait for an answer, in seconds."""


class Conveyor:
    """A camera above a conveyor: it delivers the frames that the program puts there."""

    ends = True  # its frames can wait, so the line loses none

    def __init__(self) -> None:
        self._frames: queue.Queue[Path | None] = queue.Queue()
        self._count = 0

    def put(self, frames: Sequence[Path]) -> None:
        """Put frames on the conveyor."""
        for frame in frames:
            self._frames.put(frame)

    def read(self) -> Frame | None:
        """Return the next frame; wait while there is none."""
        path = self._frames.get()
        if path is None:
            return None
        self._count += 1
        return Frame(read_image(path), str(path), self._count - 1, time.time())

    def close(self) -> None:
        """End the line."""
        self._frames.put(None)

    def __enter__(self) -> "Conveyor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Station:
    """A line with one conveyor, whose sink keeps every frame."""

    def __init__(self, package: Path, kept: Path) -> None:
        self._conveyor, self._results = Conveyor(), queue.Queue[FrameEvent]()
        sinks = {"kept": open_sink(f"images:{kept}?every=1&max_files=1000000&max_mb=1000000")}
        cameras = {"belt": lambda: self._conveyor}
        self.line = Line(Recognizer(package), cameras, sinks, on_result=self._results.put)

    def refused(self, frames: Sequence[Path]) -> str:
        """Let the line answer frames, and return how many it refuses, for people."""
        self._conveyor.put(frames)
        refused = sum(self._results.get(timeout=LONGEST_S).record.outcome == "unknown" for _ in frames)
        return f"{refused} of {len(frames)} frames, {refused / max(1, len(frames)):.1%}"


def split(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the frames to learn from, and those of other parts, drawn by chance."""
    parts = [sorted(part.iterdir()) for part in sorted(folder.iterdir()) if part.is_dir()]
    random.Random(0).shuffle(parts)
    learned: list[Path] = []
    while parts and len(learned) < min(LEARNED, sum(map(len, parts))):
        learned += parts.pop()
    return learned, [frame for part in parts for frame in part]


def review(kept: Path, frames: Sequence[Path], line: Line) -> None:
    """Say what each frame shows, as a person does with `partsight review`."""
    waiting = {str(frame): frame.parent.name for frame in frames}
    while waiting and not line.counters().sinks["kept"].lost:
        for frame in read_feedback(kept).of("open"):
            label = waiting.pop(frame.record.source, None) if frame.record else None
            if label is not None:
                decide(kept, frame, "confirmed", label)
        time.sleep(0.05)  # the sink writes in a thread of its own


def main() -> None:
    """Run the circle once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("frames", metavar="FRAMES", type=Path)
    parser.add_argument("work", metavar="WORK", type=Path)
    parser.add_argument("--unknown", metavar="FOLDER", type=Path, help="frames of parts that the package does not have")
    args = parser.parse_args()
    learned, others = split(args.frames)
    unknown = sorted(args.unknown.iterdir()) if args.unknown else []
    if args.work.exists():
        parser.error(f"{args.work} exists; name a new folder")
    args.work.mkdir()
    kept, new = args.work / "kept", args.work / "commissioned.partsight"
    station = Station(args.package, kept)
    with station.line as line:
        print(
            f"before: the line refuses {station.refused(others)}; of unknown parts {station.refused(unknown)}",
            flush=True,
        )
        station.refused(learned)
        review(kept, learned, line)
        commission(args.package, confirmed_frames(kept), new)
        line.swap(new)
        print(f"after:  the line refuses {station.refused(others)}; of unknown parts {station.refused(unknown)}")
    print(f"It learned from {len(learned)} frames of other parts.")


if __name__ == "__main__":
    try:
        main()
    except PartsightError as error:
        sys.exit(str(error))
