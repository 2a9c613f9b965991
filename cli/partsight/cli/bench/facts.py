"""Facts: all figures that `partsight bench` finds out about a package on this machine."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from partsight.runtime.inference import Arithmetic

SCHEMA_VERSION = 4
"""Version of bench.json; it rises when a field goes or changes its meaning."""
CAMERA_FPS = 30
"""Frames a second of one camera, by which speeds are shown as numbers of cameras."""


class Configuration(NamedTuple):
    """An execution provider, and the precision in which it computes the network."""

    provider: str
    precision: Arithmetic

    def __str__(self) -> str:
        return f"{self.provider} {self.precision}"


@dataclass(frozen=True)
class Speed:
    """Speed of one configuration at one batch size: medians over the rounds.

    Attributes:
        batch: Frames in one call.
        frames_per_s: Frames a second from frame to label, as the line runs; the comparison with golden images is
            included if the package holds golden images.
        network_frames_per_s: Frames a second of the network alone; None if the package holds no golden images.
        slowest_frames_per_s: `frames_per_s` of the slowest round.
    """

    provider: str
    precision: Arithmetic
    batch: int
    frames_per_s: float
    network_frames_per_s: float | None
    slowest_frames_per_s: float

    @property
    def configuration(self) -> Configuration:
        """Provider and precision, without the batch size."""
        return Configuration(self.provider, self.precision)

    @property
    def cameras(self) -> int:
        """Number of cameras at `CAMERA_FPS` that this speed is enough for, rounded down."""
        return math.floor(self.frames_per_s / CAMERA_FPS)


@dataclass(frozen=True)
class LabelAgreement:
    """Agreement of a configuration's answers with the answers of the baseline.

    Attributes:
        frames: Number of frames that both answered.
        equal: Number of frames with the same label; unknown counts as a label.
        other_part: Number of frames with the label of another part; in the rest one of the two answers unknown.
        mean_score_drift, max_score_drift: Absolute difference of the network's scores, over all frames and classes.
    """

    provider: str
    precision: Arithmetic
    frames: int
    equal: int
    other_part: int
    mean_score_drift: float
    max_score_drift: float

    @property
    def configuration(self) -> Configuration:
        """Provider and precision that were compared."""
        return Configuration(self.provider, self.precision)

    @property
    def share(self) -> float:
        """Share of frames with the same label, 0 to 1."""
        return self.equal / self.frames


@dataclass(frozen=True)
class Unavailable:
    """A provider that does not work here in some precisions, and the reason."""

    provider: str
    precisions: tuple[Arithmetic, ...]
    reason: str


@dataclass(frozen=True)
class StageShares:
    """Shares of a frame's time, at the chosen configuration's batch size; they add up to 1.

    Attributes:
        comparison: Comparison with golden images and decision; the decision alone if the package holds no golden
            images.
    """

    preprocessing: float
    network: float
    comparison: float


@dataclass(frozen=True)
class Latency:
    """Time of `frames` frames that were answered one at a time, in milliseconds: median and 99th percentile."""

    frames: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class PacedRun:
    """Answers to frames that arrive at an even pace.

    Attributes:
        frames_per_s: The pace.
        seconds: Time during which frames arrive.
        frames: Number of frames that arrive.
        overdue: Number of frames that were answered later than `deadline_ms`, or not at all.
        deadline_ms: Limit for an answer, in milliseconds after the frame is due.
        p50_ms, p99_ms: Milliseconds from the moment a frame is due to its answer: median and 99th percentile.
    """

    frames_per_s: float
    seconds: float
    frames: int
    overdue: int
    deadline_ms: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class OverlapSpeed:
    """Speed at which waiting frames are answered: medians over rounds that take turns.

    Attributes:
        apart_frames_per_s: Each batch is answered before the next one starts.
        overlapped_frames_per_s: The network runs the next batch while the last one is compared with golden images.
    """

    apart_frames_per_s: float
    overlapped_frames_per_s: float


@dataclass(frozen=True)
class StartCost:
    """Cost of a new process.

    Attributes:
        first_answer_s: Seconds from its start to its first answer; Python and the imports are included.
        peak_mb: Most memory that it held, in units of 10^6 bytes; None if the system does not report it.
    """

    first_answer_s: float
    peak_mb: float | None


@dataclass(frozen=True)
class FrameSet:
    """The frames of a benchmark: `source` in words; `width` and `height` in pixels of the first frame."""

    source: str
    different: int
    width: int
    height: int


@dataclass(frozen=True)
class Setting:
    """The package, the machine and the library versions of a benchmark.

    Attributes:
        package: Path of the package as the user typed it.
        parts: Number of parts that the package knows.
        compares: Whether the package compares frames with golden images.
        processor, cores: Name of the machine's processor, and the number of cores that this process may use.
        versions: Version of each library that affects speed, by distribution.
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
class BenchFacts:
    """All facts of one benchmark.

    Attributes:
        rounds: Number of rounds that each speed is the median of.
        baseline: The configuration whose answers count as right; it computes in fp32.
        labels: Agreement of each other configuration with the baseline.
        chosen: The fastest configuration whose labels agree with the baseline's; None if there is none.
        stages, single, pace, start: Figures of the chosen configuration; None if there is none.
        queue: Gain by overlapping batches; None too if the chosen batch size is 1, the package compares nothing, or
            there is one core.
    """

    schema_version: int
    setting: Setting
    frames: FrameSet
    rounds: int
    baseline: Configuration
    speeds: tuple[Speed, ...]
    labels: tuple[LabelAgreement, ...]
    absent: tuple[Unavailable, ...]
    chosen: Speed | None = None
    stages: StageShares | None = None
    single: Latency | None = None
    pace: PacedRun | None = None
    queue: OverlapSpeed | None = None
    start: StartCost | None = None

    def labels_of(self, configuration: Configuration) -> LabelAgreement | None:
        """Return the agreement of a configuration with the baseline; None for the baseline itself."""
        return next((labels for labels in self.labels if labels.configuration == configuration), None)
