import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partsight.runtime import FrameError, MicroBatcher, PackageError, PartsightError, ProviderError, Recognizer
from tests.runtime.recognition.samples import COLOURS
from tests.tiny import ONE_THREAD, solid
from tests.waiting import HANG_S, wait_until

LONG_MS = 60_000  # longer than any test may take: a test that waits for it fails


@pytest.fixture
def recognizer(tiny_package: Path) -> Iterator[Recognizer]:
    with Recognizer(tiny_package, batch_size=4, engine=ONE_THREAD) as recognizer:
        yield recognizer


@pytest.fixture
def batches(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that the recogniser gets."""
    sizes: list[int] = []
    recognize = recognizer.recognize_batch

    def record(frames: Any) -> Any:
        sizes.append(len(frames))
        return recognize(frames)

    monkeypatch.setattr(recognizer, "recognize_batch", record)
    return sizes


@pytest.fixture
def gate(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The recogniser answers nothing before it is set."""
    opened = threading.Event()
    recognize = recognizer.recognize_batch
    monkeypatch.setattr(recognizer, "recognize_batch", lambda frames: (opened.wait(), recognize(frames))[1])
    return opened


def test_many_callers_get_the_answers_to_their_own_frames(recognizer: Recognizer) -> None:
    rng = np.random.default_rng(0)
    asked = [str(colour) for colour in rng.choice(COLOURS, 400)]
    with MicroBatcher(recognizer, max_wait_ms=1) as batcher, ThreadPoolExecutor(16) as callers:
        answered = list(callers.map(lambda colour: batcher.recognize(solid(colour)).label, asked))
    assert answered == asked


def test_a_full_batch_does_not_wait(recognizer: Recognizer, batches: list[int]) -> None:
    with MicroBatcher(recognizer, max_wait_ms=LONG_MS) as batcher:
        answers = [batcher.submit(solid(colour)) for colour in ("red", "blue", "green", "cyan")]
        assert [answer.result(HANG_S).label for answer in answers] == ["red", "blue", "green", "cyan"]
    assert batches == [4]


def test_a_frame_alone_waits_for_its_deadline_and_no_longer(recognizer: Recognizer, batches: list[int]) -> None:
    with MicroBatcher(recognizer, max_wait_ms=50) as batcher:
        result = batcher.submit(solid("red")).result(HANG_S)
    assert batches == [1]
    assert result.latency_ms >= 50  # from its submission


def test_frames_that_come_while_a_batch_runs_are_the_next_one(
    recognizer: Recognizer, batches: list[int], gate: threading.Event
) -> None:
    with MicroBatcher(recognizer, max_wait_ms=0) as batcher:
        first = batcher.submit(solid("red"))
        wait_until(first.running)
        others = [batcher.submit(solid(colour)) for colour in ("blue", "green", "cyan", "yellow", "magenta")]
        gate.set()
        assert [answer.result(HANG_S).label for answer in others] == ["blue", "green", "cyan", "yellow", "magenta"]
    assert batches == [1, 4, 1]


def test_answers_come_in_the_order_of_the_frames(recognizer: Recognizer) -> None:
    done: list[int] = []
    with MicroBatcher(recognizer, max_wait_ms=1) as batcher:
        for index in range(50):
            batcher.submit(solid("red")).add_done_callback(lambda _, index=index: done.append(index))
    assert done == list(range(50))


def test_a_bad_frame_fails_its_caller_alone(recognizer: Recognizer, batches: list[int]) -> None:
    with MicroBatcher(recognizer, max_wait_ms=LONG_MS) as batcher:
        good = [batcher.submit(solid("red")) for _ in range(3)]
        with pytest.raises(FrameError, match=r"\(48, 64\)"):
            batcher.submit(solid("red")[:, :, 0].copy())
        good.append(batcher.submit(solid("red")))
        assert [answer.result(HANG_S).label for answer in good] == ["red"] * 4
    assert batches == [4]


def test_a_damaged_golden_image_fails_only_the_frames_that_need_it(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognize = recognizer.recognize_batch

    def refuse_red(frames: Any) -> Any:
        if any((frame == solid("red")).all() for frame in frames):
            raise PackageError("gallery/red.png was altered")
        return recognize(frames)

    monkeypatch.setattr(recognizer, "recognize_batch", refuse_red)
    with MicroBatcher(recognizer, LONG_MS) as batcher:
        answers = [batcher.submit(solid(colour)) for colour in ("blue", "red", "green", "cyan")]
        with pytest.raises(PackageError, match=r"gallery/red\.png"):
            answers[1].result(HANG_S)
        assert [answers[index].result(HANG_S).label for index in (0, 2, 3)] == ["blue", "green", "cyan"]


def test_an_error_of_the_recogniser_reaches_all_of_the_batch_and_the_next_is_served(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    recognize = recognizer.recognize_batch
    errors: list[Exception] = [ProviderError("the card is gone")]

    def fail_once(frames: Any) -> Any:
        if errors:
            raise errors.pop()
        return recognize(frames)

    monkeypatch.setattr(recognizer, "recognize_batch", fail_once)
    with MicroBatcher(recognizer, max_wait_ms=LONG_MS) as batcher:
        for answer in [batcher.submit(solid("red")) for _ in range(4)]:
            with pytest.raises(ProviderError, match="the card is gone"):
                answer.result(HANG_S)
        assert [batcher.submit(solid("red")) for _ in range(4)][3].result(HANG_S).label == "red"


def test_closing_answers_the_submitted_frames(recognizer: Recognizer, gate: threading.Event) -> None:
    batcher = MicroBatcher(recognizer, max_wait_ms=LONG_MS, max_waiting=100)
    answers = [batcher.submit(solid(colour)) for colour in COLOURS * 3]
    gate.set()
    batcher.close()
    assert [answer.result(0).label for answer in answers] == COLOURS * 3
    with pytest.raises(PartsightError, match="MicroBatcher"):
        batcher.submit(solid("red"))
    batcher.close()  # once more does nothing


def test_a_caller_blocks_while_too_many_wait(recognizer: Recognizer, batches: list[int], gate: threading.Event) -> None:
    with MicroBatcher(recognizer, max_wait_ms=0, max_waiting=1) as batcher, ThreadPoolExecutor(1) as caller:
        first = batcher.submit(solid("red"))
        wait_until(first.running)
        second = batcher.submit(solid("blue"))
        third = caller.submit(batcher.submit, solid("green"))
        wait_until(third.running)
        gate.set()
        assert [first.result(HANG_S).label, second.result(HANG_S).label] == ["red", "blue"]
        assert third.result(HANG_S).result(HANG_S).label == "green"
    assert batches == [1, 1, 1]


def test_a_blocked_caller_ends_with_the_batcher(recognizer: Recognizer, gate: threading.Event) -> None:
    with ThreadPoolExecutor(2) as caller:
        batcher = MicroBatcher(recognizer, max_wait_ms=0, max_waiting=1)
        first = batcher.submit(solid("red"))
        wait_until(first.running)
        batcher.submit(solid("blue"))
        third = caller.submit(batcher.submit, solid("green"))
        closing = caller.submit(batcher.close)
        with pytest.raises(PartsightError, match="MicroBatcher"):
            third.result(HANG_S)
        gate.set()
        closing.result(HANG_S)


def test_a_cancelled_frame_is_not_answered(recognizer: Recognizer, batches: list[int], gate: threading.Event) -> None:
    with MicroBatcher(recognizer, max_wait_ms=0) as batcher:
        first = batcher.submit(solid("red"))
        wait_until(first.running)
        second, third = batcher.submit(solid("blue")), batcher.submit(solid("green"))
        assert second.cancel()
        gate.set()
        assert third.result(HANG_S).label == "green"
    assert batches == [1, 1]


@pytest.mark.parametrize(("max_wait_ms", "max_waiting"), [(-1, None), (float("nan"), None), (1, 0)])
def test_numbers_out_of_bounds(recognizer: Recognizer, max_wait_ms: float, max_waiting: int | None) -> None:
    with pytest.raises(ValueError, match=rf"{max_wait_ms} .*{16 if max_waiting is None else max_waiting};"):
        MicroBatcher(recognizer, max_wait_ms, max_waiting)


def test_no_deadline_at_all(recognizer: Recognizer, batches: list[int]) -> None:
    with MicroBatcher(recognizer, max_wait_ms=float("inf")) as batcher:
        answers = [batcher.submit(solid("red")) for _ in range(4)]
        assert [answer.result(HANG_S).label for answer in answers] == ["red"] * 4
    assert batches == [4]


def test_closing_in_a_callback(recognizer: Recognizer) -> None:
    batcher, closed = MicroBatcher(recognizer, max_wait_ms=0), threading.Event()
    batcher.submit(solid("red")).add_done_callback(lambda _: (batcher.close(), closed.set()))
    assert closed.wait(HANG_S)
    batcher.close()
    with pytest.raises(PartsightError, match="MicroBatcher"):
        batcher.submit(solid("red"))


def test_callbacks_of_answers_never_wait_for_others(recognizer: Recognizer) -> None:
    """They run in the thread that answers."""
    further: queue.Queue[Any] = queue.Queue()

    def submit_again(_: Any) -> None:
        further.put(batcher.submit(solid("blue")))  # though there is no room
        try:
            batcher.recognize(solid("blue"))
        except PartsightError as error:
            further.put(error)

    with MicroBatcher(recognizer, max_wait_ms=0, max_waiting=1) as batcher:
        batcher.submit(solid("red")).add_done_callback(submit_again)
        batcher.submit(solid("green")).result(HANG_S)
        assert further.get(timeout=HANG_S).result(HANG_S).label == "blue"
        assert isinstance(further.get(timeout=HANG_S), PartsightError)
