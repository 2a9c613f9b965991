"""Batches on their way through preparation, network and matching: their order, overlap, buffers and times."""

import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partsight.runtime import FrameError, Recognizer
from partsight.runtime.inference import PROVIDERS, Inference, Session
from partsight.runtime.matching import Matcher
from partsight.runtime.recognition.pipeline import BatchAnswers, Decider, Pipeline
from partsight.runtime.recognition.preparer import Preparer
from tests.runtime.recognition.samples import answers, mixed
from tests.tiny import solid
from tests.waiting import HANG_S

BOTH = pytest.mark.parametrize("kind", ["tiny_package", "matching_package"])


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The batches that the real network ran on."""
    batches: list[np.ndarray] = []
    run = Session.run

    def record(session: Session, batch: np.ndarray) -> Inference:
        batches.append(batch)
        return run(session, batch)

    monkeypatch.setattr(Session, "run", record)
    return batches


@pytest.fixture
def on_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider cpu counts as one that leaves the processor free."""
    monkeypatch.setitem(PROVIDERS, "cpu", replace(PROVIDERS["cpu"], on_card=True))


def test_warm_up_on_a_cpu(tiny_package: Path, runs: list[np.ndarray]) -> None:
    with Recognizer(tiny_package, batch_size=16):
        assert [len(batch) for batch in runs] == [1]


@pytest.mark.usefixtures("on_card")
@pytest.mark.parametrize(("batch_size", "sizes"), [(1, [1]), (16, [1, 16])])
def test_warm_up_on_a_card(tiny_package: Path, runs: list[np.ndarray], batch_size: int, sizes: list[int]) -> None:
    with Recognizer(tiny_package, batch_size=batch_size):
        assert sorted(len(batch) for batch in runs) == sizes


def test_on_a_card_the_answers_are_the_same(tiny_package: Path, request: pytest.FixtureRequest) -> None:
    frames = mixed(23)
    with Recognizer(tiny_package, batch_size=4) as recognizer:
        expected = recognizer.recognize_batch(frames)
    request.getfixturevalue("on_card")
    with Recognizer(tiny_package, batch_size=4) as recognizer:
        assert answers(recognizer.recognize_batch(frames)) == answers(expected)


@BOTH
def test_latency_grows_over_the_batches_of_a_call(kind: str, request: pytest.FixtureRequest) -> None:
    with Recognizer(request.getfixturevalue(kind), batch_size=2) as recognizer:
        latencies = [part.latency_ms for part in recognizer.recognize_batch(mixed(6))]
    assert latencies == sorted(latencies)
    assert all(latencies[index] == latencies[index + 1] for index in (0, 2, 4))


@pytest.mark.parametrize("batch_size", [16, 4, 1])
@pytest.mark.parametrize("index", [0, 5, 9])
@pytest.mark.parametrize("call", ["recognize_batch", "infer"])
def test_a_bad_frame_is_named_before_the_network_runs(
    tiny_package: Path, runs: list[np.ndarray], batch_size: int, index: int, call: str
) -> None:
    frames: list[Any] = mixed(10)
    frames[index] = frames[index].astype(np.float32)
    with Recognizer(tiny_package, batch_size=batch_size) as recognizer:
        runs.clear()
        with pytest.raises(FrameError, match=f"^frame {index} of 10: .*float32"):
            getattr(recognizer, call)(frames)
        assert runs == []
        good = frames[:index] + frames[index + 1 :]
        assert len(recognizer.recognize_batch(good)) == 9
        assert sum(len(batch) for batch in runs) == 9


class ReadOnDemand(Sequence[np.ndarray]):
    """Forty frames, as from files; counts how often one was read, and how many were in memory at a time."""

    def __init__(self) -> None:
        self.reads = self.in_memory = self.max_in_memory = 0

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if index >= len(self):
            raise IndexError(index)
        frame = solid("red")
        weakref.finalize(frame, self._free)
        self.reads, self.in_memory = self.reads + 1, self.in_memory + 1
        self.max_in_memory = max(self.max_in_memory, self.in_memory)
        return frame

    def _free(self) -> None:
        self.in_memory -= 1


def test_frames_from_files_are_not_all_in_memory(tiny_package: Path) -> None:
    frames = ReadOnDemand()
    with Recognizer(tiny_package, batch_size=4) as recognizer:
        assert [part.label for part in recognizer.recognize_batch(frames)] == ["red"] * 40
    assert frames.reads == 2 * 40
    assert frames.max_in_memory < 3 * 4


OVERLAPPED, ONE_BY_ONE = ["prepare", "prepare", "run", "prepare", "run", "run"], ["prepare", "run"] * 3


@pytest.mark.parametrize(
    ("kind", "card", "expected"),
    [("tiny_package", False, ONE_BY_ONE), ("tiny_package", True, OVERLAPPED), ("matching_package", False, OVERLAPPED)],
)
def test_a_batch_is_prepared_while_another_runs_if_that_leaves_a_core(
    kind: str, card: bool, expected: list[str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a card, and with golden images; not with the network alone on a CPU."""
    package, events = request.getfixturevalue(kind), list[str]()
    if card:
        request.getfixturevalue("on_card")
    start, run = Preparer.start, Session.run
    monkeypatch.setattr(Preparer, "start", lambda *args: (events.append("prepare"), start(*args))[1])
    monkeypatch.setattr(Session, "run", lambda *args: (events.append("run"), run(*args))[1])
    with Recognizer(package, batch_size=2) as recognizer:
        events.clear()
        recognizer.recognize_batch(mixed(6))
        assert events == expected


def test_an_answer_is_not_ready_before_the_answers_before_it(
    matching_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the second batch is ready for its comparison while the first is still compared."""
    first, match = threading.Lock(), Matcher.match
    runs, run = threading.Semaphore(0), Session.run

    def slow_at_first(*args: Any) -> Any:
        if first.acquire(blocking=False):
            assert all(runs.acquire(timeout=HANG_S) for _ in range(2))
        return match(*args)

    with Recognizer(matching_package, batch_size=2) as recognizer:
        monkeypatch.setattr(Matcher, "match", slow_at_first)
        monkeypatch.setattr(Session, "run", lambda *args: (run(*args), runs.release())[0])
        latencies = [part.latency_ms for part in recognizer.recognize_batch(mixed(4))]
    assert latencies == sorted(latencies)


def test_the_comparison_is_timed_when_it_ends(matching_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the network runs on the next batch before a caller waits for the results."""
    compared = threading.Semaphore(0)
    ends: list[float] = []
    run, decide = Session.run, Decider.decide

    def count(*args: Any) -> BatchAnswers:
        found = decide(*args)
        compared.release()
        return found

    def wait(session: Session, batch: np.ndarray) -> Inference:
        found = run(session, batch)
        if ends:  # the second batch: the first is compared meanwhile
            assert compared.acquire(timeout=HANG_S)
        ends.append(time.perf_counter())
        return found

    with Recognizer(matching_package, batch_size=2) as recognizer:
        monkeypatch.setattr(Decider, "decide", count)
        monkeypatch.setattr(Session, "run", wait)
        started = time.perf_counter()
        first, *_ = recognizer.recognize_batch(mixed(4))
    assert started + first.latency_ms / 1000 <= ends[1]
    assert ends[0] + first.stages.compare_ms / 1000 <= ends[1]


@BOTH
def test_started_batches_give_the_same_answers(kind: str, request: pytest.FixtureRequest) -> None:
    frames = mixed(12)
    with Recognizer(request.getfixturevalue(kind), batch_size=4) as recognizer:
        expected = recognizer.recognize_batch(frames)
        batches = [recognizer.start_batch(frames[index : index + 4]) for index in (0, 4, 8)]
        found = [part for batch in batches for part in batch.wait()]
        assert batches[0].wait() == found[:4]  # again
    assert answers(found) == answers(expected)


def test_frames_that_are_no_batch(tiny_package: Path) -> None:
    frame = solid("red")
    with Recognizer(tiny_package, batch_size=4) as recognizer:
        for count in (0, 5):
            with pytest.raises(ValueError, match=rf"{count} .* 1 to 4"):
                recognizer.start_batch([frame] * count)
        with pytest.raises(FrameError, match="frame 1"):
            recognizer.start_batch([frame, frame[:, 0]])


@pytest.mark.parametrize("depth", [0, 1])
def test_a_started_batch_is_compared_while_others_are_in_the_network_if_that_leaves_a_core(
    matching_package: Path, monkeypatch: pytest.MonkeyPatch, depth: int
) -> None:
    opened, ended = threading.Event(), threading.Event()
    decide = Decider.decide

    def gated(*args: Any) -> BatchAnswers:
        assert depth == 0 or opened.wait(HANG_S)
        found = decide(*args)
        ended.set()
        return found

    monkeypatch.setattr(Pipeline, "prefetch_depth", depth)
    monkeypatch.setattr(Decider, "decide", gated)
    with Recognizer(matching_package) as recognizer:
        batch = recognizer.start_batch([solid("red")])
        assert ended.is_set() == (depth == 0)
        opened.set()
        assert ended.wait(HANG_S)  # nobody waits for it yet
        assert [part.label for part in batch.wait()] == ["red"]


def test_a_failed_batch_raises_its_error_each_time(matching_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError("no room")

    with Recognizer(matching_package) as recognizer:
        monkeypatch.setattr(Matcher, "match", fail)
        batch = recognizer.start_batch([solid("red")])
        for _ in range(2):
            with pytest.raises(MemoryError, match="no room"):
                batch.wait()


@pytest.mark.parametrize(("card", "count"), [(False, 1), (True, 3)])
def test_one_thread_uses_as_many_buffers_as_batches_are_started(
    tiny_package: Path, runs: list[np.ndarray], request: pytest.FixtureRequest, card: bool, count: int
) -> None:
    if card:
        request.getfixturevalue("on_card")
    with Recognizer(tiny_package, batch_size=4) as recognizer:
        runs.clear()
        recognizer.recognize_batch(mixed(10))
        recognizer.recognize(solid("red"))
        recognizer.infer(mixed(3))
    assert [len(batch) for batch in runs] == [4, 4, 2, 1, 3]
    assert len({batch.__array_interface__["data"] for batch in runs}) == count
