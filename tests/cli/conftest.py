"""Frames of solid colours, which the tiny package knows, and a way to call the command."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from partsight.cli.main import main
from tests.tiny import solid


@dataclass(frozen=True)
class Ended:
    """How the command ended and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Call the command in this process, with its standard output as a file; wrong usage comes back as its code."""

    def _call(*arguments: object) -> Ended:
        capfd.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        return Ended(code, *capfd.readouterr())

    return _call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of frames: taught colours, an unknown grey in a subfolder, and a file that is no image."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    frames = {"1_red.png": "red", "2_blue.bmp": "blue", "more/3_grey.png": (128, 128, 128), "more/4_green.PNG": "green"}
    for name, colour in frames.items():
        assert cv2.imwrite(str(folder / name), solid(colour))
    (folder / "notes.txt").write_text("not a picture")
    return folder
