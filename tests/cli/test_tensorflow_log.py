import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import pytest

from partsight.cli.tensorflow_log import quiet_tensorflow

BROKEN = """
import os, sys
os.write(2, b"why it cannot be imported")
raise ImportError("it cannot")
"""

IMPORTS_IT = """
from partsight.cli.tensorflow_log import quiet_tensorflow
quiet_tensorflow()
"""


class LostFile:
    """A temporary file on a disk that goes away: closing it fails."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def fileno(self) -> int:
        return self._file.fileno()

    def close(self) -> None:
        self._file.close()
        raise OSError(5, "Input/output error")


@pytest.fixture
def no_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "partsight.train.framework", pytest)
    monkeypatch.setattr(os, "environ", {})


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_disk_that_takes_no_temporary_file_keeps_nobody_from_importing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], no_tensorflow: None, is_lost: bool
) -> None:
    opened = tempfile.TemporaryFile

    def open_file() -> LostFile:
        if is_lost:
            return LostFile(opened())
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(tempfile, "TemporaryFile", open_file)
    quiet_tensorflow()
    print("told", file=sys.stderr)
    assert capfd.readouterr().err == "told\n"


def test_what_was_held_back_is_shown_with_the_error(tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text(BROKEN)  # which `framework` imports first
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTS_IT], env=environment, capture_output=True, text=True, check=False
    )
    assert "why it cannot be imported" in ended.stderr
    assert "ImportError: it cannot" in ended.stderr
