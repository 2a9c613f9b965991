from collections.abc import Iterator
from pathlib import Path

import pytest

from partsight.runtime import Recognizer
from partsight.runtime.line import camera_worker, sink_worker
from tests.tiny import ONE_THREAD


@pytest.fixture
def no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_worker, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(sink_worker, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def recognizer(tiny_package: Path) -> Iterator[Recognizer]:
    with Recognizer(tiny_package, batch_size=4, engine=ONE_THREAD) as recognizer:
        yield recognizer
