"""Frames are compared by real processes."""

import gc
import itertools
import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from partsight.runtime import ComparerError, PackageError, Recognizer, Result
from partsight.runtime.comparers import comparer as comparer_module
from partsight.runtime.comparers import pool as pool_module
from partsight.runtime.comparers.pool import Comparers
from tests.runtime.enrolling import write_outlined_package
from tests.tiny import COLOURS_BGR, solid

FRAMES = [solid(colour) for colour in COLOURS_BGR] + [solid((90, 90, 90)), solid((250, 10, 128))]
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_outlined_package(tmp_path_factory.mktemp("packages") / "outlined.partsight")


@pytest.fixture
def recognizer(package: Path) -> Iterator[Recognizer]:
    with Recognizer(package, comparers=2) as recognizer:
        wait_free(pool_of(recognizer), 3)
        yield recognizer


def pool_of(recognizer: Recognizer) -> Comparers:
    assert recognizer._pipeline is not None
    assert recognizer._pipeline.comparers is not None
    return recognizer._pipeline.comparers


def wait_free(pool: Comparers, count: int) -> None:
    """Wait until so many are free, this process among them."""
    wait_for(lambda: pool._free.qsize() == count)


def wait_for(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)


def keep_from_here(pool: Comparers) -> None:
    """Let only the processes beside this one compare."""
    assert pool._free.get_nowait() == pool_module._HERE


def untimed(results: list[Result]) -> list[tuple[object, ...]]:
    return [(result.label, result.score, result.margin, result.accepted, result.top) for result in results]


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_answers_are_those_of_one_process(recognizer: Recognizer, package: Path) -> None:
    with Recognizer(package) as alone:
        expected = untimed(alone.recognize_batch(FRAMES))
    assert {label for label, *_ in expected} > set(COLOURS_BGR)
    assert untimed(recognizer.recognize_batch(FRAMES)) == expected
    keep_from_here(pool_of(recognizer))
    assert untimed(recognizer.recognize_batch(FRAMES)) == expected
    assert untimed([recognizer.recognize(frame) for frame in FRAMES]) == expected


def test_the_threshold_is_the_callers(package: Path) -> None:
    with Recognizer(package, comparers=1, threshold=2.0) as strict:
        wait_free(pool_of(strict), 2)
        keep_from_here(pool_of(strict))
        assert [result.label for result in strict.recognize_batch(FRAMES)] == [None] * len(FRAMES)


def test_a_frame_that_comes_alone_is_compared_here(recognizer: Recognizer) -> None:
    for comparer in pool_of(recognizer)._comparers:
        comparer.kill()
    assert recognizer.recognize(FRAMES[0]).label == "blue"
    assert pool_of(recognizer)._free.qsize() == 3  # none was asked: none is missed


def test_another_takes_the_place_of_a_lost_one(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Again and again, after ever longer breaks."""
    monkeypatch.setattr(pool_module, "_LONGEST_BREAK_S", 0.2)
    pool = pool_of(recognizer)
    expected = untimed(recognizer.recognize_batch(FRAMES))
    keep_from_here(pool)
    pool._break_s = [0.1, 0.1]
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            before = {comparer.process_id for comparer in pool._comparers}
            for comparer in pool._comparers:
                comparer.kill()
            assert untimed(recognizer.recognize_batch(FRAMES)) == expected
            wait_free(pool, 2)
            assert before.isdisjoint(comparer.process_id for comparer in pool._comparers)
    assert pool._break_s == [0.2, 0.2]
    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert sorted(events) == ["comparer_back"] * 4 + ["comparer_lost"] * 4
    monkeypatch.setattr(pool, "_compare_here", lambda *_: pytest.fail("they lack golden images"))
    assert untimed(recognizer.recognize_batch(FRAMES)) == expected


def test_an_error_that_nobody_foresaw_loses_no_place(recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the caller's, and the process is replaced: its answer may be under way."""
    pool = pool_of(recognizer)
    keep_from_here(pool)
    pool._break_s = [0.1, 0.1]
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(comparer_module.Comparer, "compare", lambda *_: (_ for _ in ()).throw(MemoryError))
        recognizer.recognize(FRAMES[0])
    wait_free(pool, 2)
    assert recognizer.recognize(FRAMES[0]).label == "blue"


def test_one_that_cannot_start_again_is_tried_again(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = pool_of(recognizer)
    keep_from_here(pool)
    pool._break_s = [0.1, 0.1]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        pool._comparers[0].kill()
        assert len(recognizer.recognize_batch(FRAMES)) == len(FRAMES)
        wait_for(lambda: "cannot be started" in caplog.text)
        time.sleep(0.5)
    wait_free(pool, 2)
    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert events == ["comparer_lost", "comparer_waiting"]  # told once, though it was tried again and again


def test_none_comes_back_without_golden_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It would refuse each frame."""
    path = write_outlined_package(tmp_path / "gone.partsight")
    with Recognizer(path, comparers=1) as recognizer:
        pool = pool_of(recognizer)
        wait_free(pool, 2)
        recognizer.recognize_batch(FRAMES)  # golden images are ready in this process
        shutil.rmtree(path)
        keep_from_here(pool)
        pool._break_s = [0.01]
        pool._comparers[0].kill()
        recognizer.recognize(FRAMES[0])
        wait_for(lambda: "was the package's folder removed?" in caplog.text)
        assert pool._free.qsize() == 0


@POSIX
def test_one_that_hangs_is_ended_though_the_recogniser_was_closed_meanwhile(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a swap: the batch under way is still answered."""
    monkeypatch.setattr(pool_module, "_LOOK_S", 0.05)
    monkeypatch.setattr(pool_module, "_HANGS_S", 0.5)
    pool = pool_of(recognizer)
    keep_from_here(pool)
    for comparer in pool._comparers:
        os.kill(comparer.process_id, signal.SIGSTOP)
    found: list[Result] = []
    caller = threading.Thread(target=lambda: found.extend(recognizer.recognize_batch(FRAMES[:2])))
    caller.start()
    wait_free(pool, 0)
    recognizer.close()
    caller.join(20)
    assert [result.label for result in found] == ["blue", "cyan"]


def test_closing_meanwhile_starts_no_other(recognizer: Recognizer, caplog: pytest.LogCaptureFixture) -> None:
    pool = pool_of(recognizer)
    keep_from_here(pool)
    for comparer in pool._comparers:
        comparer.kill()
    assert len(recognizer.recognize_batch(FRAMES[:2])) == 2  # more would wait for those that take their places
    processes = [comparer.process_id for comparer in pool._comparers]
    recognizer.close()
    wait_for(lambda: "partsight-comparers" not in {thread.name for thread in threading.enumerate()})
    assert [comparer.process_id for comparer in pool._comparers] == processes


def test_a_killed_process_loses_no_frame(recognizer: Recognizer, caplog: pytest.LogCaptureFixture) -> None:
    pool = pool_of(recognizer)
    keep_from_here(pool)
    expected = untimed(recognizer.recognize_batch(FRAMES))
    pool._comparers[0].kill()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert untimed(recognizer.recognize_batch(FRAMES)) == expected
    events = [record.event for record in caplog.records]  # type: ignore[attr-defined]
    assert events == ["comparer_lost"]
    assert pool._free.qsize() == 1
    pool._comparers[1].kill()
    pool._free.put(pool_module._HERE)
    assert untimed(recognizer.recognize_batch(FRAMES)) == expected


@POSIX
def test_a_process_that_hangs_is_ended(
    package: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool_module, "_LOOK_S", 0.05)
    monkeypatch.setattr(pool_module, "_HANGS_S", 0.3)
    with Recognizer(package, comparers=1) as recognizer:
        pool = pool_of(recognizer)
        wait_free(pool, 2)
        keep_from_here(pool)
        process_id = pool._comparers[0].process_id
        os.kill(process_id, signal.SIGSTOP)
        assert recognizer.recognize(FRAMES[1]).label == "cyan"
        assert not is_running(process_id)
    assert "comparer_lost" in [record.event for record in caplog.records]  # type: ignore[attr-defined]


@POSIX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_of_a_line_does_not_end_it(recognizer: Recognizer, number: signal.Signals) -> None:
    pool = pool_of(recognizer)
    for comparer in pool._comparers:
        os.kill(comparer.process_id, number)
    keep_from_here(pool)
    assert [result.label for result in recognizer.recognize_batch(FRAMES)][:2] == ["blue", "cyan"]
    assert pool._free.qsize() == 2


@POSIX
def test_closing_ends_them(package: Path) -> None:
    recognizer = Recognizer(package, comparers=2)
    processes = [comparer.process_id for comparer in pool_of(recognizer)._comparers]
    assert all(is_running(process_id) for process_id in processes)
    wait_free(pool_of(recognizer), 3)
    recognizer.close()
    assert not any(is_running(process_id) for process_id in processes)
    recognizer.close()


@POSIX
def test_closing_before_they_have_all_golden_images(package: Path) -> None:
    with Recognizer(package, comparers=2) as recognizer:
        pool = pool_of(recognizer)
    wait_for(lambda: not any(is_running(comparer.process_id) for comparer in pool._comparers))


@POSIX
def test_one_that_takes_no_golden_images_ends_at_once(
    package: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stop(comparer: comparer_module.Comparer, index: int, data: bytes) -> None:
        os.kill(comparer.process_id, signal.SIGSTOP)
        comparer._receive()  # it hangs here, as in a pipe that is full

    monkeypatch.setattr(comparer_module.Comparer, "give", stop)
    recognizer = Recognizer(package, comparers=1)
    pool = pool_of(recognizer)
    assert recognizer.recognize(FRAMES[0]).label == "blue"
    recognizer.close()
    wait_for(lambda: not is_running(pool._comparers[0].process_id))
    assert not caplog.records  # nobody lost anything


@POSIX
def test_one_that_takes_no_golden_images_any_more_is_ended(
    package: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    give = comparer_module.Comparer.give

    def stop(comparer: comparer_module.Comparer, index: int, _: bytes) -> None:
        os.kill(comparer.process_id, signal.SIGSTOP)
        give(comparer, index, bytes(2**22))  # more than a pipe holds

    monkeypatch.setattr(comparer_module.Comparer, "give", stop)
    monkeypatch.setattr(pool_module, "_LOOK_S", 0.05)
    monkeypatch.setattr(pool_module, "_HANGS_S", 0.3)
    with Recognizer(package, comparers=1) as recognizer:
        recognizer.hold()  # waits until they have them, or are lost
        assert recognizer.recognize(FRAMES[0]).label == "blue"
    assert "comparer_lost" in [record.event for record in caplog.records]  # type: ignore[attr-defined]


@POSIX
def test_one_that_becomes_free_while_all_are_closed_ends_too(recognizer: Recognizer) -> None:
    pool = pool_of(recognizer)
    keep_from_here(pool)
    place = pool._free.get_nowait()
    recognizer.close()
    assert is_running(pool._comparers[place].process_id)  # it has a frame
    pool._set_free(place)
    assert not is_running(pool._comparers[place].process_id)
    pool._free.put(pool_module._HERE)


@POSIX
def test_one_that_nobody_closed_ends_them(package: Path) -> None:
    recognizer = Recognizer(package, comparers=1)
    wait_free(pool_of(recognizer), 2)
    process_id = pool_of(recognizer)._comparers[0].process_id
    del recognizer
    gc.collect()
    assert not is_running(process_id)


def test_a_call_under_way_comes_to_its_end(recognizer: Recognizer) -> None:
    pool, pipeline = pool_of(recognizer), recognizer._pipeline
    recognizer.close()
    assert pipeline is not None
    inference = pipeline.session.run(np.zeros((1, 32, 32, 3), np.uint8))
    prepared = np.full((48, 64, 3), COLOURS_BGR["red"], np.uint8)
    found = pool.compare(prepared, inference.score[0], 0.5)
    assert list(COLOURS_BGR)[found.classes[0]] == "red"


def test_a_golden_image_that_was_damaged_later(tmp_path: Path) -> None:
    path = write_outlined_package(tmp_path / "damaged.partsight")
    (path / "gallery" / "00004.jpg").write_bytes(b"nothing")
    with Recognizer(path, comparers=1) as recognizer:
        wait_free(pool_of(recognizer), 2)
        keep_from_here(pool_of(recognizer))
        with pytest.raises(PackageError, match=r"gallery/00004\.jpg"):
            recognizer.recognize(FRAMES[4])


@pytest.mark.parametrize("program", [None, ""])
def test_within_another_program_python_knows_no_interpreter(
    package: Path, monkeypatch: pytest.MonkeyPatch, program: str | None
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(ComparerError, match=f"sys.executable is {program!r}.* use fewer comparers, or none"):
        Recognizer(package, comparers=1)


def test_what_imports_pass_over_is_not_told(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [Path("/nowhere"), *sys.path])
    with Recognizer(package, comparers=1) as recognizer:
        assert recognizer.recognize(FRAMES[0]).label == "blue"


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false"])
def test_what_does_not_start_is_an_error(package: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(ComparerError, match="use fewer comparers, or none"):
        Recognizer(package, comparers=1)


@POSIX
def test_of_several_the_last_does_not_start(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start, turn = comparer_module.Comparer.__init__, itertools.count()

    def fail_at_last(comparer: comparer_module.Comparer, setup: object) -> None:
        if next(turn) == 1:
            raise ComparerError("no more")
        start(comparer, setup)  # type: ignore[arg-type]
        started.append(comparer.process_id)

    monkeypatch.setattr(comparer_module.Comparer, "__init__", fail_at_last)
    with pytest.raises(ComparerError, match="no more"):
        Recognizer(package, comparers=2)
    assert len(started) == 1
    assert not is_running(started[0])


def test_none_start_where_nothing_is_compared(package: Path, tiny_package: Path) -> None:
    for options in ({"package": package, "verify": False}, {"package": tiny_package}):
        with Recognizer(**options, comparers=2) as recognizer:  # type: ignore[arg-type]
            assert recognizer._pipeline is not None
            assert recognizer._pipeline.comparers is None


def test_fewer_than_none(package: Path) -> None:
    with pytest.raises(ValueError, match="comparers is -1"):
        Recognizer(package, comparers=-1)
