"""The trial: everything that `partsight bench` does with a package, in order, within the time that it was given."""

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from partsight.cli.bench_clock import Clock, Tick
from partsight.cli.bench_facts import SCHEMA_VERSION, Facts, Frames, Setting
from partsight.cli.bench_frames import folder_frames, golden_frames
from partsight.cli.bench_measure import compare_labels, measure_pace, measure_single, measure_stages
from partsight.cli.bench_rounds import measure_queue, measure_speeds, pool_size
from partsight.cli.bench_start import measure_start
from partsight.cli.bench_verdict import choose
from partsight.cli.bench_ways import find_ways, open_baseline, open_ways
from partsight.cli.machine import gather
from partsight.runtime import ModelPackage, Recognizer
from partsight.runtime.core import Pixels

_LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "numpy", "opencv-python-headless")
# Shares of the time.
_SPEEDS, _LABELS, _STAGES, _SINGLE, _PACE, _QUEUE = 0.46, 0.2, 0.07, 0.08, 0.12, 0.07


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        seconds: how long all may take; at least half of it is measured, however long loading takes.
        frames: folder of images; None for golden images of the package.
        frame_size: (width, height) in pixels; None for the default, or for images as they are.
        batch: frames in one call, measured beside single frames.
        providers, precisions: to measure; None for all.
        late_ms: an answer that takes longer is late.
        with_start: whether to measure a new process, too.
    """

    seconds: float = 45.0
    frames: Path | None = None
    frame_size: tuple[int, int] | None = None
    batch: int = 16
    providers: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None
    late_ms: float = 100.0
    with_start: bool = True


def measure_package(path: str, options: Options, clock: Clock, tick: Tick) -> Facts:
    """Measure a package on this machine.

    Args:
        path: its folder.
        options: what to measure.
        clock: to measure by.
        tick: is told what goes on, after each step.

    Raises:
        PartsightError: the package, the frames, a provider or a precision cannot be used.
    """
    begun = clock.now()
    package = ModelPackage.read(path)
    ways = find_ways(package, options.providers, options.precisions)
    stream, source = _stream(package, options)
    frames = list(itertools.islice(stream, pool_size(options.batch)))
    with ExitStack() as stack:
        recognizers, absent = open_ways(package, ways, options.batch, stack, tick)
        baseline, trusted = open_baseline(package, recognizers, options.batch, stack)
        loaded = dataclasses.replace(options, seconds=_left(options.seconds, clock.now() - begun))
        seconds = loaded.seconds
        speeds, rounds = measure_speeds(recognizers, frames, (1, options.batch), _SPEEDS * seconds, clock, tick)
        others = {way: recognizer for way, recognizer in recognizers.items() if way != baseline}
        labels = compare_labels(others, trusted, itertools.chain(frames, stream), _LABELS * seconds, clock, tick)
        facts = Facts(
            schema_version=SCHEMA_VERSION,
            setting=_setting(package, path),
            frames=Frames(source, len(frames), frames[0].shape[1], frames[0].shape[0]),
            rounds=rounds,
            baseline=baseline,
            speeds=tuple(speeds),
            labels=tuple(labels),
            absent=tuple(absent),
            chosen=choose(speeds, labels, baseline),
        )
        if facts.chosen is not None:
            recognizer = recognizers.pop(facts.chosen.way)
            for other in (trusted, *recognizers.values()):
                if other is not recognizer:
                    other.close()  # their memory is not the chosen one's
            facts = _look_closer(facts, recognizer, frames, loaded, clock, tick)
            facts = _look_at_queue(facts, recognizer, frames, loaded, clock, tick)
    if options.with_start and facts.chosen is not None:
        tick("start of a process")
        start = measure_start(path, facts.chosen, frames[0].shape)
        facts = dataclasses.replace(facts, start=start)
    return facts


def _look_closer(
    facts: Facts,
    recognizer: Recognizer,
    frames: list[Pixels],
    options: Options,
    clock: Clock,
    tick: Tick,
) -> Facts:
    """Measure what is told of the chosen configuration alone."""
    assert facts.chosen is not None
    seconds = options.seconds
    return dataclasses.replace(
        facts,
        stages=measure_stages(recognizer, frames, facts.chosen.batch, _STAGES * seconds, clock, tick),
        single=measure_single(recognizer, frames, _SINGLE * seconds, clock, tick),
        pace=measure_pace(recognizer, frames, facts.chosen, options.late_ms, _PACE * seconds, clock, tick),
    )


def _look_at_queue(
    facts: Facts, recognizer: Recognizer, frames: list[Pixels], options: Options, clock: Clock, tick: Tick
) -> Facts:
    """Measure what overlapping batches bring to the chosen configuration, where they can at all."""
    chosen, setting = facts.chosen, facts.setting
    if chosen is None or chosen.batch == 1 or not setting.compares or setting.cores == 1:
        return facts
    found = measure_queue(recognizer, frames, _QUEUE * options.seconds, clock, tick)
    return dataclasses.replace(facts, queue=found)


def _left(seconds: float, gone: float) -> float:
    """Return the seconds to measure for: what is left but a little, for the start of a process; half at least."""
    return max(seconds / 2, 0.95 * seconds - gone)


def _stream(package: ModelPackage, options: Options) -> tuple[Iterator[Pixels], str]:
    """Return the frames to show, and what they are in words."""
    if options.frames is not None:
        return folder_frames(options.frames, package.manifest.preprocess, options.frame_size), "images of a folder"
    return golden_frames(package, options.frame_size), "varied golden images"


def _setting(package: ModelPackage, path: str) -> Setting:
    machine, manifest = gather(), package.manifest
    versions = {name: version for name in _LIBRARIES if (version := machine.libraries[name])}
    return Setting(
        package=path,
        package_id=package.package_id,
        backbone=manifest.provenance.backbone,
        parts=len(manifest.labels),
        compares=manifest.matching is not None,
        processor=machine.cpu.name,
        cores=machine.cpu.usable_cores,
        versions={"partsight": machine.partsight, **versions},
    )
