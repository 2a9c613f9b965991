import queue
import threading
from collections.abc import Callable

import numpy as np
import pytest

from partsight.runtime.cameras.latest import LatestCamera
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.core.errors import CameraLostError, CameraTimeoutError, ImageError
from tests.waiting import HANG_S, wait_until


def camera_of(receive: Callable[[], Pixels], timeout_s: float = HANG_S) -> tuple[LatestCamera, threading.Event]:
    released = threading.Event()
    return LatestCamera("test:0", receive, released.set, timeout_s), released


def test_an_error_in_the_thread_reaches_read() -> None:
    def receive() -> Pixels:
        raise ZeroDivisionError("of the driver")

    camera, released = camera_of(receive)
    for _ in range(2):
        with pytest.raises(CameraLostError, match="test:0: its reader ended: ZeroDivisionError: of the driver") as told:
            camera.read()
        assert isinstance(told.value.__cause__, ZeroDivisionError)
    assert released.is_set()


def test_an_error_of_ours_keeps_its_kind() -> None:
    def receive() -> Pixels:
        raise ImageError("damaged")

    with pytest.raises(ImageError, match="damaged"):
        camera_of(receive)[0].read()


def test_a_source_that_is_given_up_has_first_stopped_sending() -> None:
    """Whether its reader or `read` was first to lose patience."""
    for timeout_s in (HANG_S, 0.05):
        errors = iter([CameraTimeoutError("no frame"), CameraLostError("given up")])
        go = threading.Event()

        def receive(errors=errors, go=go) -> Pixels:  # type: ignore[no-untyped-def]
            go.wait()
            raise next(errors)

        camera, _ = camera_of(receive, timeout_s)
        if timeout_s == HANG_S:
            go.set()
        with pytest.raises(CameraTimeoutError, match="no frame"):
            camera.read()
        go.set()
        camera._thread.join()
        for _ in range(2):
            with pytest.raises(CameraLostError, match="given up"):
                camera.read()


def test_an_old_frame_is_not_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    source: queue.Queue[Pixels] = queue.Queue()
    camera, _ = camera_of(source.get, timeout_s=0.2)
    now = [0.0]
    monkeypatch.setattr("partsight.runtime.cameras.latest.time.monotonic", lambda: now[0])
    source.put(np.zeros((2, 2), np.uint8))
    wait_until(lambda: camera._latest is not None)
    now[0] = 0.4
    with pytest.raises(CameraTimeoutError, match=r"no frame came within 0\.2 s"):
        camera.read()
    source.put(np.ones((2, 2), np.uint8))
    wait_until(lambda: camera._latest is not None and camera._latest.sequence == 1)
    assert camera.read().sequence == 1
    camera._closing = True
    source.put(np.ones((2, 2), np.uint8))


def test_no_frame_is_returned_twice() -> None:
    source: queue.Queue[Pixels] = queue.Queue()
    camera, released = camera_of(source.get, timeout_s=0.2)
    source.put(np.zeros((2, 2), np.uint8))
    wait_until(lambda: camera._latest is not None)
    camera.read()
    with pytest.raises(CameraTimeoutError):
        camera.read()
    closing = threading.Thread(target=camera.close)
    closing.start()
    wait_until(lambda: camera._closing)
    source.put(np.zeros((2, 2), np.uint8))
    closing.join()
    assert released.wait(HANG_S)


def test_closing_while_the_driver_hangs(caplog: pytest.LogCaptureFixture) -> None:
    driver = threading.Event()

    def receive() -> Pixels:
        driver.wait()
        return np.zeros((2, 2), np.uint8)

    camera, released = camera_of(receive)
    threading.Timer(0.1, camera.close).start()
    with pytest.raises(CameraLostError, match="test:0: was closed"):
        camera.read()
    camera.close()
    assert not released.is_set()  # never from under a driver that is in use
    assert "its driver has not returned yet" in caplog.text
    driver.set()
    assert released.wait(HANG_S)
