"""A line whose recogniser asks a server: slow servers, wrong ones, and swaps."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from partsight.runtime import Recognizer
from partsight.runtime.line import Line, Metrics, Policy, dispatcher
from tests.kserve_server import KServeServer, RefusedError, Tensors
from tests.runtime.line.belts import Belt
from tests.runtime.line.running import BLOCK, run
from tests.runtime.line.scripted import COLOURS, ListSink, ScriptedCamera
from tests.runtime.recognition.remote.packages import with_decision
from tests.tiny import solid, tiny_matching, write_tiny_package
from tests.waiting import HANG_S, wait_until


@pytest.fixture
def server(matching_package: Path) -> Iterator[KServeServer]:
    """A server of the tiny package with matching, in this process."""
    with KServeServer("tiny", {"1": matching_package}) as server:
        yield server


def refuse(_: Tensors) -> Tensors:
    """Refuse a request for good."""
    raise RefusedError(400)


@pytest.mark.parametrize("policy", [BLOCK, Policy("latest")], ids=["block", "latest"])
def test_failed_batches_are_counted(server: KServeServer, matching_package: Path, policy: Policy) -> None:
    recognizer = Recognizer(matching_package, provider=server.address(), batch_size=1)
    answered = threading.Semaphore(0)
    steps: list[Any] = []
    for colour in COLOURS[:4]:
        steps += [solid(colour), lambda: answered.acquire(timeout=HANG_S)]
    server.faults += [lambda tensors: tensors, refuse, refuse]
    line, sink = run(recognizer, steps, policy=policy, on_result=lambda _: answered.release())
    assert [record.outcome for record in sink.records] == ["recognised", "failed", "failed", "recognised"]
    counters = line.counters()
    assert (counters.remote_failures, counters.remote_retries) == (2, 0)
    samples = Metrics(line).render()[0].decode()
    assert "partsight_remote_failures_total 2.0" in samples
    assert "partsight_remote_retries_total 0.0" in samples


def test_a_slow_server_skips_and_expires(server: KServeServer, matching_package: Path) -> None:
    """The policy of each camera decides what happens to frames that come meanwhile."""
    started, opened = threading.Event(), threading.Event()

    def hang(_: Tensors) -> None:
        started.set()
        assert opened.wait(HANG_S)

    recognizer = Recognizer(matching_package, provider=server.address(timeout_s=60), batch_size=1)
    server.faults.append(hang)
    steps = [solid("red"), lambda: started.wait(HANG_S), *map(solid, COLOURS[:5]), opened.set]
    line, sink = run(recognizer, steps, policy=Policy("latest"))
    assert [record.label for record in sink.records] == ["red", COLOURS[4]]
    camera = line.counters().cameras["camera 0"]
    assert (camera.seen, camera.recognised, camera.skipped) == (6, 2, 4)


def test_deadlines_hold_for_a_server(
    server: KServeServer, matching_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, opened = threading.Event(), threading.Event()

    def hang(_: Tensors) -> None:
        started.set()
        assert opened.wait(HANG_S)

    def pass_an_hour() -> None:
        monkeypatch.setattr(dispatcher, "time", Mock(monotonic=lambda: time.monotonic() + 3600))

    recognizer = Recognizer(matching_package, provider=server.address(timeout_s=60), batch_size=1)
    server.faults.append(hang)
    steps = [solid("red"), lambda: started.wait(HANG_S), *map(solid, COLOURS[:5]), pass_an_hour, opened.set]
    line, sink = run(recognizer, steps, policy=Policy("queue", 8), deadline_ms=600_000)
    camera = line.counters().cameras["camera 0"]
    assert (camera.seen, len(sink.records)) == (6, camera.recognised)
    assert camera.expired >= 3  # one more may be on its way to the server


def test_a_server_that_swaps_first(server: KServeServer, matching_package: Path, tmp_path: Path) -> None:
    """Its answers are refused until the line swaps, too; the new recogniser has the same provider."""
    other = with_decision(write_tiny_package(tmp_path / "o.partsight", matching=tiny_matching()), threshold=0.6)
    recognizer = Recognizer(matching_package, provider=server.address(), batch_size=1)
    sink, over = ListSink(), threading.Event()
    with Line(recognizer, {"belt": lambda: Belt(0, over)}, {"list": sink}, policy=BLOCK) as line:
        wait_until(lambda: len(sink.records) > 3)
        server.swap("1", other)
        wait_until(lambda: sink.records[-1].outcome == "failed")
        swapped = line.swap(other)
        assert line.recognizer.provider == server.address()
        seen = len(sink.records)
        wait_until(lambda: sink.records[-1].outcome == "recognised" and len(sink.records) > seen + 3)
        over.set()
        assert line.wait(HANG_S)
    failed = [record for record in sink.records if record.outcome == "failed"]
    assert all(recognizer.package_id in str(record.error) and swapped in str(record.error) for record in failed)
    assert [record.sequence for record in sink.records] == list(range(len(sink.records)))
    recognised = [record.threshold for record in sink.records if record.outcome == "recognised"]
    assert (recognised[0], recognised[-1]) == (pytest.approx(0.5), pytest.approx(0.6))
    assert line.counters().remote_failures == len(failed)


def test_both_versions_on_the_server(matching_package: Path, tmp_path: Path) -> None:
    """The server loads the new version next to the old one; the line swaps without a failed frame."""
    other = with_decision(write_tiny_package(tmp_path / "o.partsight", matching=tiny_matching()), threshold=0.6)
    sink, over = ListSink(), threading.Event()
    with KServeServer("tiny", {"1": matching_package}) as server:
        recognizer = Recognizer(matching_package, provider=server.address(), batch_size=1)
        with Line(recognizer, {"belt": lambda: Belt(0, over)}, {"list": sink}, policy=BLOCK) as line:
            wait_until(lambda: len(sink.records) > 3)
            server.swap("2", other)
            line.swap(other)
            wait_until(lambda: sink.records[-1].threshold != 0.5)  # the last batch of the old version is answered
            del server.models["1"]
            seen = len(sink.records)
            wait_until(lambda: len(sink.records) > seen + 8)
            over.set()
            assert line.wait(HANG_S)
    assert {record.outcome for record in sink.records} == {"recognised"}
    assert {record.threshold for record in sink.records} == {0.5, float(np.float32(0.6))}


def test_a_server_without_the_new_package_keeps_the_line(
    server: KServeServer, matching_package: Path, tmp_path: Path
) -> None:
    other = with_decision(write_tiny_package(tmp_path / "o.partsight", matching=tiny_matching()), threshold=0.6)
    recognizer = Recognizer(matching_package, provider=server.address())
    line = Line(recognizer, {"belt": lambda: ScriptedCamera([solid("red")])}, policy=BLOCK)
    with pytest.raises(Exception, match=recognizer.package_id):
        line.swap(other)
    with line:
        assert line.wait(HANG_S)
    assert (line.package_id, line.counters().refused_swaps) == (recognizer.package_id, 1)
    assert line.counters().cameras["belt"].recognised == 1
