"""Several recognisers of one package that answer at the same time: order, counts, swaps, faults and the end."""

import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from partsight.runtime import ImageError, PackageError, PartsightError, ProviderError, Recognizer
from partsight.runtime.core import Pixels, RemoteError
from partsight.runtime.line import Line, Policy, dispatcher
from partsight.runtime.sinks.record import FrameEvent
from tests.runtime.line.running import BLOCK, gated, run
from tests.runtime.line.scripted import COLOURS, ListSink, ScriptedCamera, pictures
from tests.runtime.package.signed import new_key, signed_copy
from tests.tiny import ONE_THREAD, solid, tiny_manifest, write_tiny_package
from tests.waiting import HANG_S, wait_until

pytestmark = pytest.mark.usefixtures("no_long_pauses")

METHODS = ("recognize_batch", "start_batch")


def load(package: str | Path, **options: Any) -> Recognizer:
    return Recognizer(package, **{"batch_size": 4, "engine": ONE_THREAD} | options)


def load_two(package: str | Path) -> list[Recognizer]:
    return [load(package), load(package)]


@pytest.fixture
def two(tiny_package: Path) -> Iterator[list[Recognizer]]:
    recognizers = load_two(tiny_package)
    yield recognizers
    for recognizer in recognizers:
        recognizer.close()


def with_threshold(path: Path, threshold: float) -> Path:
    return write_tiny_package(path, decision=msgspec.structs.replace(tiny_manifest().decision, threshold=threshold))


def replaced(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, call: Callable[[Any, Sequence[Pixels]], Any]
) -> None:
    """Let a function answer in place of both methods; it gets the method, and the frames."""
    for method in (getattr(recognizer, name) for name in METHODS):
        monkeypatch.setattr(recognizer, method.__name__, functools.partial(call, method))


def noted(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of a recogniser's batches, which grow while the line runs."""
    sizes: list[int] = []

    def note(method: Any, frames: Sequence[Pixels]) -> Any:
        sizes.append(len(frames))
        return method(frames)

    replaced(recognizer, monkeypatch, note)
    return sizes


def sequences(sink: ListSink, camera: str) -> list[int]:
    return [record.sequence for record in sink.records if record.camera == camera]


@pytest.mark.parametrize("policy", [BLOCK, Policy("queue", 500)], ids=lambda policy: policy.name)
def test_every_frame_is_answered_once_and_in_its_cameras_order(
    two: list[Recognizer], monkeypatch: pytest.MonkeyPatch, policy: Policy
) -> None:
    shares = [noted(recognizer, monkeypatch) for recognizer in two]
    line, sink = run(two, pictures(400, 1), pictures(400, 2), policy=policy)
    for camera in ("camera 0", "camera 1"):
        assert sequences(sink, camera) == list(range(400))
    for counters in line.counters().cameras.values():
        assert (counters.recognised + counters.unknown, counters.seen, counters.waiting) == (400, 400, 0)
    assert sum(map(sum, shares)) == 800
    assert all(shares)  # both had work
    assert all(recognizer.is_closed for recognizer in two)


def test_the_answers_are_those_of_one_recogniser(two: list[Recognizer], tiny_package: Path) -> None:
    answers = []
    for recognizer in (two, load(tiny_package)):
        _, sink = run(recognizer, pictures(100))
        answers.append([(record.sequence, record.label, record.score, record.package_id) for record in sink.records])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("policy", [BLOCK, Policy("latest")], ids=lambda policy: policy.name)
def test_both_compute_at_once_and_a_late_answer_keeps_its_place(
    two: list[Recognizer], monkeypatch: pytest.MonkeyPatch, policy: Policy
) -> None:
    started, opened = gated(two[0], monkeypatch)
    other_started, other_opened = gated(two[1], monkeypatch)
    steps = [
        solid("red"),
        lambda: wait_until(lambda: started.is_set() or other_started.is_set()),
        solid("blue"),
        lambda: wait_until(lambda: started.is_set() and other_started.is_set()),
        opened.set,
        other_opened.set,
    ]
    _, sink = run(two, steps, policy=policy)
    assert [(record.sequence, record.label) for record in sink.records] == [(0, "red"), (1, "blue")]


def test_a_slow_one_holds_up_the_order_and_not_the_other_one(
    two: list[Recognizer], tiny_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, opened = gated(two[0], monkeypatch)
    sizes = noted(two[1], monkeypatch)
    sink = ListSink()
    camera = ScriptedCamera(pictures(60))
    with Line(two, {"c": lambda: camera}, {"s": sink}, policy=Policy("block", 60)) as line:
        assert started.wait(HANG_S)
        first = len(sink.records)  # of the other one, which may have been quicker
        wait_until(lambda: len(sizes) >= 2 + first // 4)  # it goes on, and is two batches ahead
        other = load(tiny_package)
        other.recognize_batch(pictures(400))  # time enough to go on, were there no limit
        other.close()
        assert [record.sequence for record in sink.records] == list(range(len(sink.records)))
        assert sum(sizes) <= len(sink.records) + 2 * 4
        opened.set()
        assert line.wait(HANG_S)
    assert [record.sequence for record in sink.records] == list(range(60))
    assert sum(sizes) < 60


def test_frames_at_fault_fail_alone_and_in_their_place(two: list[Recognizer]) -> None:
    def steps(seed: int) -> list[Any]:
        made: list[Any] = list(pictures(120, seed))
        rng = np.random.default_rng(seed)
        for index in rng.choice(120, 20, replace=False):
            made[index] = np.zeros((9, 9), np.uint8) if index % 2 else ImageError("broken")
        return made

    line, sink = run(two, steps(1), steps(2))
    for number, camera in enumerate(("camera 0", "camera 1")):
        records = [record for record in sink.records if record.camera == camera]
        assert [record.sequence for record in records] == list(range(120))
        faults = [not isinstance(step, np.ndarray) or step.ndim == 2 for step in steps(number + 1)]
        assert [record.outcome == "failed" for record in records] == faults
        assert line.counters().cameras[camera].failed == sum(faults) == 20


def test_unlike_recognisers_are_refused(tiny_package: Path, tmp_path: Path) -> None:
    other = with_threshold(tmp_path / "other.partsight", 0.5)
    pairs = [(load(tiny_package), load(other)), (load(tiny_package), load(tiny_package, threshold=0.7))]
    for pair in pairs:
        shown = (pair[0].package_id, pair[1].package_id) if pair is pairs[0] else (pair[0].threshold, 0.7)
        with pytest.raises(ValueError, match=f"{shown[0]}.*{shown[1]}"):
            Line(pair, {"c": ScriptedCamera})
        assert not any(recognizer.is_closed for recognizer in pair)  # they are still the caller's


def test_a_line_needs_open_recognisers(two: list[Recognizer]) -> None:
    with pytest.raises(ValueError, match="no recogniser"):
        Line([], {"c": ScriptedCamera})
    with pytest.raises(TypeError, match="'x'"):
        Line([two[0], "x"], {"c": ScriptedCamera})  # type: ignore[list-item]
    two[1].close()
    with pytest.raises(PartsightError, match="closed"):
        Line(two, {"c": ScriptedCamera})


def test_swaps_under_load_lose_nothing_and_never_go_back(tiny_package: Path, tmp_path: Path) -> None:
    """After the first answer of a package, a camera has none of the package before it."""
    packages = [tiny_package, with_threshold(tmp_path / "other.partsight", 0.5)]
    loaded = [load_two(tiny_package)]

    def load_next(path: str | Path) -> list[Recognizer]:
        loaded.append(load_two(path))
        return loaded[-1]

    sink, ids = ListSink(), [loaded[0][0].package_id]
    cameras = {name: lambda seed=seed: ScriptedCamera(pictures(600, seed)) for seed, name in enumerate("ab")}
    with Line(loaded[0], cameras, {"s": sink}, policy=BLOCK) as line:  # type: ignore[arg-type]
        while not line.wait(0):
            ids.append(line.swap(packages[len(ids) % 2], load_next))
    for camera in "ab":
        assert sequences(sink, camera) == list(range(600))
        answered = [record.package_id for record in sink.records if record.camera == camera]
        changes = [after for before, after in pairwise(answered) if before != after]
        assert is_part_of([answered[0], *changes], ids)
    assert len(ids) > 3
    assert line.counters().swaps == len(ids) - 1
    assert {record.outcome for record in sink.records} <= {"recognised", "unknown"}
    assert all(recognizer.is_closed for pair in loaded for recognizer in pair)


def is_part_of(part: list[str], whole: list[str]) -> bool:
    """Whether a list comes from another one by leaving out items."""
    rest = iter(whole)
    return all(item in rest for item in part)


def test_the_old_package_answers_the_frames_that_it_took_and_is_closed_then(
    tiny_package: Path, tmp_path: Path, two: list[Recognizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = with_threshold(tmp_path / "other.partsight", 0.5)
    gates = [gated(recognizer, monkeypatch) for recognizer in two]
    sink, before = ListSink(), two[0].package_id

    def swap() -> None:
        wait_until(lambda: all(started.is_set() for started, _ in gates))
        line.swap(other, load_two)
        assert not any(recognizer.is_closed for recognizer in two)
        for _, opened in reversed(gates):
            opened.set()

    def wait_for_one() -> None:
        wait_until(lambda: any(started.is_set() for started, _ in gates))

    steps = [solid("red"), wait_for_one, solid("blue"), swap, *pictures(20)]
    with Line(two, {"c": lambda: ScriptedCamera(steps)}, {"s": sink}, policy=Policy("block", 30)) as line:
        assert line.wait(HANG_S)
        assert all(recognizer.is_closed for recognizer in two)
    assert sequences(sink, "c") == list(range(22))
    assert [record.package_id == before for record in sink.records] == [True] * 2 + [False] * 20


def test_a_swap_needs_a_recogniser_for_each_of_one_package(
    two: list[Recognizer], tiny_package: Path, tmp_path: Path
) -> None:
    other = with_threshold(tmp_path / "other.partsight", 0.5)
    loaded: list[Recognizer] = []

    def load_these(*packages: Path) -> Callable[[str | Path], list[Recognizer]]:
        def load_all(_: str | Path) -> list[Recognizer]:
            loaded.extend(map(load, packages))
            return loaded[-len(packages) :]

        return load_all

    camera = ScriptedCamera(ends=False)
    with Line(two, {"c": lambda: camera}) as line:
        for function in (None, load_these(other), load_these(other, other, other), load_these(other, tiny_package)):
            with pytest.raises(PackageError):
                line.swap(other, function)
        assert all(recognizer.is_closed for recognizer in loaded)
        assert line.recognizer is two[0]
        line.swap(other, load_two)
        assert line.recognizer is not two[0]
    counters = line.counters()
    assert (counters.swaps, counters.refused_swaps) == (1, 4)


def test_each_recogniser_of_a_new_package_needs_the_lines_signature(tiny_package: Path, tmp_path: Path) -> None:
    key = new_key(tmp_path / "key")
    first = signed_copy(tiny_package, tmp_path / "first.partsight", key)
    keys = [key.public]
    camera = ScriptedCamera(ends=False)
    with Line([load(first, trusted_keys=keys), load(first, trusted_keys=keys)], {"c": lambda: camera}) as line:
        with pytest.raises(PartsightError, match="trusted"):
            line.swap(first, lambda path: [load(path, trusted_keys=keys), load(path)])
        line.swap(first, lambda path: [load(path, trusted_keys=keys), load(path, trusted_keys=keys)])


def test_a_listener_may_swap(two: list[Recognizer], tmp_path: Path) -> None:
    other = with_threshold(tmp_path / "other.partsight", 0.5)

    def swap(event: FrameEvent) -> None:
        if event.record.sequence == 3:
            line.swap(other, load_two)

    line = Line(two, {"c": lambda: ScriptedCamera(pictures(40))}, policy=BLOCK, on_result=swap)
    with line:
        assert line.wait(HANG_S)
    assert (line.counters().swaps, line.counters().callback_errors) == (1, 0)
    assert all(recognizer.is_closed for recognizer in two)


def test_a_swap_before_the_start_and_after_the_end_closes_the_old_ones(two: list[Recognizer], tmp_path: Path) -> None:
    other, sink = with_threshold(tmp_path / "other.partsight", 0.5), ListSink()
    line = Line(two, {"c": lambda: ScriptedCamera(pictures(3))}, {"s": sink}, policy=BLOCK)
    line.swap(other, load_two)
    second = line.recognizer
    with line:
        assert line.wait(HANG_S)
        line.swap(other, load_two)
    assert {record.package_id for record in sink.records} == {second.package_id}
    assert all(recognizer.is_closed for recognizer in (*two, second, line.recognizer))


def test_a_line_that_never_started_closes_all(two: list[Recognizer]) -> None:
    Line(two, {"c": ScriptedCamera}).close()
    assert all(recognizer.is_closed for recognizer in two)


@pytest.mark.parametrize("broken", [0, 1])
def test_a_card_that_breaks_down_ends_the_line(
    two: list[Recognizer], monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    """The frames before its batch are answered, and none after it: there would be a gap."""
    healthy = noted(two[1 - broken], monkeypatch)

    def break_down(_: Any, frames: Sequence[Pixels]) -> None:
        wait_until(lambda: len(healthy) >= 2)
        raise ProviderError(f"card {broken}")

    replaced(two[broken], monkeypatch, break_down)
    sink = ListSink()
    camera = ScriptedCamera(pictures(100), ends=False)
    line = Line(two, {"c": lambda: camera}, {"s": sink}, policy=Policy("block", 100))
    with line, pytest.raises(ProviderError, match=f"card {broken}"):
        line.wait(HANG_S)
    assert sequences(sink, "c") == list(range(len(sink.records)))
    assert line.counters().cameras["c"].failed == 0
    assert len(sink.records) < 100
    assert all(recognizer.is_closed for recognizer in two)


class LostBatch:
    """Answers of a server that is lost while one waits for them."""

    def wait(self) -> list[Any]:
        raise RemoteError("the server does not answer")


@pytest.mark.parametrize("when", ["asked", "waited for"])
@pytest.mark.parametrize("policy", [BLOCK, Policy("latest")], ids=lambda policy: policy.name)
def test_a_recogniser_without_its_server_leaves_the_frames_to_the_other(
    two: list[Recognizer], monkeypatch: pytest.MonkeyPatch, policy: Policy, when: str
) -> None:
    """It fails a batch in no time: without a rest it would take nearly all frames."""
    monkeypatch.setattr(dispatcher, "REST_S", HANG_S)
    lost: list[int] = []

    def lose(method: Any, frames: Sequence[Pixels]) -> LostBatch:
        lost.append(len(frames))
        if when == "asked" or method.__name__ == "recognize_batch":
            raise RemoteError("the server does not answer")
        return LostBatch()

    replaced(two[1], monkeypatch, lose)
    answered = threading.Semaphore(0)
    steps = [step for picture in pictures(60) for step in (picture, lambda: answered.acquire(timeout=HANG_S))]
    if policy is BLOCK:
        steps = list(pictures(400))
    line, sink = run(two, steps, policy=policy, on_result=lambda _: answered.release())
    outcomes = Counter(record.outcome for record in sink.records)
    counters = line.counters().cameras["camera 0"]
    assert sequences(sink, "camera 0") == list(range(counters.seen))
    assert outcomes["failed"] == counters.failed == sum(lost)
    assert len(lost) <= 2  # one while it did not know yet
    assert counters.recognised + counters.unknown + counters.failed == counters.seen


def test_one_recogniser_asks_its_server_for_each_batch(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else would answer, so it does not rest."""
    monkeypatch.setattr(dispatcher, "REST_S", HANG_S)

    def lose(_: Any, frames: Sequence[Pixels]) -> None:
        raise RemoteError("the server does not answer")

    replaced(recognizer, monkeypatch, lose)
    line, _ = run(recognizer, pictures(40))
    assert line.counters().cameras["camera 0"].failed == 40


def test_faults_at_random_lose_no_frame_and_double_none(tiny_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three recognisers whose servers fail now and then, frames at fault, and swaps meanwhile."""
    monkeypatch.setattr(dispatcher, "REST_S", 0.001)
    rng = np.random.default_rng(5)
    lost = [0]
    start = Recognizer.start_batch

    @functools.wraps(start)
    def fail_sometimes(recognizer: Recognizer, frames: Sequence[Pixels]) -> Any:
        if rng.random() < 0.1:
            lost[0] += 1
            raise RemoteError("the server does not answer")
        return start(recognizer, frames)

    monkeypatch.setattr(Recognizer, "start_batch", fail_sometimes)
    steps = [step if index % 17 else ImageError("broken") for index, step in enumerate(pictures(900))]
    sink, cameras = ListSink(), {name: lambda: ScriptedCamera(steps) for name in COLOURS[:3]}
    with Line([load(tiny_package) for _ in range(3)], cameras, {"s": sink}, policy=Policy("block", 8)) as line:
        while not line.wait(0):
            line.swap(tiny_package, lambda path: [load(path) for _ in range(3)])
    for name, counters in line.counters().cameras.items():
        assert sequences(sink, name) == list(range(900))
        assert counters.seen == counters.recognised + counters.unknown + counters.failed == 900
        records = [record for record in sink.records if record.camera == name]
        assert counters.failed == sum(record.outcome == "failed" for record in records)
    assert lost[0] > 3
