"""From a camera's frames to JSON lines: every frame gives exactly one, in order."""

import itertools
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from partsight.cli.exit_codes import ExitCode
from partsight.runtime import PartsightError, Recognizer, Result
from partsight.runtime.cameras import Camera, FileCamera, Frame
from partsight.runtime.preprocess import PreprocessSpec, check_frame


@dataclass(frozen=True)
class FailedFrame:
    """A frame that was asked for and cannot be answered.

    Attributes:
        sequence: its place among all frames, from 0.
        source: where it should have come from.
        error: why there is no answer.
    """

    sequence: int
    source: str
    error: str


def answer_all(camera: Camera, recognizer: Recognizer, address: str) -> ExitCode:
    """Write one line for each frame to stdout, and the numbers to stderr.

    Args:
        camera: an open one.
        recognizer: an open one; its batch size is how many frames are answered at once.
        address: of the camera, which names a frame that could not be read.
    """
    frames = read_frames(camera, address, recognizer.manifest.preprocess)
    total = len(camera.paths) if isinstance(camera, FileCamera) else None
    counts: Counter[str] = Counter()
    try:
        with tqdm(total=total, desc="recognising", unit="frame", disable=None, dynamic_ncols=True) as bar:
            while batch := list(itertools.islice(frames, recognizer.batch_size)):
                lines = answer_batch(batch, recognizer)
                bar.write("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), file=sys.stdout)
                sys.stdout.flush()
                counts.update(map(_outcome, lines))
                bar.update(len(lines))
    except KeyboardInterrupt:
        _print_summary(counts)
        raise
    _print_summary(counts)
    return ExitCode.SOME_FAILED if counts["failed"] else ExitCode.DONE


def read_frames(camera: Camera, address: str, spec: PreprocessSpec) -> Iterator[Frame | FailedFrame]:
    """Yield what the camera delivers until it ends, and in its place each frame that cannot be answered."""
    for sequence in itertools.count():
        try:
            frame = camera.read()
        except PartsightError as error:
            source = str(camera.paths[sequence]) if isinstance(camera, FileCamera) else address
            yield FailedFrame(sequence, source, str(error))
            continue
        if frame is None:
            return
        yield _checked(frame, spec)


def answer_batch(batch: Sequence[Frame | FailedFrame], recognizer: Recognizer) -> list[dict[str, Any]]:
    """Return the line of each item, in order."""
    results = iter(recognizer.recognize_batch([item.image for item in batch if isinstance(item, Frame)]))
    return [
        {"sequence": item.sequence, "source": item.source}
        | (_answer_fields(next(results)) if isinstance(item, Frame) else {"error": item.error})
        for item in batch
    ]


def _checked(frame: Frame, spec: PreprocessSpec) -> Frame | FailedFrame:
    try:
        check_frame(frame.image, spec)
    except PartsightError as error:
        return FailedFrame(frame.sequence, frame.source, str(error))
    return frame


def _answer_fields(result: Result) -> dict[str, Any]:
    return {
        "label": result.label,
        "accepted": result.accepted,
        "score": _number(result.score),
        "margin": _number(result.margin),
        "top": [{"label": label, "score": _number(score)} for label, score in result.top],
        "latency_ms": round(result.latency_ms, 3),
    }


def _number(value: float) -> float | None:
    """Return a float32 in the nine digits that tell it from any other; None for what JSON has no number for."""
    return float(f"{value:.9g}") if math.isfinite(value) else None


def _outcome(line: dict[str, Any]) -> str:
    if "error" in line:
        return "failed"
    return "recognised" if line["accepted"] else "unknown"


def _print_summary(counts: Counter[str]) -> None:
    print(
        f"{counts.total()} frames: {counts['recognised']} recognised, {counts['unknown']} unknown, "
        f"{counts['failed']} failed",
        file=sys.stderr,
    )
