"""Standard streams that are closed, full or missing, as for daemons and `pythonw.exe`."""

import errno
import io
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from partsight.cli import inspect
from partsight.cli.exit_codes import ExitCode
from partsight.cli.main import main
from partsight.cli.streams import LossyStream, usable_streams

SHELL = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes the descriptors")
NOISE = """
import os
from partsight.cli.streams import usable_streams
with usable_streams():
    with open("results", "w") as results:
        for number in (0, 1, 2):
            os.fstat(number)
        os.write(1, b"from a library")
        os.write(2, b"from a library")
        print("from partsight")
        results.write("a result")
"""


def in_shell(closed: str, folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = shlex.join([sys.executable, *map(str, arguments)])
    return subprocess.run(
        ["sh", "-c", f"{command} {closed}"], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


class Failing(io.StringIO):
    """A stream that refuses all text."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self._code = code

    def write(self, _: str) -> int:
        raise OSError(self._code, "refused")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Remove standard streams, as `pythonw.exe` does."""

    def _without(*names: str) -> None:
        for name in names:
            monkeypatch.setattr(sys, name, None)

    return _without


@SHELL
@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>&-"])
def test_a_daemons_line_writes_its_results(tiny_package: Path, photos: Path, tmp_path: Path, closed: str) -> None:
    command = ("-m", "partsight.cli", "run", tiny_package, photos / "1_red.png", "--sink", "jsonl:r.jsonl")
    assert in_shell(closed, tmp_path, *command).returncode == 0
    (row,) = (tmp_path / "r.jsonl").read_text().splitlines()
    assert json.loads(row)["label"] == "red"


@SHELL
def test_nothing_else_gets_into_a_file_of_results(tmp_path: Path) -> None:
    assert in_shell("<&- >&- 2>&-", tmp_path, "-c", NOISE).returncode == 0
    assert (tmp_path / "results").read_text() == "a result"


@SHELL
def test_results_for_a_closed_stdout_are_an_error(tiny_package: Path, photos: Path, tmp_path: Path) -> None:
    done = in_shell(">&-", tmp_path, "-m", "partsight.cli", "run", tiny_package, photos / "1_red.png")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("partsight: error: ")


def test_a_verb_that_writes_files_needs_no_stream(without: Callable[..., None], tmp_path: Path) -> None:
    without("stdin", "stdout", "stderr")
    assert main(["keygen", "--out", str(tmp_path / "factory")]) == ExitCode.DONE
    assert (tmp_path / "factory.pub").exists()
    assert sys.stdout is None


@pytest.mark.parametrize("arguments", [["inspect", "x"], ["doctor", "--json"], ["bench", "x"]], ids=" ".join)
def test_a_verb_that_prints_needs_stdout(
    without: Callable[..., None], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    without("stdout")
    assert main(arguments) == ExitCode.ERROR
    assert "> FILE" in capsys.readouterr().err


def test_help_needs_stdout(without: Callable[..., None]) -> None:
    without("stdout")
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == ExitCode.ERROR


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EBADF])
def test_lost_output_is_an_error_after_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, code: int
) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(code))
    assert main(["keygen", "--out", str(tmp_path / "factory")]) == ExitCode.ERROR
    assert (tmp_path / "factory.pub").exists()
    assert "refused" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "expected"), [(errno.EIO, 3), (errno.EPIPE, 3)])
def test_lost_output_hides_no_other_code(monkeypatch: pytest.MonkeyPatch, code: int, expected: int) -> None:
    def run(_: object) -> int:
        print("below target")
        return ExitCode.BELOW_TARGET

    monkeypatch.setattr(sys, "stdout", Failing(code))
    monkeypatch.setattr(inspect, "run", run)
    assert main(["inspect", "x"]) == expected


def test_an_error_counts_without_a_working_stderr(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stderr", Failing(errno.EIO))
    assert main(["inspect", str(tmp_path / "nothing")]) == ExitCode.ERROR


def test_a_character_that_stderr_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, encoding="ascii", errors="strict"))
    with usable_streams():
        print("Schraube ü ×32", file=sys.stderr)
    assert written.getvalue() == b"Schraube \\xfc \\xd732\n"


def test_a_missing_stream_has_no_descriptor() -> None:
    stream = LossyStream(None)
    print("lost", file=stream)
    assert (stream.isatty(), stream.error) == (False, None)
    with pytest.raises(OSError):
        stream.fileno()
