"""The trial: all measurements of `partsight bench` in order, within a given time."""

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from partsight.cli.bench.clock import Clock, Tick
from partsight.cli.bench.configurations import find_configurations, open_baseline, open_configurations
from partsight.cli.bench.facts import SCHEMA_VERSION, BenchFacts, FrameSet, Setting, Speed
from partsight.cli.bench.frames import folder_frames, golden_frames
from partsight.cli.bench.measure import compare_labels, measure_pace, measure_single, measure_stages
from partsight.cli.bench.rounds import measure_queue, measure_speeds, pool_size
from partsight.cli.bench.start import measure_start
from partsight.cli.bench.verdict import choose
from partsight.cli.machine import read_cpu, version_of
from partsight.runtime import ModelPackage, Recognizer
from partsight.runtime.core import Pixels

_LIBRARIES = ("partsight", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "numpy", "opencv-python-headless")
# Shares of the time for each measurement.
_SPEEDS, _LABELS, _STAGES, _SINGLE, _PACE, _QUEUE = 0.46, 0.2, 0.07, 0.08, 0.12, 0.07


@dataclass(frozen=True)
class BenchOptions:
    """Measurements to take, and their duration.

    Attributes:
        seconds: Time for everything, in seconds; at least half of it goes to measurements, however long loading takes.
        frames: Folder of images; None for golden images of the package.
        frame_size: (width, height) of the frames in pixels; None for the default, or the size of the images.
        batch: Number of frames in one call, measured in addition to single frames.
        providers, precisions: Names to measure; None for all.
        deadline_ms: Time in milliseconds after which an answer is overdue.
        with_start: Whether to measure a new process too.
    """

    seconds: float = 45.0
    frames: Path | None = None
    frame_size: tuple[int, int] | None = None
    batch: int = 16
    providers: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None
    deadline_ms: float = 100.0
    with_start: bool = True


def measure_package(path: str, options: BenchOptions, clock: Clock, tick: Tick) -> BenchFacts:
    """Measure a package on this machine.

    Args:
        path: Path of the package.
        options: What to measure.
        clock: Clock to measure by.
        tick: Called after each step.

    Raises:
        PartsightError: The package, the frames, a provider or a precision cannot be used.
    """
    started = clock.now()
    package = ModelPackage.read(path)
    configurations = find_configurations(package, options.providers, options.precisions)
    stream, source = _stream(package, options)
    frames = list(itertools.islice(stream, pool_size(options.batch)))
    trial = _Trial(options, frames, clock, tick)
    with ExitStack() as stack:
        recognizers, absent = open_configurations(package, configurations, options.batch, stack, tick)
        baseline, trusted = open_baseline(package, recognizers, options.batch, stack)
        seconds = _left(options.seconds, clock.now() - started)
        speeds, rounds = measure_speeds(recognizers, frames, (1, options.batch), _SPEEDS * seconds, clock, tick)
        others = {other: recognizer for other, recognizer in recognizers.items() if other != baseline}
        labels = compare_labels(others, trusted, itertools.chain(frames, stream), _LABELS * seconds, clock, tick)
        facts = BenchFacts(
            schema_version=SCHEMA_VERSION,
            setting=_setting(package, path),
            frames=FrameSet(source, len(frames), frames[0].shape[1], frames[0].shape[0]),
            rounds=rounds,
            baseline=baseline,
            speeds=tuple(speeds),
            labels=tuple(labels),
            absent=tuple(absent),
            chosen=choose(speeds, labels, baseline),
        )
        if facts.chosen is not None:
            recognizer = recognizers.pop(facts.chosen.configuration)
            for other in (trusted, *recognizers.values()):
                if other is not recognizer:
                    other.close()  # frees their memory for the chosen one
            facts = trial.measure_chosen(facts, facts.chosen, recognizer, seconds)
    return trial.measure_start(facts, path)


@dataclass(frozen=True)
class _Trial:
    """Measurements of the chosen configuration, all on the same frames: (height, width, 3) uint8 BGR, or grey."""

    options: BenchOptions
    frames: list[Pixels]
    clock: Clock
    tick: Tick

    def measure_chosen(self, facts: BenchFacts, chosen: Speed, recognizer: Recognizer, seconds: float) -> BenchFacts:
        """Measure stages, single frames, a paced run and overlapping batches in their shares of `seconds`."""
        by_clock = (self.clock, self.tick)
        deadline_ms = self.options.deadline_ms
        return dataclasses.replace(
            facts,
            stages=measure_stages(recognizer, self.frames, chosen.batch, _STAGES * seconds, *by_clock),
            single=measure_single(recognizer, self.frames, _SINGLE * seconds, *by_clock),
            pace=measure_pace(recognizer, self.frames, chosen, deadline_ms, _PACE * seconds, *by_clock),
            queue=(
                measure_queue(recognizer, self.frames, _QUEUE * seconds, *by_clock)
                if _can_overlap(facts.setting, chosen)
                else None
            ),
        )

    def measure_start(self, facts: BenchFacts, path: str) -> BenchFacts:
        """Measure a new process with the chosen configuration, if there is one and the options ask for it."""
        if facts.chosen is None or not self.options.with_start:
            return facts
        self.tick("start of a process")
        return dataclasses.replace(facts, start=measure_start(path, facts.chosen, self.frames[0].shape))


def _can_overlap(setting: Setting, chosen: Speed) -> bool:
    return chosen.batch > 1 and setting.compares and setting.cores > 1


def _left(seconds: float, gone: float) -> float:
    """Return the seconds for measurements: the rest, less 5 % for the start of a process; at least half."""
    return max(seconds / 2, 0.95 * seconds - gone)


def _stream(package: ModelPackage, options: BenchOptions) -> tuple[Iterator[Pixels], str]:
    """Return the frames to measure on, and their source in words."""
    if options.frames is not None:
        return folder_frames(options.frames, package.manifest.preprocess, options.frame_size), "images of a folder"
    return golden_frames(package, options.frame_size), "varied golden images"


def _setting(package: ModelPackage, path: str) -> Setting:
    cpu, manifest = read_cpu(), package.manifest
    versions = {name: version for name in _LIBRARIES if (version := version_of(name))}
    return Setting(
        package=path,
        package_id=package.package_id,
        backbone=manifest.provenance.backbone,
        parts=len(manifest.labels),
        compares=manifest.matching is not None,
        processor=cpu.name,
        cores=cpu.usable_cores,
        versions=versions,
    )
