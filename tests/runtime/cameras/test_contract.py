"""The contract of every camera, tested on each available kind."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from partsight.runtime.cameras import CameraOptions, open_camera
from partsight.runtime.core.errors import CameraError, CameraLostError
from tests.runtime.cameras.rigs import ON_DEBIAN, RIGS, Rig
from tests.waiting import HANG_S

OPTIONS = CameraOptions(timeout_s=60)
UNABLE = {"gain_db": 1.0, "trigger": "hardware", "exposure_us": 1000.0, "region": (0, 0, 5000, 64), "fps": 20.0}


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.debian] if name in ON_DEBIAN else []) for name in RIGS])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    with RIGS[request.param](tmp_path) as running:
        yield running


def test_frames(rig: Rig) -> None:
    before = time.time()
    with open_camera(rig.address, OPTIONS) as camera:
        frames = [camera.read() for _ in range(5)]
        source = camera.source  # type: ignore[attr-defined]
        again = [camera.read() for _ in range(40 if not rig.endless else 0)]
    assert all(frame is not None for frame in frames)
    found = [frame for frame in frames if frame is not None]
    sequences = [frame.sequence for frame in found]
    assert sequences == sorted(set(sequences))
    assert sequences[0] >= 0
    stamps = [frame.timestamp for frame in found]
    assert stamps == sorted(stamps)
    assert before <= stamps[0] <= stamps[-1] <= time.time()
    for frame in found:
        assert frame.image.dtype == np.uint8
        assert frame.image.ndim == 2 or frame.image.shape[2] == 3
        assert frame.image.flags.c_contiguous
        assert frame.image.flags.writeable
        assert frame.source
    assert source == found[-1].source
    assert not any(np.shares_memory(found[0].image, frame.image) for frame in found[1:])
    assert rig.endless or again[-1] is None


def test_closed_twice(rig: Rig) -> None:
    camera = open_camera(rig.address, OPTIONS)
    assert camera.read() is not None
    camera.close()
    camera.close()
    with pytest.raises(CameraLostError):
        camera.read()


def test_closed_while_reading(rig: Rig) -> None:
    camera = open_camera(rig.address, OPTIONS)
    started = threading.Event()
    ended: list[Exception | None] = []

    def read_on() -> None:
        try:
            for _ in range(10_000):
                frame = camera.read()
                started.set()
                if frame is None:
                    break
            ended.append(None)
        except CameraLostError as error:
            ended.append(error)

    thread = threading.Thread(target=read_on)
    thread.start()
    assert started.wait(HANG_S)
    camera.close()
    thread.join(HANG_S)
    assert not thread.is_alive()
    assert len(ended) == 1
    assert not rig.endless or isinstance(ended[0], CameraLostError)


def test_opened_again(rig: Rig) -> None:
    for _ in range(2):
        with open_camera(rig.address, OPTIONS) as camera:
            frame = camera.read()
            assert frame is not None


def test_an_option_that_it_cannot_set(rig: Rig) -> None:
    options = CameraOptions(**{rig.unable: UNABLE[rig.unable]})  # type: ignore[arg-type]
    with pytest.raises(CameraError, match=rig.unable):
        open_camera(rig.address, options)
    with open_camera(rig.address, OPTIONS) as camera:  # the device is free again
        assert camera.read() is not None


def test_one_that_is_not_there(rig: Rig) -> None:
    with pytest.raises(CameraError, match=rig.wrong_error):
        open_camera(rig.wrong_address, OPTIONS)
