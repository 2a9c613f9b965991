from pathlib import Path
from typing import Any

import pytest

from partsight.runtime import ProviderError, Recognizer
from partsight.runtime.inference.session import Session
from partsight.runtime.line import Line
from tests.runtime.line.scripted import ScriptedCamera
from tests.tiny import solid
from tests.waiting import HANG_S


def test_an_engine_that_breaks_down_ends_the_line(tiny_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame is to blame, and each further one would be told as failed for ever."""

    def break_down(*_: Any) -> None:
        raise RuntimeError("the card fell out")

    with Recognizer(tiny_package, threads=1) as recognizer:
        session: Session = recognizer._open().session
        monkeypatch.setattr(session._engine, "run", break_down)
        camera = ScriptedCamera([solid("red")] * 5, ends=False)
        with Line(recognizer, {"c": lambda: camera}) as line, pytest.raises(ProviderError, match="the card fell out"):
            line.wait(HANG_S)
        assert line.counters().cameras["c"].failed == 0
