"""The import of TensorFlow without its log messages."""

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
os.write(2, b"a message of C++")
raise ImportError("a reason")
"""

IMPORTS_IT = """
from partsight.cli.tensorflow_log import quiet_tensorflow
quiet_tensorflow()
"""


class LostFile:
    """A temporary file whose disk is lost: closing it fails."""

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
def test_the_import_works_without_a_temporary_file(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], no_tensorflow: None, is_lost: bool
) -> None:
    opened = tempfile.TemporaryFile

    def open_file() -> LostFile:
        if is_lost:
            return LostFile(opened())
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(tempfile, "TemporaryFile", open_file)
    quiet_tensorflow()
    print("after it", file=sys.stderr)
    assert capfd.readouterr().err == "after it\n"


def test_a_failed_import_shows_the_log(tmp_path: Path) -> None:
    (tmp_path / "keras.py").write_text(BROKEN)  # `framework` imports it first
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTS_IT], env=environment, capture_output=True, text=True, check=False
    )
    assert "a message of C++" in ended.stderr
    assert "ImportError: a reason" in ended.stderr
