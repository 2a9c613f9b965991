"""Cameras of other distributions, which add them by entry points."""

import sys
from pathlib import Path

import numpy as np
import pytest

from partsight.runtime.cameras import CameraOptions, camera_schemes, check_address, open_camera
from partsight.runtime.core.errors import CameraError
from tests.plugins import install, site

MODULE = """
import numpy as np

from partsight.runtime.cameras import Camera, CameraOptions, Frame
from partsight.runtime.core import CameraError


class Grey:
    def __init__(self, level, source):
        self.level, self.source, self.sequence = level, source, 0

    def read(self):
        self.sequence += 1
        return Frame(np.full((48, 64), self.level, np.uint8), self.source, self.sequence - 1, 0.0)

    def close(self): ...

    def __enter__(self):
        return self

    def __exit__(self, *_): ...


def check_address(place, options):
    options.check_supported(f"grey:{place}", frozenset({"fps"}))
    if not place.isdecimal():
        raise CameraError(f"grey:{place}: expected a grey level")


def open_address(place, options):
    check_address(place, options)
    return Grey(int(place), f"grey:{place}")
"""


@pytest.fixture
def grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = site(tmp_path, monkeypatch)
    install(folder, "grey-camera", "partsight.cameras", {"grey": "grey_camera"}, {"grey_camera": MODULE})
    monkeypatch.delitem(sys.modules, "grey_camera", raising=False)


@pytest.mark.usefixtures("grey")
def test_a_camera_of_another_distribution() -> None:
    with open_camera("grey:7", CameraOptions(fps=5)) as camera:
        frames = [camera.read() for _ in range(2)]
    assert [(frame.sequence, frame.source, int(np.mean(frame.image))) for frame in frames if frame] == [
        (0, "grey:7", 7),
        (1, "grey:7", 7),
    ]
    assert "grey" in camera_schemes()


@pytest.mark.usefixtures("grey")
def test_its_own_check_refuses_addresses_and_options() -> None:
    check_address("grey:7")
    with pytest.raises(CameraError, match="grey:light"):
        check_address("grey:light")
    with pytest.raises(CameraError, match="gain_db"):
        check_address("grey:7", CameraOptions(gain_db=1))


@pytest.mark.usefixtures("grey")
def test_an_unknown_address_names_it_among_the_known_ones() -> None:
    with pytest.raises(CameraError, match=r"folder:PATH.*grey:"):
        open_camera("gray:7")


def test_a_name_that_partsight_uses_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site(tmp_path, monkeypatch), "other-folders", "partsight.cameras", {"folder": "other_folders"})
    with pytest.raises(CameraError, match="other-folders"):
        open_camera(f"folder:{tmp_path}")
