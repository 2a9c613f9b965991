"""`partsight bench`: what is measured, what is made of it, and what is told. No test asserts a time."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from partsight.cli import bench_frames, bench_measure, bench_rounds, bench_trial, bench_ways
from partsight.cli.bench_facts import (
    SCHEMA_VERSION,
    Absent,
    Facts,
    Frames,
    Labels,
    Latency,
    Pace,
    Queue,
    Setting,
    Speed,
    Stages,
    Start,
    Way,
)
from partsight.cli.bench_frames import folder_frames, golden_frames
from partsight.cli.bench_page import camera_marks, stage_bar, to_html
from partsight.cli.bench_rounds import measure_queue
from partsight.cli.bench_start import measure_start
from partsight.cli.bench_table import to_markdown, to_text
from partsight.cli.bench_verdict import choose, judge, milliseconds, rate, stages_of
from partsight.runtime import FrameError, ModelPackage, PartsightError, ProviderError
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.core.storage import sha256_bytes
from partsight.runtime.images.preprocessing import PreprocessSpec, Region, preprocess
from partsight.runtime.package.manifest import Manifest, ModelFile
from tests.cli.command import HEAVY, loaded_by
from tests.cli.conftest import Ended
from tests.tiny import solid, tiny_matching, tiny_model, write_tiny_package

Call = Callable[..., Ended]
CPU_FP32, CPU_INT8, OV_BF16 = Way("cpu", "fp32"), Way("cpu", "int8"), Way("openvino", "bf16")
OV_FP32 = Way("openvino", "fp32")
QUICK = ("--seconds", "0.4", "--batch", "2", "--provider", "cpu")


class StepClock:
    """Each look at it takes ten milliseconds, and waiting takes no longer than it was told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        self.seconds += 0.01
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += max(0.0, seconds)


class FakeRecognizer:
    """Answers in so many seconds a call and a frame, with labels that are told."""

    batch_size = 4
    manifest = SimpleNamespace(matching=object())

    def __init__(self, clock: StepClock, call_s: float, label: str | None = "red", score: float = 0.5) -> None:
        self.clock, self.call_s, self.label, self.score = clock, call_s, label, score
        self.sizes: list[int] = []
        self.seen: list[int] = []

    def recognize_batch(self, frames: Sequence[Pixels]) -> list[SimpleNamespace]:
        self.sizes.append(len(frames))
        self.seen += [int(frame[0, 0, 0]) for frame in frames]
        self.clock.seconds += self.call_s
        return [SimpleNamespace(label=self.label)] * len(frames)

    def infer(self, frames: Sequence[Pixels]) -> SimpleNamespace:
        self.clock.seconds += self.call_s / 2
        return SimpleNamespace(score=np.array([[0.25, self.score]] * len(frames), np.float32))


def shades(count: int) -> list[Pixels]:
    return [solid((shade, 0, 0)) for shade in range(count)]


def nothing(what: str) -> None:
    """A tick that nobody hears."""


def made_up(**changes: Any) -> Facts:
    """Facts of a machine on which bf16 is best, int8 faster and wrong."""
    best = Speed("openvino", "bf16", 16, 92.7, 140.0, 88.0)
    facts = Facts(
        schema_version=SCHEMA_VERSION,
        setting=Setting("lines/line3.partsight", "0123456789abcdef", "InceptionV3", 1424, True, "a CPU", 2, {}),
        frames=Frames("varied golden images", 64, 1280, 1024),
        rounds=4,
        baseline=CPU_FP32,
        speeds=(
            Speed("cpu", "fp32", 1, 40.0, 50.0, 39.0),
            Speed("cpu", "fp32", 16, 46.0, 60.0, 45.0),
            Speed("cpu", "int8", 16, 130.0, 300.0, 120.0),
            best,
        ),
        labels=(Labels("cpu", "int8", 2000, 1997, 1, 0.02, 0.3), Labels("openvino", "bf16", 2000, 1998, 0, 0.01, 0.1)),
        absent=(Absent("cuda", ("fp32", "fp16"), "it was built without <CUDA>"),),
        chosen=best,
        stages=Stages(0.094, 0.663, 0.243),
        single=Latency(200, 14.2, 19.4),
        pace=Pace(64.9, 5.0, 324, 0, 100.0, 21.0, 48.0),
        start=Start(0.94, 361.0),
    )
    return dataclasses.replace(facts, **changes)


# --- verdict -------------------------------------------------------------------------------------


def test_the_verdict_of_made_up_facts() -> None:
    verdict = judge(made_up())
    assert verdict.headline == (
        "On this machine line3.partsight recognises 92 frames a second (openvino, bf16, batches of 16): "
        "3 cameras at 30 fps."
    )
    assert verdict.sentences == (
        "A frame that is answered alone takes 14 ms from frame to label (median of 200; p99 19 ms).",
        "With 64 frames a second coming for 5 s, half of the answers were there within 21 ms of the frame's arrival "
        "and 99 of 100 within 48 ms, waiting included; none of 324 came later than 100 ms.",
        "What limits it is the network. The time of a frame (openvino, bf16, batches of 16: 11 ms a frame): "
        "preprocessing 10%, network 66%, comparison 24%.",
        "That is 2.0 times the speed of the default (cpu, fp32, batches of 16).",
        "Its labels are those of fp32 for 1,998 of 2,000 frames.",
        "A new process gives its first answer after 0.9 s and holds at most 361 MB of memory.",
    )
    assert verdict.warnings == (
        "Not recommended: cpu int8 answers 3 of 2,000 frames otherwise than fp32 (1 as another part, 2 unknown to one "
        "of the two), at 130 frames a second.",
    )
    assert verdict.command == (
        "partsight run lines/line3.partsight --camera folder:photos --provider openvino --precision bf16 --batch 16"
    )
    assert verdict.code == ('Recognizer("lines/line3.partsight", provider="openvino", precision="bf16", batch_size=16)')


@pytest.mark.parametrize(
    ("frames_per_s", "count", "said"),
    [
        (29.999, 0, "29 frames a second (cpu, fp32, frame by frame): less than one camera at 30 fps."),
        (30.0, 1, "30 frames a second (cpu, fp32, frame by frame): 1 camera at 30 fps."),
        (89.99, 2, "89 frames a second (cpu, fp32, frame by frame): 2 cameras at 30 fps."),
        (4567.8, 152, "4,567 frames a second (cpu, fp32, frame by frame): 152 cameras at 30 fps."),
    ],
)
def test_cameras_are_never_rounded_up(frames_per_s: float, count: int, said: str) -> None:
    speed = Speed("cpu", "fp32", 1, frames_per_s, None, frames_per_s)
    assert speed.cameras == count
    assert judge(made_up(speeds=(speed,), chosen=speed)).headline.endswith(said)


def test_numbers_as_people_read_them() -> None:
    assert [rate(value) for value in (0.19, 9.99, 10.9, 1234.5)] == ["0.1", "9.9", "10", "1,234"]
    assert [milliseconds(value) for value in (0.014, 4.25, 14.6)] == ["0.01 ms", "4.2 ms", "15 ms"]


def test_what_limits_it() -> None:
    slow = Speed("openvino", "bf16", 16, 92.7, 400.0, 90.0)
    said = " ".join(judge(made_up(chosen=slow, stages=Stages(0.1, 0.2, 0.7))).sentences)
    assert "What limits it is the comparison with golden images. The time of a frame" in said
    assert "(verify=False) would answer 400 frames a second" in said
    alone = Speed("openvino", "bf16", 16, 92.7, None, 90.0)
    assert "brings no golden images" in " ".join(judge(made_up(chosen=alone)).sentences)


@pytest.mark.parametrize(
    ("queue", "told"),
    [
        (None, []),
        (Queue(92.7, 94.0), []),
        (Queue(92.7, 115.9), ["--policy queue", "1.3 times as fast, since batches overlap"]),
    ],
)
def test_what_a_queue_brings_is_told_if_it_does(queue: Queue | None, told: list[str]) -> None:
    said = " ".join(judge(made_up(queue=queue)).sentences)
    assert all(words in said for words in told)
    assert ("overlap" in said) == bool(told)


def test_overlapping_batches_take_turns_with_batches_apart() -> None:
    clock = StepClock()
    recognizer = FakeRecognizer(clock, 0.39)  # and two looks at the clock
    found = measure_queue(recognizer, shades(8), 3.0, clock, nothing)  # type: ignore[arg-type]
    assert recognizer.seen[:9] == [7, *range(8)]  # one that is not timed, then all
    assert recognizer.sizes[:10] == [1, 4, 4, 1, 8, 1, 4, 4, 1, 8]
    assert found == Queue(pytest.approx(10, rel=0.02), pytest.approx(20, rel=0.02))


def test_late_frames_are_told() -> None:
    said = [judge(made_up(pace=Pace(64.9, 5.0, 300, late, 100.0, 21.0, 148.0))).sentences[1] for late in (3, 4)]
    assert said[0].endswith("; 3 of 300 came later than 100 ms.")
    assert said[1].endswith("; 4 of 300 came later than 100 ms. That is too many: let nothing else run on this "
                            "machine and measure again, or plan with fewer cameras.")  # fmt: skip


@pytest.mark.parametrize(("equal", "way"), [(1997, CPU_FP32), (1998, CPU_INT8)])
def test_other_labels_are_never_recommended(equal: int, way: Way) -> None:
    """99.85 % is too little, 99.9 % enough."""
    speeds = (Speed("cpu", "fp32", 1, 40.0, 50.0, 39.0), Speed("cpu", "int8", 1, 130.0, 300.0, 120.0))
    chosen = choose(speeds, [Labels("cpu", "int8", 2000, equal, 0, 0.02, 0.3)], CPU_FP32)
    assert chosen is not None
    assert chosen.way == way


def test_a_lower_precision_must_be_worth_it() -> None:
    def fastest(int8: float, second: float) -> tuple[str, str]:
        speeds = [
            Speed(*way, 1, rate, None, rate) for way, rate in ((CPU_INT8, int8), (OV_FP32, second), (CPU_FP32, 40.0))
        ]
        labels = [Labels(*way, 100, 100, 0, 0.0, 0.0) for way in (CPU_INT8, OV_FP32)]
        chosen = choose(speeds, labels, CPU_FP32)
        assert chosen is not None
        return chosen.way

    assert fastest(41.0, 41.9) == CPU_FP32
    assert fastest(45.0, 44.0) == OV_FP32
    assert fastest(47.0, 44.0) == CPU_INT8


def test_a_busy_machine_is_told() -> None:
    calm, busy = (made_up(chosen=Speed("openvino", "bf16", 16, 100.0, 140.0, slowest)) for slowest in (75.0, 74.9))
    assert len(judge(calm).warnings) == 1
    assert judge(busy).warnings[1].startswith("These figures are rough: in one round it was only 74 frames a second.")
    calmed = judge(made_up(single=Latency(200, 8.0, 9.0))).warnings[1]  # 10.8 ms a frame in batches
    assert calmed.startswith("These figures are rough: a frame alone took 8.0 ms, a moment before 11 ms (openvino")


def test_labels_that_nobody_compared_are_not_recommended() -> None:
    assert choose([Speed("cpu", "int8", 1, 130.0, 300.0, 120.0)], [], CPU_FP32) is None


def test_no_configuration_that_can_be_recommended() -> None:
    wrong = made_up().speeds[2:3]
    facts = made_up(speeds=wrong, labels=made_up().labels[:1], chosen=None, stages=None, single=None, pace=None)
    verdict = judge(facts)
    assert verdict.headline.startswith("No configuration of line3.partsight that was measured can be recommended")
    assert (verdict.command, verdict.code) == ("", "")
    assert "cpu int8 answers 3 of 2,000 frames otherwise than fp32" in verdict.warnings[0]
    for text in (to_text(facts, verdict), to_markdown(facts, verdict), to_html(facts, verdict)):
        assert "partsight run" not in text
        assert "1,997 of 2,000: NO" in text


# --- table and page ------------------------------------------------------------------------------


def test_the_table() -> None:
    text = to_text(made_up(), judge(made_up()))
    rows = [re.split(r"  +", line) for line in text.splitlines()]
    head = ["provider", "precision", "batch", "frames/s", "30-fps cameras", "network alone", "labels as fp32"]
    assert rows[rows.index(head) + 1 :][:4] == [
        ["cpu", "int8", "16", "130.0", "4", "300.0", "1,997 of 2,000: NO"],
        ["openvino", "bf16", "16", "92.7", "3", "140.0", "1,998 of 2,000"],
        ["cpu", "fp32", "16", "46.0", "1", "60.0", "are the measure"],
        ["cpu", "fp32", "1", "40.0", "1", "50.0", "are the measure"],
    ]
    assert "  cuda (fp32, fp16): it was built without <CUDA>" in text
    assert ["", "network", "7.2 ms", "66%", "████████████████████"] in rows
    assert "cpu int8 0.02 (at most 0.3)" in text


def test_the_markdown() -> None:
    text = to_markdown(made_up(), judge(made_up()))
    assert "| openvino | bf16 | 16 | 92.7 | 3 | 140.0 | 1,998 of 2,000 |" in text
    assert "| comparison | 2.6 ms | 24% |" in text
    assert "- cuda (fp32, fp16): it was built without <CUDA>" in text
    assert judge(made_up()).command in text


def test_the_page_stands_alone() -> None:
    page = to_html(made_up(), judge(made_up()))
    assert re.findall(r"(?:src|href)=|url\(|@import", page) == []
    pictures = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    assert [picture.get("aria-label") for picture in pictures] == [
        "Frames a second by configuration",
        "Stages of a frame",
    ]
    texts = ["".join(element.itertext()) for element in pictures[0].iter() if element.tag.endswith("}text")]
    assert "130/s, 4 cameras, other labels" in texts
    assert "92/s, 3 cameras" in texts
    assert "&lt;CUDA&gt;" in page
    assert "<CUDA>" not in page


def test_the_bars_keep_to_their_scale() -> None:
    page = to_html(made_up(), judge(made_up()))
    svg = ET.fromstring(re.findall(r"<svg.*?</svg>", page, re.DOTALL)[0])
    bars = [float(rect.get("width", "")) for rect in svg.iter() if rect.tag.endswith("}rect")]
    assert bars[::2] == pytest.approx([bars[1] * alone / 130 for alone in (300, 140, 60, 50)], abs=0.2)
    assert bars[1::2] == pytest.approx([bars[1] * rate / 130 for rate in (130, 92.7, 46, 40)], abs=0.2)


@pytest.mark.parametrize("shares", [(0.094, 0.663, 0.243), (1 / 3, 1 / 3, 1 / 3), (0.005, 0.005, 0.99), (0, 0, 1.0)])
def test_one_split_is_told_everywhere_and_adds_up(shares: tuple[float, float, float]) -> None:
    facts = made_up(stages=Stages(*shares))
    stages, verdict = stages_of(facts), judge(facts)
    assert sum(percentage for *_, percentage in stages) == 100
    assert sum(value for _, value, _ in stages) == pytest.approx(1000 / 92.7)
    sentence = ", ".join(f"{name} {percentage}%" for name, _, percentage in stages)
    for text in (to_text(facts, verdict), to_markdown(facts, verdict), to_html(facts, verdict)):
        assert sentence in text
        assert "openvino, bf16, batches of 16: 11 ms a frame" in text
        for _, value, percentage in stages:
            assert re.search(rf"{re.escape(milliseconds(value))}\W+{percentage}%", text)


def test_stages_are_those_of_the_batches_that_are_recommended() -> None:
    sizes = []

    def recognize_batch(frames: Sequence[Pixels]) -> list[SimpleNamespace]:
        sizes.append(len(frames))
        return [SimpleNamespace(stages=SimpleNamespace(prepare_ms=1.0, network_ms=6.0, compare_ms=3.0))] * len(frames)

    recognizer = SimpleNamespace(recognize_batch=recognize_batch)
    found = bench_measure.measure_stages(recognizer, shades(3), 4, 0.1, StepClock(), nothing)  # type: ignore[arg-type]
    assert found == Stages(pytest.approx(0.1), pytest.approx(0.6), pytest.approx(0.3))
    assert set(sizes) == {4}


def test_the_stages_fill_the_bar() -> None:
    svg = ET.fromstring(stage_bar([("preprocessing", 1.0, 25), ("network", 2.0, 50), ("decision", 1.0, 25)]))
    rects = [rect for rect in svg.iter() if rect.tag.endswith("}rect") and rect.get("height") == "46"]
    assert [float(rect.get("width", "")) for rect in rects] == [220, 440, 220]
    assert [float(rect.get("x", "")) for rect in rects] == [0, 220, 660]


@pytest.mark.parametrize(
    ("most", "marks"),
    [(29, []), (95, [1, 2, 3]), (270, [2, 4, 6, 8]), (300, [2, 4, 6, 8, 10]), (30_000, [200, 400, 600, 800, 1000])],
)
def test_marks_of_the_scale(most: float, marks: list[int]) -> None:
    assert camera_marks(most) == marks


# --- measuring -----------------------------------------------------------------------------------


def test_speeds_are_frames_by_the_clock() -> None:
    """A turn has four frames, in four calls or in one; its two looks at the clock are 10 ms apart."""
    clock = StepClock()
    slow, fast = FakeRecognizer(clock, 0.4), FakeRecognizer(clock, 0.04)
    speeds, rounds = bench_rounds.measure_speeds(
        {CPU_FP32: slow, CPU_INT8: fast},
        shades(8),
        [4, 1],
        1.0,
        clock,
        nothing,  # type: ignore[dict-item]
    )
    assert rounds == 2  # at least, however little time there is
    assert [(speed.way, speed.batch) for speed in speeds] == [
        (CPU_FP32, 1), (CPU_FP32, 4), (CPU_INT8, 1), (CPU_INT8, 4)
    ]  # fmt: skip
    assert [speed.frames_per_s for speed in speeds] == pytest.approx([4 / 1.61, 4 / 0.41, 4 / 0.17, 4 / 0.05])
    assert [speed.slowest_frames_per_s for speed in speeds] == pytest.approx([speed.frames_per_s for speed in speeds])
    assert [speed.network_frames_per_s for speed in speeds] == pytest.approx([4 / 0.81, 4 / 0.21, 4 / 0.09, 4 / 0.03])


def test_the_first_round_only_warms_up() -> None:
    clock = StepClock()
    recognizer = FakeRecognizer(clock, 9.0)
    recognizer.manifest = SimpleNamespace(matching=None)

    def tick(what: str) -> None:
        recognizer.call_s = 0.04

    ((speed,), _) = bench_rounds.measure_speeds({CPU_FP32: recognizer}, shades(8), [4], 1.0, clock, tick)  # type: ignore[dict-item]
    assert speed.slowest_frames_per_s == pytest.approx(speed.frames_per_s) == pytest.approx(4 / 0.05)


def test_more_time_gives_more_rounds() -> None:
    clock = StepClock()
    recognizer = FakeRecognizer(clock, 0.01)
    _, rounds = bench_rounds.measure_speeds({CPU_FP32: recognizer}, shades(8), [1], 9.0, clock, nothing)  # type: ignore[dict-item]
    assert rounds > 10


def test_batches_of_one_round_see_other_frames() -> None:
    """Else the second would find golden images ready that the first has paid for."""
    groups = bench_rounds.group_frames(shades(bench_rounds.pool_size(16)), 16)
    assert [len(group) for group in groups] == [16] * 4
    assert bench_rounds.pool_size(64) == 128
    assert [frame[0, 0, 0] for frame in bench_rounds.group_frames(shades(3), 2)[1]] == [2, 0]
    clock = StepClock()
    recognizer = FakeRecognizer(clock, 0.01)
    recognizer.manifest = SimpleNamespace(matching=None)
    turns: list[set[int]] = []

    def tick(what: str) -> None:
        turns.append(set(recognizer.seen))
        recognizer.seen.clear()

    bench_rounds.measure_speeds({CPU_FP32: recognizer}, shades(8), [1, 2], 0.0, clock, tick)  # type: ignore[dict-item]
    assert len(turns) == 2 * 3
    assert all(first.isdisjoint(second) for first, second in zip(turns[::2], turns[1::2], strict=True))
    assert set.union(*turns) == set(range(8))


def test_labels_and_drift() -> None:
    clock = StepClock()
    baseline, same, other, unknown = (
        FakeRecognizer(clock, 0.1, label=label, score=score)
        for label, score in (("red", 0.5), ("red", 0.75), ("blue", 0.5), (None, 0.5))
    )
    found = bench_measure.compare_labels(
        {CPU_INT8: same, OV_BF16: other, OV_FP32: unknown},
        baseline,
        iter(shades(10)),
        60.0,
        clock,
        nothing,  # type: ignore[dict-item, arg-type]
    )
    assert found == [
        Labels("cpu", "int8", 10, 10, 0, 0.125, 0.25),
        Labels("openvino", "bf16", 10, 0, 10, 0.0, 0.0),
        Labels("openvino", "fp32", 10, 0, 0, 0.0, 0.0),
    ]
    assert [labels.share for labels in found] == [1.0, 0.0, 0.0]


def test_labels_stop_with_the_time() -> None:
    clock = StepClock()
    one = FakeRecognizer(clock, 0.1)
    (found,) = bench_measure.compare_labels({CPU_INT8: one}, one, iter(shades(200)), 1.0, clock, nothing)  # type: ignore[dict-item, arg-type]
    assert 4 <= found.frames < 200
    (least,) = bench_measure.compare_labels({CPU_INT8: one}, one, iter(shades(200)), 0.0, clock, nothing)  # type: ignore[dict-item, arg-type]
    assert least.frames == 4


def test_a_pace_that_is_kept() -> None:
    clock = StepClock()
    recognizer = FakeRecognizer(clock, 0.02)
    pace = bench_measure.measure_pace(
        recognizer,
        shades(3),
        Speed("cpu", "fp32", 4, 10 / 0.7, None, 10.0),
        100.0,
        5.0,
        clock,
        nothing,  # type: ignore[arg-type]
    )
    assert (pace.frames_per_s, pace.frames, pace.late) == (pytest.approx(10), 50, 0)
    assert recognizer.sizes == [1] * 50
    assert 0 < pace.p50_ms <= pace.p99_ms < 100


def test_a_pace_that_is_too_fast() -> None:
    """Those that wait are answered together, as many as the batch takes; what is left over in the end is late."""
    clock = StepClock()
    recognizer = FakeRecognizer(clock, 1.0)
    pace = bench_measure.measure_pace(
        recognizer,
        shades(3),
        Speed("cpu", "fp32", 4, 10 / 0.7, None, 10.0),
        100.0,
        5.0,
        clock,
        nothing,  # type: ignore[arg-type]
    )
    assert pace.late == pace.frames == 50
    assert set(recognizer.sizes) == {1, 4}
    assert sum(recognizer.sizes) < 50


def test_the_99th_percentile_is_one_that_was_measured() -> None:
    assert bench_measure.percentile_99(list(range(1, 101))) == 99
    assert bench_measure.percentile_99([3.0]) == 3.0


# --- frames --------------------------------------------------------------------------------------


def test_golden_frames_show_each_part_in_turn(verified_package: Path) -> None:
    package = ModelPackage.read(verified_package)
    frames = golden_frames(package, None)
    first = [next(frames) for _ in range(6)]
    assert {frame.shape for frame in first} == {(1024, 1280, 3)}
    dominant = [tuple(frame.mean(axis=(0, 1)) > 128) for frame in first]
    assert len(set(dominant)) == 6
    assert next(golden_frames(package, (640, 480))).shape == (480, 640, 3)


@pytest.mark.parametrize("color", ["bgr", "mono"])
def test_golden_frames_lie_in_the_region(tmp_path: Path, color: str) -> None:
    region = Region(x=1300, y=40, width=64, height=48)
    spec = PreprocessSpec(height=32, width=32, color=color, region=region)
    path = write_tiny_package(tmp_path / "region.partsight", matching=tiny_matching(), preprocess=spec)
    package = ModelPackage.read(path)
    frame = next(golden_frames(package, None))
    assert frame.shape[:2] == (1024, 1364)
    assert preprocess([frame], spec).shape == (1, 32, 32, 3)
    with pytest.raises(FrameError, match=r"received 640×480 px, but the package's region reaches to \(1364, 88\)"):
        next(golden_frames(package, (640, 480)))


def test_the_region_shows_the_whole_golden_image() -> None:
    spec = PreprocessSpec(height=32, width=32, region=Region(x=100, y=40, width=64, height=32))
    golden = np.vstack([solid("red", 16, 32), solid("blue", 16, 32)])
    frame = bench_frames._place(golden, spec, (320, 256))
    assert frame[41, 120].tolist() == [0, 0, 255]
    assert frame[70, 120].tolist() == [255, 0, 0]


def test_frames_of_a_folder(photos: Path, tiny_package: Path) -> None:
    spec = ModelPackage.read(tiny_package).manifest.preprocess
    assert [frame.shape for frame in folder_frames(photos, spec, None)] == [(48, 64, 3)] * 4
    assert next(folder_frames(photos, spec, (100, 90))).shape == (90, 100, 3)


# --- the command ---------------------------------------------------------------------------------


def test_what_it_prints_and_writes(call: Call, verified_package: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "bench"
    ended = call("bench", verified_package, *QUICK, "--frame-size", "64x48", "--out", out)
    assert (ended.code, ended.err) == (0, "")
    assert "On this machine v.partsight recognises " in ended.out
    assert f"partsight run {verified_package} --camera folder:photos --provider cpu --precision fp32" in ended.out
    assert ended.out.endswith(f"written to {out / 'bench.html'}, bench.md and bench.json\n")
    assert sorted(path.name for path in out.iterdir()) == ["bench.html", "bench.json", "bench.md"]
    assert [path.name for path in out.parent.iterdir()] == ["bench"]
    assert (out / "bench.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (out / "bench.md").read_text(encoding="utf-8").startswith("**On this machine v.partsight recognises ")
    facts = json.loads((out / "bench.json").read_text(encoding="utf-8"))
    assert facts["start"]["first_answer_s"] > 0


def test_the_facts_as_json(call: Call, verified_package: Path) -> None:
    ended = call("bench", verified_package, *QUICK, "--frame-size", "64x48", "--no-start", "--json")
    assert (ended.code, ended.err) == (0, "")
    facts = json.loads(ended.out)
    assert set(facts) == {field.name for field in dataclasses.fields(Facts)} | {"verdict"}
    assert facts["schema_version"] == 3
    assert facts["baseline"] == {"provider": "cpu", "precision": "fp32"}
    assert facts["frames"] == {"source": "varied golden images", "different": 64, "width": 64, "height": 48}
    assert [(speed["precision"], speed["batch"]) for speed in facts["speeds"]] == [("fp32", 1), ("fp32", 2)]
    for speed in facts["speeds"]:
        assert set(speed) == {
            "provider", "precision", "batch", "frames_per_s", "network_frames_per_s", "slowest_frames_per_s", "cameras"
        }  # fmt: skip
        assert speed["cameras"] == speed["frames_per_s"] // 30
    assert facts["chosen"]["precision"] == "fp32"
    assert sum(facts["stages"].values()) == pytest.approx(1)
    assert set(facts["stages"]) == {"preprocessing", "network", "comparison"}
    assert facts["start"] is None
    assert facts["labels"] == []
    assert facts["queue"] is None or set(facts["queue"]) == {"apart_frames_per_s", "overlapped_frames_per_s"}
    assert facts["setting"]["parts"] == 6
    assert set(facts["verdict"]) == {"headline", "sentences", "warnings", "command", "code"}


@pytest.fixture
def wrong_int8(tmp_path: Path) -> Path:
    """A package whose int8 model takes each colour for the next one."""
    path = write_tiny_package(tmp_path / "wrong.partsight")
    model = onnx.load_from_string(tiny_model())
    (weights,) = [item for item in model.graph.initializer if item.name == "weights"]
    rolled = np.ascontiguousarray(np.roll(numpy_helper.to_array(weights), 1, axis=1))
    weights.CopyFrom(numpy_helper.from_array(rolled, "weights"))
    data = model.SerializeToString()
    (path / "model.int8.onnx").write_bytes(data)
    manifest = Manifest.from_json((path / "manifest.json").read_bytes(), "tiny")
    wrong = ModelFile(file="model.int8.onnx", sha256=sha256_bytes(data), opset=17, affine_left=0)
    changed = msgspec.structs.replace(manifest, models={**manifest.models, "int8": wrong})
    (path / "manifest.json").write_bytes(changed.to_json())
    return path


@pytest.mark.parametrize("precision", ["fp32,int8", "int8"])
def test_a_precision_that_answers_otherwise(call: Call, wrong_int8: Path, photos: Path, precision: str) -> None:
    """All but the grey frame, which is unknown to both. fp32 is the measure even where it is not measured."""
    arguments = (*QUICK, "--frames", photos, "--no-start", "--precision", precision)
    ended = call("bench", wrong_int8, *arguments, "--json")
    assert ended.code == 0
    facts = json.loads(ended.out)
    (labels,) = facts["labels"]
    assert (labels["precision"], labels["frames"], labels["equal"], labels["share"]) == ("int8", 4, 1, 0.25)
    assert labels["max_score_drift"] > 0.5
    assert facts["verdict"]["warnings"][0].startswith(
        "Not recommended: cpu int8 answers 3 of 4 frames otherwise than fp32 (3 as"
    )
    if precision == "int8":
        assert (facts["chosen"], facts["verdict"]["command"]) == (None, "")
    else:
        assert facts["chosen"]["precision"] == "fp32"
        assert "--precision fp32" in facts["verdict"]["command"]


def test_a_package_without_references(call: Call, tiny_package: Path, photos: Path) -> None:
    ended = call("bench", tiny_package, *QUICK)
    assert (ended.code, ended.out) == (1, "")
    assert "holds no golden images to make frames of" in ended.err
    assert "--frames FOLDER" in ended.err
    with_frames = call("bench", tiny_package, *QUICK, "--no-start", "--frames", photos, "--frame-size", "100x90")
    assert with_frames.code == 0
    assert "4 images of a folder, 100×90 px" in with_frames.out
    assert "The package brings no golden images to compare frames with" in with_frames.out
    assert "\n  comparison " not in with_frames.out


def test_what_cannot_be_had_is_told(call: Call, verified_package: Path) -> None:
    arguments = ("--seconds", "0.4", "--batch", "2", "--frame-size", "64x48", "--no-start")
    ended = call("bench", verified_package, *arguments, "--provider", "cpu,tensorrt", "--precision", "fp32,fp16,bf16")
    assert ended.code == 0
    absent = ended.out.partition("not to be had here")[2].partition("\n\n")[0]
    assert "  cpu (fp16): " in absent
    assert "asked for precision fp16; the package has fp32" in absent
    assert "  cpu (bf16): provider 'cpu' was asked for precision bf16; it computes in fp32, fp16, int8" in absent


UNKNOWN = {
    "a provider": (("--provider", "cpu,gpu"), "provider 'gpu' is not known; expected one of cpu, openvino, cuda"),
    "a precision": (("--precision", "fp8"), "precision 'fp8' is not known; expected some of fp32, bf16, fp16, int8"),
    "nothing works": (("--provider", "cpu", "--precision", "int8"), "nothing of what was asked for works here: cpu (i"),
    "no such folder": (("--frames", "no/such"), "no/such: there is no such folder"),
}


@pytest.mark.parametrize(("arguments", "said"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_known(call: Call, verified_package: Path, arguments: tuple[str, ...], said: str) -> None:
    ended = call("bench", verified_package, "--seconds", "0.4", *arguments)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"partsight: error: {said}")
    assert len(ended.err.splitlines()) == 1


def test_an_image_that_does_not_fit(call: Call, tiny_package: Path, photos: Path) -> None:
    (photos / "2_broken.png").write_bytes(b"not a picture")
    ended = call("bench", tiny_package, *QUICK, "--frames", photos)
    assert (ended.code, ended.out) == (1, "")
    assert str(photos / "2_broken.png") in ended.err


@pytest.mark.parametrize(
    "arguments",
    [("--frame-size", "1280"), ("--frame-size", "0x9"), ("--seconds", "0"), ("--batch", "0"), ("--provider", "cpu,")],
)
def test_wrong_usage(call: Call, verified_package: Path, arguments: tuple[str, ...]) -> None:
    ended = call("bench", verified_package, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert f"received '{arguments[1]}'; expected" in ended.err


def test_nothing_is_overwritten_and_nothing_is_measured_for_nothing(
    call: Call, verified_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_trial, "measure_package", lambda *_: pytest.fail("it was measured"))
    ended = call("bench", verified_package, "--out", tmp_path)
    assert ended.code == 1
    assert "exists already, and nothing is overwritten" in ended.err


def test_an_interrupt_leaves_nothing_behind(
    call: Call, verified_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def interrupted(path: Path, *arguments: Any, **options: Any) -> int:
        if path.name == "bench.html":
            raise KeyboardInterrupt
        return write(path, *arguments, **options)

    monkeypatch.setattr(bench_trial, "measure_package", lambda *_: made_up())
    monkeypatch.setattr(Path, "write_text", interrupted)
    ended = call("bench", verified_package, "--out", tmp_path / "bench")
    assert (ended.code, ended.err) == (130, "partsight: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_help_and_examples(call: Call) -> None:
    ended = call("bench", "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "examples:\n  partsight bench" in ended.out
    assert loaded_by("bench", "--help").isdisjoint({*HEAVY, "numpy", "cv2", "onnxruntime", "partsight.runtime"})


def test_it_needs_no_tensorflow(verified_package: Path) -> None:
    loaded = loaded_by("bench", verified_package, *QUICK, "--frame-size", "64x48", "--no-start")
    assert "partsight.cli.bench_trial" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_a_process_that_fails_is_told(verified_package: Path) -> None:
    with pytest.raises(
        PartsightError, match=r"a new process with cuda fp32 was started .*ProviderError: provider 'cuda'"
    ):
        measure_start(str(verified_package), Speed("cuda", "fp32", 1, 9.0, 9.0, 9.0), (48, 64, 3))


def test_the_measure_needs_fp32(verified_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise ProviderError("it is broken; mend it with: a hammer")

    monkeypatch.setattr(bench_ways, "_open", fail)
    with ExitStack() as stack, pytest.raises(PartsightError, match=r"no provider computes here \(cpu: it is broken; o"):
        bench_ways.open_baseline(ModelPackage.read(verified_package), {}, 2, stack)
