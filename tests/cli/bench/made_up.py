"""A clock, a recogniser and facts that are made up, so that no test depends on a time."""

import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from partsight.cli.bench.facts import (
    SCHEMA_VERSION,
    BenchFacts,
    Configuration,
    FrameSet,
    LabelAgreement,
    Latency,
    PacedRun,
    Setting,
    Speed,
    StageShares,
    StartCost,
    Unavailable,
)
from partsight.runtime import Recognizer
from partsight.runtime.core import Pixels
from tests.tiny import solid

CPU_FP32, CPU_INT8 = Configuration("cpu", "fp32"), Configuration("cpu", "int8")
OV_FP32, OV_BF16 = Configuration("openvino", "fp32"), Configuration("openvino", "bf16")


class StepClock:
    """Each look at it takes ten milliseconds, and waiting takes exactly as long as asked."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        self.seconds += 0.01
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += max(0.0, seconds)


class FakeRecognizer:
    """Answers each call in `call_s` seconds, with one label and score; without matching in half the time."""

    batch_size = 4

    def __init__(self, clock: StepClock, call_s: float, label: str | None = "red", score: float = 0.5) -> None:
        self.clock, self.call_s, self.label, self.score = clock, call_s, label, score
        self.manifest = SimpleNamespace(matching=object())
        self.sizes: list[int] = []
        self.seen: list[int] = []

    @property
    def as_recognizer(self) -> Recognizer:
        return cast(Recognizer, self)

    def recognize_batch(self, frames: Sequence[Pixels]) -> list[SimpleNamespace]:
        self.sizes.append(len(frames))
        self.seen += [int(frame[0, 0, 0]) for frame in frames]
        self.clock.seconds += self.call_s
        stages = SimpleNamespace(prepare_ms=1.0, network_ms=6.0, compare_ms=3.0)
        return [SimpleNamespace(label=self.label, stages=stages)] * len(frames)

    def infer(self, frames: Sequence[Pixels]) -> SimpleNamespace:
        self.clock.seconds += self.call_s / 2
        return SimpleNamespace(score=np.array([[0.25, self.score]] * len(frames), np.float32))


def shades(count: int) -> list[Pixels]:
    return [solid((shade, 0, 0)) for shade in range(count)]


def no_tick(step: str) -> None:
    """A tick without a listener."""


def made_up(**changes: Any) -> BenchFacts:
    """Facts of a machine on which bf16 is best, and int8 is faster but wrong."""
    best = Speed("openvino", "bf16", 16, 92.7, 140.0, 88.0)
    facts = BenchFacts(
        schema_version=SCHEMA_VERSION,
        setting=Setting("lines/line3.partsight", "0123456789abcdef", "InceptionV3", 1424, True, "a CPU", 2, {}),
        frames=FrameSet("varied golden images", 64, 1280, 1024),
        rounds=4,
        baseline=CPU_FP32,
        speeds=(
            Speed("cpu", "fp32", 1, 40.0, 50.0, 39.0),
            Speed("cpu", "fp32", 16, 46.0, 60.0, 45.0),
            Speed("cpu", "int8", 16, 130.0, 300.0, 120.0),
            best,
        ),
        labels=(
            LabelAgreement("cpu", "int8", 2000, 1997, 1, 0.02, 0.3),
            LabelAgreement("openvino", "bf16", 2000, 1998, 0, 0.01, 0.1),
        ),
        absent=(Unavailable("cuda", ("fp32", "fp16"), "it was built without <CUDA>"),),
        chosen=best,
        stages=StageShares(0.094, 0.663, 0.243),
        single=Latency(200, 14.2, 19.4),
        pace=PacedRun(64.9, 5.0, 324, 0, 100.0, 21.0, 48.0),
        start=StartCost(0.94, 361.0),
    )
    return dataclasses.replace(facts, **changes)


def nothing_to_recommend() -> BenchFacts:
    """Facts of a machine on which the only measured configuration gives other labels."""
    facts = made_up()
    changes: dict[str, Any] = dict.fromkeys(("chosen", "stages", "single", "pace"))
    return dataclasses.replace(facts, speeds=facts.speeds[2:3], labels=facts.labels[:1], **changes)
