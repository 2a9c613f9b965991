"""Facts: what `partsight bench` finds out about a package on this machine, before it is put into words."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from partsight.runtime.inference import Arithmetic

SCHEMA_VERSION = 3
"""Of bench.json: counted up when a field changes its meaning or goes."""
CAMERA_FPS = 30
"""Frames a second of the cameras that speeds are told in."""


class Way(NamedTuple):
    """A provider, and the precision that it computes the network in."""

    provider: str
    precision: Arithmetic

    def __str__(self) -> str:
        return f"{self.provider} {self.precision}"


@dataclass(frozen=True)
class Speed:
    """How fast one configuration is: medians over the rounds.

    Attributes:
        provider, precision, batch: the configuration; `batch` is frames in one call.
        frames_per_s: from frame to label as the line runs it: compared with golden images where the package does so.
        network_frames_per_s: the same by the network alone; None where the package has no golden images.
        slowest_frames_per_s: `frames_per_s` in the slowest round.
    """

    provider: str
    precision: Arithmetic
    batch: int
    frames_per_s: float
    network_frames_per_s: float | None
    slowest_frames_per_s: float

    @property
    def way(self) -> Way:
        """Without the batch."""
        return Way(self.provider, self.precision)

    @property
    def cameras(self) -> int:
        """How many cameras of `CAMERA_FPS` it keeps up with."""
        return math.floor(self.frames_per_s / CAMERA_FPS)


@dataclass(frozen=True)
class Labels:
    """How the answers of one way compare with those of the baseline.

    Attributes:
        frames: how many were answered by both.
        equal: of them, how many got the same label; unknown counts as a label.
        other_part: how many got the label of another part; the rest is unknown to one of the two alone.
        mean_score_drift, max_score_drift: absolute difference of the network's scores, over all frames and classes.
    """

    provider: str
    precision: Arithmetic
    frames: int
    equal: int
    other_part: int
    mean_score_drift: float
    max_score_drift: float

    @property
    def way(self) -> Way:
        """What was compared."""
        return Way(self.provider, self.precision)

    @property
    def share(self) -> float:
        """Of frames that got the same label."""
        return self.equal / self.frames


@dataclass(frozen=True)
class Absent:
    """A provider that cannot be had here in some precisions, and why."""

    provider: str
    precisions: tuple[Arithmetic, ...]
    reason: str


@dataclass(frozen=True)
class Stages:
    """Where the time of a frame goes, in batches as the chosen configuration has them; the shares add up to 1.

    Attributes:
        preprocessing, network: share of the time of a frame.
        comparison: the same of the comparison with golden images and the decision; of the decision alone where the
            package holds no golden images.
    """

    preprocessing: float
    network: float
    comparison: float


@dataclass(frozen=True)
class Latency:
    """How long frames took that were answered alone, in milliseconds: median and 99th percentile of `frames`."""

    frames: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Pace:
    """How frames were answered that came at an even pace.

    Attributes:
        frames_per_s: the pace.
        seconds: how long they came.
        frames: how many came.
        late: how many of them were answered later than `late_ms`, or not at all.
        late_ms: what counts as late, from the moment that a frame was due.
        p50_ms, p99_ms: from that moment to the answer.
    """

    frames_per_s: float
    seconds: float
    frames: int
    late: int
    late_ms: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Queue:
    """How frames are answered that wait for their turn; medians of rounds in turns.

    Attributes:
        apart_frames_per_s: batch by batch, each answered before the next begins.
        overlapped_frames_per_s: with the next batch in the network while one is compared with golden images.
    """

    apart_frames_per_s: float
    overlapped_frames_per_s: float


@dataclass(frozen=True)
class Start:
    """What a new process costs.

    Attributes:
        first_answer_s: seconds from its start to its first answer, Python and libraries included.
        peak_mb: most memory that it held, in units of 10^6 bytes; None where the system does not tell.
    """

    first_answer_s: float
    peak_mb: float | None


@dataclass(frozen=True)
class Frames:
    """What was measured on: `source` in words, and the (width, height) in pixels of the first frame."""

    source: str
    different: int
    width: int
    height: int


@dataclass(frozen=True)
class Setting:
    """What was measured, where, and with which versions.

    Attributes:
        package: its path as given.
        parts: how many the package was taught.
        compares: whether it compares frames with golden images.
        processor, cores: of the machine; the cores are those that this process may use.
        versions: of the libraries that matter, by distribution.
    """

    package: str
    package_id: str
    backbone: str
    parts: int
    compares: bool
    processor: str
    cores: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Facts:
    """All that was found.

    Attributes:
        rounds: in which each speed was measured.
        baseline: whose answers count as right; in fp32.
        labels: of all other ways than the baseline.
        chosen: the fastest configuration whose labels agree with the baseline's; None if there is none.
        stages, single, pace, start: of the chosen one; None if there is none.
        queue: of the chosen one; None as well where it answers frame by frame or compares none, or has one core.
    """

    schema_version: int
    setting: Setting
    frames: Frames
    rounds: int
    baseline: Way
    speeds: tuple[Speed, ...]
    labels: tuple[Labels, ...]
    absent: tuple[Absent, ...]
    chosen: Speed | None = None
    stages: Stages | None = None
    single: Latency | None = None
    pace: Pace | None = None
    queue: Queue | None = None
    start: Start | None = None

    def labels_of(self, way: Way) -> Labels | None:
        """Return how a way's answers compare with the baseline's; None for the baseline itself."""
        return next((labels for labels in self.labels if labels.way == way), None)
