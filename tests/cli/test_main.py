"""Verbs, help, exit codes and error messages of the command."""

import importlib.metadata
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from partsight.cli import inspect
from partsight.cli.exit_codes import MEANINGS, ExitCode
from partsight.cli.main import build_parser, main
from partsight.runtime import ProviderError
from tests.cli.command import HEAVY, loaded_by, partsight, python, without
from tests.cli.conftest import Ended
from tests.processes import running
from tests.waiting import HANG_S

VERBS = (
    "train",
    "export",
    "enroll",
    "bundle",
    "run",
    "review",
    "bench",
    "inspect",
    "account",
    "keygen",
    "sign",
    "verify",
    "doctor",
)
Call = Callable[..., Ended]


def test_help_names_verbs_and_exit_codes(call: Call) -> None:
    ended = call("--help")
    assert (ended.code, ended.err) == (0, "")
    for verb in VERBS:
        assert f"\n    {verb} " in ended.out
    for code, meaning in MEANINGS.items():
        assert f"  {code:<4d} {meaning}" in ended.out
    assert set(MEANINGS) == set(ExitCode)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb(call: Call, verb: str) -> None:
    ended = call(verb, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert f"usage: partsight {verb}" in ended.out
    assert f"examples:\n  partsight {verb}" in ended.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_a_help(call: Call, verb: str) -> None:
    options = re.split(r"\n  (?=-|[A-Z])", call(verb, "--help").out.partition("\n\nexamples:")[0])[1:]
    assert options
    for option in options:
        assert re.search(r"  \S|\n +\S", option), option


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_the_examples_of_the_help_can_be_parsed(call: Call, verb: str) -> None:
    lines = [shlex.split(line.split("> ")[0]) for line in call(*filter(None, [verb]), "--help").out.splitlines()
             if line.startswith("  partsight ")]  # fmt: skip
    assert lines
    for _, *arguments in lines:
        args = build_parser().parse_args(arguments)
        assert verb in ("", args.verb)


@pytest.mark.parametrize("arguments", [("run", "", "a.png"), ("train", "", "--out", "run"), ("keygen", "--out", "")])
def test_a_variable_without_a_value(arguments: tuple[str, ...], call: Call) -> None:
    ended = call(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "empty" in ended.err


def test_version(call: Call) -> None:
    ended = call("--version")
    assert (ended.code, ended.out) == (0, f"partsight {importlib.metadata.version('partsight')}\n")


WRONG_USAGE = {
    "no verb": [],
    "no such verb": ["recognise"],
    "no such option": ["inspect", "line.partsight", "--verbose"],
    "one argument too many": ["inspect", "line.partsight", "other.partsight"],
    "no package": ["inspect"],
    "two forms at once": ["inspect", "line.partsight", "--json", "--labels"],
    "no output": ["export", "run"],
    "no output of a bundle": ["bundle", "line.partsight"],
    "no such precision": ["bundle", "line.partsight", "--out", "line.onnx", "--precision", "bf16"],
    "no frame at once": ["bundle", "line.partsight", "--out", "line.onnx", "--batch", "0"],
    "no image": ["run", "line.partsight"],
    "no such option of run": ["run", "line.partsight", "a.png", "--speed", "3"],
}


@pytest.mark.parametrize("arguments", WRONG_USAGE.values(), ids=WRONG_USAGE)
def test_wrong_usage(call: Call, arguments: list[str]) -> None:
    ended = call(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("usage: partsight")
    assert "error: " in ended.err.splitlines()[-1]


def test_an_error_is_one_line_on_stderr(call: Call, tmp_path: Path) -> None:
    ended = call("inspect", tmp_path / "nothing")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"partsight: error: {tmp_path / 'nothing'}: ")
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("index", [0, 1, 2])
def test_debug_shows_the_traceback(call: Call, tmp_path: Path, index: int) -> None:
    arguments = ["inspect", str(tmp_path / "nothing")]
    arguments.insert(index, "--debug")
    ended = call(*arguments)
    assert ended.code == 1
    assert ended.err.startswith("Traceback (most recent call last):")
    assert "PackageError" in ended.err
    assert ended.err.splitlines()[-1].startswith("partsight: error: ")


def test_an_unforeseen_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(inspect, "run", fail)
    with pytest.raises(ZeroDivisionError):
        main(["inspect", "line.partsight"])


def test_a_file_error_is_not_a_closed_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: object) -> int:
        raise PermissionError(13, "Permission denied", "secret")

    monkeypatch.setattr(inspect, "run", fail)
    with pytest.raises(PermissionError):
        main(["inspect", "line.partsight"])


def test_the_exit_code_reaches_the_shell(tiny_package: Path, tmp_path: Path) -> None:
    assert partsight("inspect", tiny_package).returncode == 0
    assert partsight("inspect", tmp_path / "nothing").returncode == 1
    assert partsight("inspect").returncode == 2


def test_the_installed_script() -> None:
    scripts = importlib.metadata.entry_points(group="console_scripts", name="partsight")
    assert {script.load() for script in scripts} == {main}


def run_into(stdout: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "partsight.cli", *map(str, arguments)]
    # Buffered, as by default: Python writes the rest only at its end.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=HANG_S, env=environment
    )


@pytest.mark.parametrize("verb", ["inspect", "run", "doctor", "--help", "--version"])
def test_a_reader_that_has_ended(tiny_package: Path, photos: Path, verb: str) -> None:
    """As in `partsight run ... | head -1`: no error, no traceback."""
    more = {"inspect": (tiny_package,), "run": (tiny_package, "--camera", f"folder:{photos}", "--batch", "1")}
    reader, writer = os.pipe()
    os.close(reader)
    done = run_into(writer, verb, *more.get(verb, ()))
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_under_the_output(tiny_package: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = run_into(full.fileno(), "inspect", tiny_package)
    assert done.returncode == 1
    assert done.stderr.startswith("partsight: error: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT and a named pipe")
def test_an_interrupt_that_a_library_turns_into_an_error(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime does so during its import."""

    def run(_: object) -> int:
        try:
            raise ImportError("initialization failed") from KeyboardInterrupt()
        except ImportError as error:
            raise ProviderError("ONNX Runtime cannot be imported") from error

    monkeypatch.setattr("partsight.cli.doctor.run", run)
    assert call("doctor").code == 130


def test_an_interrupt(tiny_package: Path, photos: Path, tmp_path: Path) -> None:
    """A driver hangs in the second image: the first Ctrl-C waits for it, the second does not."""
    endless = tmp_path / "endless"
    os.mkfifo(endless)
    command = ["run", str(tiny_package), str(photos / "1_red.png"), str(photos / "2_blue.bmp"), "--batch", "1"]
    hang = f"""
import sys
from partsight.cli.main import main
from partsight.runtime.cameras import files
read = files.read_image
files.read_image = lambda path, *more: open({str(endless)!r}).read() if path.name == "2_blue.bmp" else read(path, *more)
sys.exit(main({command!r}))
"""
    with running(sys.executable, "-c", hang, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert '"label":"red"' in process.stdout.readline()
        with endless.open("wb"):  # waits until the command has opened it for reading
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)  # the line waits for its camera
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=HANG_S)
    assert (process.returncode, out) == (130, "")
    assert err == "\npartsight: interrupted\n"


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("train", "--help"), ("--version",)], ids=str)
def test_help_loads_nothing(arguments: tuple[str, ...]) -> None:
    loaded = loaded_by(*arguments)
    assert "partsight.cli.main" in loaded
    assert loaded.isdisjoint({*HEAVY, "numpy", "cv2", "jinja2", "onnxruntime", "msgspec", "partsight.runtime"})


def test_the_line_loads_no_training_library(tiny_package: Path, photos: Path) -> None:
    for arguments in (("inspect", tiny_package), ("run", tiny_package, photos / "1_red.png")):
        loaded = loaded_by(*arguments)
        assert "partsight.runtime.package.package" in loaded
        assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [("train", "photos", "--out", "run"), ("export", "run", "--out", "package")])
def test_a_line_without_tensorflow(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = without("tensorflow", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    error = done.stderr.splitlines()[-1]
    assert error.startswith("partsight: error: tensorflow ")
    assert "pip install 'partsight[train]'" in error
    assert "Traceback" not in done.stderr


def test_a_line_without_onnxruntime(tiny_package: Path, photos: Path) -> None:
    done = without("onnxruntime", "run", tiny_package, photos / "1_red.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'partsight[cpu]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_library(tiny_package: Path) -> None:
    done = without("msgspec", "inspect", tiny_package)
    assert (done.returncode, done.stdout) == (1, "")
    assert "msgspec" in done.stderr
    assert "`partsight doctor`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_label_of_any_alphabet(tmp_path: Path, tiny_package: Path, photos: Path) -> None:
    """The system's code page lacks these letters."""
    photo = tmp_path / "Größe 螺丝.png"
    shutil.copy(photos / "1_red.png", photo)
    done = partsight("run", tiny_package, photo, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0
    assert "Größe 螺丝.png" in done.stdout


def test_python_dash_m(tiny_package: Path) -> None:
    done = python("-m", "partsight.cli", "inspect", str(tiny_package), "--labels")
    assert done.stdout.split() == ["blue", "cyan", "green", "magenta", "red", "yellow"]


@pytest.mark.parametrize(("wrong", "near"), [("--sinc", "--sink"), ("--camra", "--camera")])
def test_a_mistyped_option_names_the_nearest(wrong: str, near: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "line3.partsight", wrong, "x"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert wrong in error
    assert near in error.splitlines()[-1]
