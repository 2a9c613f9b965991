"""Checks of a set-up that find what a test says, and frames for them."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from partsight.runtime.calibration.setup import Setup
from partsight.runtime.calibration.setup_check import SetupCheck
from partsight.runtime.cameras.camera import Frame
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.sinks.record import FrameEvent, Record

NO_FIT = SetupCheck(None, 16, 40, 0.0, 0.0, 0.1, 0.1)
NEARER = replace(NO_FIT, fits=Setup(scale=1.05), accepted_after=1.0, labels=("a", "b"))
PACKAGE: Any = SimpleNamespace(manifest=SimpleNamespace(preprocess=SimpleNamespace(region=None)))


class Checks:
    """Stands for `find_misfit`: counts the frames of each check, and finds what a test says."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.finds: SetupCheck | None = NO_FIT

    def __call__(self, _: object, frames: Sequence[Pixels], *__: object) -> SetupCheck | None:
        self.frames.append(len(frames))
        return self.finds


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.event for record in caplog.records]  # type: ignore[attr-defined]


def event(outcome: Any) -> FrameEvent:
    record = Record(outcome=outcome, camera="left", source="s", sequence=0, run="r", timestamp=0.0)
    return FrameEvent(record, Frame(np.zeros((4, 4, 3), np.uint8), "s", 0, 0.0))
