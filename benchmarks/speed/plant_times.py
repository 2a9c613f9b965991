"""The times of batches that `plant.py` needs: measured with a package, or read from its results of another machine."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.common.frames import line_frames
from benchmarks.common.results import machine
from benchmarks.common.rounds import Turn, interleave, median_of, timed
from partsight.runtime import Recognizer
from partsight.runtime.core import Pixels
from partsight.runtime.images import preprocess
from partsight.runtime.matching import via_size
from partsight.runtime.package import Manifest


@dataclass(frozen=True)
class BatchTimes:
    """Times of a card, or of a processor.

    Attributes:
        device: Name of the card or processor.
        provider: Provider on which the network ran.
        batch_ms: Milliseconds of a batch by its size.
    """

    device: str
    provider: str
    batch_ms: dict[int, float]

    def to_json(self) -> dict[str, Any]:
        """Return the times in the form in which `read_times` reads them."""
        return asdict(self)


def measure_times(package: Path, provider: str, batch: int, data: Path, rounds: int) -> BatchTimes:
    """Measure batches of 1, 2, 4, … `batch` frames, which are prepared already, as clients of a server send them.

    Args:
        package: Package that compares frames with golden images.
        provider: Provider of this machine.
        batch: Size of the largest batch.
        data: Folder with the frames, in `line/`.
        rounds: Number of rounds; the median counts.
    """
    sizes = sorted({*(2**power for power in range(batch.bit_length())), batch})
    with Recognizer(package, provider=provider, batch_size=batch, cropped=True) as recognizer:
        recognizer.preload()
        frames = _prepared(line_frames(data, batch, None), recognizer.manifest)
        turns = {str(size): _turn(recognizer, [frames[index % len(frames)] for index in range(size)]) for size in sizes}
        found = interleave(turns, rounds, "times of batches")
        used = recognizer.provider
    facts = machine()
    device = (
        facts["processor"] + f", {facts['cores']} cores" if used in ("cpu", "openvino") else facts.get("card", used)
    )
    return BatchTimes(device, used, {int(size): 1000 * median_of(seconds) for size, seconds in found.items()})


def read_times(file: Path) -> BatchTimes:
    """Read the times in the results that `plant.py` wrote, perhaps on another machine."""
    return msgspec.convert(json.loads(file.read_text("utf-8"))["results"]["times"], BatchTimes, strict=False)


def _turn(recognizer: Recognizer, frames: list[Pixels]) -> Turn:
    return lambda: timed(lambda: recognizer.recognize_batch(frames))


def _prepared(frames: list[Pixels], manifest: Manifest) -> list[Pixels]:
    matching = manifest.matching
    if matching is None:
        raise SystemExit("expected a package that compares frames with golden images")
    height, width = via_size(manifest.preprocess, matching.spec)
    spec = msgspec.structs.replace(manifest.preprocess, height=height, width=width, region=None, via=None)
    return list(preprocess(frames, spec))
