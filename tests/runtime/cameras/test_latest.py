import queue
import threading
from collections.abc import Callable

import numpy as np
import pytest

from partsight.runtime.cameras.latest import LatestCamera
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.core.errors import CameraLostError, CameraTimeoutError, ImageError
from tests.waiting import HANG_S, wait_until

PICTURE = np.zeros((2, 2), np.uint8)


def camera_of(receive: Callable[[], Pixels], timeout_s: float = HANG_S) -> tuple[LatestCamera, threading.Event]:
    released = threading.Event()
    return LatestCamera("test:0", receive, released.set, timeout_s), released


class Source:
    """A driver that delivers a picture for each `send`."""

    def __init__(self) -> None:
        self._pictures: queue.Queue[Pixels] = queue.Queue()
        self.calls = 0

    def receive(self) -> Pixels:
        self.calls += 1
        return self._pictures.get()

    def send(self) -> None:
        """Send a picture, and wait until the camera has it: its thread asks for the next one then."""
        wait_until(lambda: self.calls > 0)
        calls = self.calls
        self._pictures.put(PICTURE)
        wait_until(lambda: self.calls > calls)

    def end(self) -> None:
        """Let the driver return; the test needs no more pictures."""
        self._pictures.put(PICTURE)


def await_end(camera: LatestCamera) -> None:
    wait_until(lambda: f"partsight-{camera.source}" not in [thread.name for thread in threading.enumerate()])


def test_an_error_in_the_thread_reaches_read() -> None:
    def receive() -> Pixels:
        raise ZeroDivisionError("of the driver")

    camera, released = camera_of(receive)
    for _ in range(2):
        with pytest.raises(CameraLostError, match=r"test:0.*ZeroDivisionError.*of the driver") as caught:
            camera.read()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert released.is_set()


def test_an_error_of_ours_keeps_its_kind() -> None:
    def receive() -> Pixels:
        raise ImageError("number 7")

    with pytest.raises(ImageError, match="number 7"):
        camera_of(receive)[0].read()


@pytest.mark.parametrize("is_patient", [True, False])
def test_a_source_that_ends_has_first_stopped_sending(is_patient: bool) -> None:
    """Either the thread or `read` reaches its timeout first."""
    errors = iter([CameraTimeoutError("stalled 1"), CameraLostError("lost 2")])
    go = threading.Event()

    def receive() -> Pixels:
        go.wait()
        raise next(errors)

    camera, _ = camera_of(receive, HANG_S if is_patient else 0.05)
    if is_patient:
        go.set()
    with pytest.raises(CameraTimeoutError):
        camera.read()
    go.set()
    await_end(camera)
    for _ in range(2):
        with pytest.raises(CameraLostError, match="lost 2"):
            camera.read()


def test_an_old_frame_is_not_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source()
    camera, _ = camera_of(source.receive, timeout_s=0.2)
    now = [0.0]
    monkeypatch.setattr("partsight.runtime.cameras.latest.time.monotonic", lambda: now[0])
    source.send()
    now[0] = 0.4
    with pytest.raises(CameraTimeoutError, match=r"0\.2 s"):
        camera.read()
    source.send()
    assert camera.read().sequence == 1
    monkeypatch.undo()
    closing = threading.Thread(target=camera.close)
    closing.start()
    source.end()
    closing.join()


def test_no_frame_is_returned_twice() -> None:
    source, released = Source(), threading.Event()
    camera = LatestCamera("test:0", source.receive, released.set, 0.2, interrupt=source.end)
    source.send()
    camera.read()
    with pytest.raises(CameraTimeoutError):
        camera.read()
    camera.close()
    assert released.wait(HANG_S)


def test_closing_while_the_driver_hangs(caplog: pytest.LogCaptureFixture) -> None:
    driver = threading.Event()

    def receive() -> Pixels:
        driver.wait()
        return PICTURE

    camera, released = camera_of(receive)
    threading.Timer(0.1, camera.close).start()
    with pytest.raises(CameraLostError, match="test:0"):
        camera.read()
    camera.close()
    assert not released.is_set()  # never from under a driver that is in use
    assert {vars(record)["event"] for record in caplog.records} == {"driver_hangs"}
    driver.set()
    assert released.wait(HANG_S)
