import copy
import gc
import inspect
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from partsight.runtime import MicroBatcher, PartsightError, Recognizer
from partsight.runtime.cameras import FileCamera
from partsight.runtime.cameras.camera import Frame
from partsight.runtime.cameras.latest import LatestCamera
from partsight.runtime.cameras.polled import PolledCamera
from partsight.runtime.core.errors import CameraLostError, SinkGoneError
from partsight.runtime.core.process import ProcessBound
from partsight.runtime.line import Line
from partsight.runtime.sinks import Sink, open_sink
from partsight.runtime.sinks.record import Record
from tests.processes import answer_of_a_fork
from tests.runtime.sinks.broker import free_port
from tests.runtime.sinks.kinds import KINDS, LIVE, Kind, event
from tests.tiny import ONE_THREAD, solid
from tests.waiting import HANG_S

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
BLUE = solid("blue")
LARGE = np.full((700, 900, 3), BLUE[0, 0], np.uint8)  # so large that threads share its preparation


@pytest.fixture
def recognizer(matching_package: Path) -> Iterator[Recognizer]:
    with Recognizer(matching_package, batch_size=2) as recognizer:
        recognizer.recognize_batch([LARGE] * 4)  # all its threads have started
        yield recognizer


CALLS: dict[str, Callable[[Recognizer], object]] = {
    "recognize": lambda recognizer: recognizer.recognize(BLUE),
    "recognize_batch": lambda recognizer: recognizer.recognize_batch([LARGE] * 4),
    "start_batch": lambda recognizer: recognizer.start_batch([BLUE]),
    "infer": lambda recognizer: recognizer.infer([BLUE]),
    "labels": lambda recognizer: recognizer.labels,
    "preload": lambda recognizer: recognizer.preload(),
    "with": lambda recognizer: recognizer.__enter__(),
    "MicroBatcher": MicroBatcher,
    "Line": lambda recognizer: Line(recognizer, {"c": lambda: FileCamera([])}),
    "pickle": pickle.dumps,
}


@forks
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_recognizer_of_another_process(recognizer: Recognizer, call: Callable[[Recognizer], object]) -> None:
    answer = answer_of_a_fork(lambda: call(recognizer))
    assert answer.startswith("PartsightError: ")
    assert all(datum in answer for datum in ("Recognizer", f"process {os.getpid()}", "post_fork", "spawn"))
    assert recognizer.recognize(BLUE).label == "blue"


def is_refused(answer: str, error: str, name: str) -> bool:
    """Return whether a fork's answer is this error, and names the object and the process that made it."""
    return answer.startswith(f"{error}: ") and name in answer and f"process {os.getpid()}" in answer


@forks
def test_what_is_made_of_a_recognizer(recognizer: Recognizer) -> None:
    started = recognizer.start_batch([BLUE])
    line = Line(recognizer, {"c": lambda: FileCamera([])})
    with MicroBatcher(recognizer) as batcher:
        for name, call in {
            "MicroBatcher": lambda: batcher.recognize(BLUE),
            "StartedBatch": started.wait,
            "Line": line.start,
        }.items():
            assert is_refused(answer_of_a_fork(call), "PartsightError", name)
        for counted in (line.counters, line.states, line.wait, line.stop):
            assert is_refused(answer_of_a_fork(counted), "PartsightError", "Line")
        assert batcher.recognize(BLUE).label == "blue"
    assert started.wait()[0].label == "blue"
    line.close()


@forks
def test_closing_in_another_process(matching_package: Path) -> None:
    """Neither waits for threads that are not there: closing, leaving `with`, nor the collection of garbage."""
    held: list[Any] = [Recognizer(matching_package, batch_size=2)]
    held[0].recognize_batch([LARGE] * 4)
    held.append(MicroBatcher(held[0]))
    held.append(held[0].start_batch([BLUE]))

    def let_go() -> str:
        held[1].close()
        with pytest.raises(PartsightError):
            held[0].recognize(BLUE)
        held[0].__exit__(None, None, None)
        held.clear()
        gc.collect()
        return "done"

    assert answer_of_a_fork(let_go) == "done"
    assert held[1].recognize(BLUE).label == "blue"
    held[1].close()
    held[0].close()


@forks
@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_recognizer_made_after_a_fork(matching_package: Path, provider: str) -> None:
    if provider == "openvino":
        pytest.importorskip("openvino")
    with Recognizer(matching_package, provider=provider, batch_size=2) as before:
        before.recognize_batch([LARGE] * 4)

        def make() -> str | None:
            cv2.resize(LARGE, (300, 300), interpolation=cv2.INTER_AREA)
            with Recognizer(matching_package, provider=provider, batch_size=2) as made:
                return made.recognize_batch([LARGE] * 4)[3].label

        assert answer_of_a_fork(make) == "blue"


PROGRAM = """
import atexit, os, sys
import numpy as np
from partsight.runtime import MicroBatcher, PartsightError, Recognizer
from partsight.runtime.sinks import Sink, open_sink
recognizer = Recognizer(sys.argv[1])
batcher = MicroBatcher(recognizer)
sinks = [open_sink(address) for address in sys.argv[2:]]
child = os.fork()
if child == 0:
    sys.exit(0)
print(os.waitpid(child, 0)[1], len(recognizer.labels))

def late():
    try:
        recognizer.recognize_batch([np.zeros((700, 900, 3), np.uint8)] * 40)
    except PartsightError as error:
        print("PartsightError")

atexit.register(late)
"""


@forks
def test_the_end_of_another_process(matching_package: Path, tmp_path: Path) -> None:
    """As of a worker of gunicorn: it ends as programs do, and destroys what it holds."""
    sinks = [f"jsonl:{tmp_path}/out.jsonl?sync_every=10", f"sqlite:{tmp_path}/out.db"]
    command = [sys.executable, "-c", PROGRAM, str(matching_package), *sinks]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.stdout.split() == ["0", "6", "PartsightError"], done.stderr  # the last of its own end
    assert "Exception" not in done.stderr


def refused_in_a_fork(held: list[Sink]) -> str:
    """Write to a sink of the parent, close it, and let it be collected."""
    with pytest.raises(SinkGoneError, match=f"process {os.getppid()}"):
        held[0].write(event(1))
    held[0].close()
    held.clear()
    gc.collect()
    return "done"


@forks
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_sinks_that_keep_results(kind: Kind, tmp_path: Path) -> None:
    if kind.library:
        pytest.importorskip(kind.library)
    held = [open_sink(kind.address(tmp_path))]
    held[0].write(event(0))

    assert answer_of_a_fork(partial(refused_in_a_fork, held)) == "done"
    held[0].write(event(2))
    held[0].close()
    assert [record.sequence for record in kind.read(tmp_path)] == [0, 2]


@forks
def test_a_sink_that_serves() -> None:
    live = LIVE[0]
    pytest.importorskip(live.library)
    port = free_port()
    held = [open_sink(f"{live.scheme}://127.0.0.1:{port}{live.options}")]
    held[0].write(event(0))

    assert answer_of_a_fork(partial(refused_in_a_fork, held)) == "done"
    held[0].write(event(2))
    assert live.last(port) == (2, 2)
    held[0].close()


class OneFrame(PolledCamera):
    """A camera that has a frame whenever it is asked."""

    is_released = False

    def _wait(self, seconds: float) -> Frame | None:  # noqa: ARG002 (of the base)
        return Frame(BLUE, self.source, 0, 0.0)

    def _begin(self) -> None:
        pass

    def _release(self) -> None:
        self.is_released = True


@forks
def test_cameras(tmp_path: Path) -> None:
    path = tmp_path / "blue.png"
    cv2.imwrite(str(path), BLUE)
    ended = threading.Event()

    def receive() -> np.ndarray:
        ended.wait(0.001)
        return BLUE.copy()

    polled = OneFrame("polled:", 3.0)
    latest = LatestCamera("latest:", receive, ended.set, HANG_S)
    for camera in (FileCamera([path]), polled, latest):
        name = type(camera).__name__
        assert is_refused(answer_of_a_fork(camera.read), "CameraLostError", name)
        assert answer_of_a_fork(camera.close) == "None"
        frame = camera.read()
        assert frame is not None
        assert (frame.image == BLUE).all()
        assert not polled.is_released
        assert not ended.is_set()
    polled.close()
    latest.close()


def test_neither_pickled_nor_copied(recognizer: Recognizer, tmp_path: Path) -> None:
    camera, sink = FileCamera([]), open_sink(f"jsonl:{tmp_path}/out.jsonl")
    for of_process, error in ((recognizer, PartsightError), (camera, CameraLostError), (sink, SinkGoneError)):
        for call in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(error, match=f"process {os.getpid()}"):
                call(of_process)
    sink.close()


def test_a_subclass_inherits_the_error() -> None:
    class Base(ProcessBound, unusable=CameraLostError):
        pass

    class Mine(Base):
        def read(self) -> int:
            """Return a number."""
            return 7

    mine = Mine()
    assert mine.read() == 7
    assert Mine.read.__doc__ == "Return a number."
    with pytest.raises(CameraLostError, match="Mine"):
        pickle.dumps(mine)


class MyCamera(FileCamera):
    """As a user may write it."""

    was_closed_in_order = True

    def close(self, *, in_order: bool = True) -> None:
        super().close()
        self.was_closed_in_order = in_order

    def __call__(self) -> int:
        return 7

    def frames(self) -> Iterator[Frame]:
        while (frame := self.read()) is not None:
            yield frame

    async def next_frame(self) -> Frame | None:
        return self.read()

    @staticmethod
    def suffix() -> str:
        return ".png"

    @classmethod
    def named(cls) -> str:
        return cls.__name__

    @property
    def gain(self) -> float:
        return 1.5


def test_a_users_subclass_stays_as_it_is_written() -> None:
    camera = MyCamera([])
    assert (camera(), camera.suffix(), MyCamera.suffix(), camera.named(), camera.gain) == (
        7,
        ".png",
        ".png",
        "MyCamera",
        1.5,
    )
    assert list(camera.frames()) == []
    assert inspect.isgeneratorfunction(MyCamera.frames)
    assert inspect.iscoroutinefunction(MyCamera.next_frame)
    assert list(inspect.signature(MyCamera.close).parameters) == ["self", "in_order"]
    camera.close(in_order=False)
    assert not camera.was_closed_in_order


@forks
def test_a_users_subclass_of_another_process() -> None:
    camera = MyCamera([])
    for call in (camera, lambda: list(camera.frames()), lambda: camera.gain):
        assert is_refused(answer_of_a_fork(call), "CameraLostError", "MyCamera")
    assert answer_of_a_fork(lambda: camera.close(in_order=False)) == "None"


class Sendable(Recognizer):
    """Defines its own pickling: the other process creates it again."""

    def __init__(self, package: Path) -> None:
        super().__init__(package, engine=ONE_THREAD)
        self.package = package

    def __reduce__(self) -> Any:
        return Sendable, (self.package,)


def test_a_subclass_may_say_how_it_is_pickled(tiny_package: Path) -> None:
    with Sendable(tiny_package) as before, pickle.loads(pickle.dumps(before)) as after:
        assert after.recognize(BLUE).label == "blue"


def test_threads_share_a_process(recognizer: Recognizer) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert {result.label for result in pool.map(recognizer.recognize, [BLUE] * 8)} == {"blue"}


def test_results_and_records_can_be_sent(recognizer: Recognizer) -> None:
    result = recognizer.recognize(BLUE)
    assert pickle.loads(pickle.dumps(result)) == result
    record: Record = event(3).record
    assert pickle.loads(pickle.dumps(record)) == record
