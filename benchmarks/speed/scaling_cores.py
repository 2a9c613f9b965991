"""Child process of `scaling.py`: measures speed on some of the cores, and prints JSON.

It sets the affinity before it imports libraries that start threads.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CoresRow:
    """Figures on a number of cores; medians of the rounds.

    Attributes:
        cores: Number of cores.
        batch: Frames in one call.
        frames_per_s: Speed from frame to label by the network alone.
        speedup: Speed as a multiple of one core's, within rounds.
    """

    cores: int
    batch: int
    frames_per_s: float
    speedup: float


def ask(package: Path, data: Path, cores: int) -> dict[str, float]:
    """Return the seconds of a call for each size of batch, measured in a child process."""
    command = [sys.executable, "-m", __spec__.name, str(package), "--data", str(data), "--cores", str(cores)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {found.returncode}:\n{found.stderr}")
    seconds: dict[str, float] = json.loads(found.stdout)
    return seconds


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("package", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cores", type=int, required=True)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    from benchmarks.common.frames import batches, line_frames
    from benchmarks.common.rounds import timed
    from partsight.runtime import EngineSettings, Recognizer

    frames = line_frames(args.data, 48, (1280, 1024))
    seconds = {}
    with Recognizer(args.package, matching=False, engine=EngineSettings(threads=args.cores)) as recognizer:
        for batch in (1, 16):
            source = batches(frames, batch)
            seconds[str(batch)] = timed(lambda source=source: recognizer.recognize_batch(next(source)), 1.0)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
