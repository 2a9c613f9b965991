"""`partsight serve` in a process of its own: it starts, answers, takes another package, and ends cleanly."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from urllib.request import Request, urlopen

import pytest

from partsight.cli.main import main
from partsight.runtime import Recognizer
from tests.cli.command import HEAVY, loaded_by, partsight, without
from tests.runtime.cluster.serve.clients import free_port
from tests.tiny import ONE_THREAD, tiny_matching, write_tiny_package
from tests.waiting import HANG_S

TOKEN = "a-token-of-this-test-0123456789"


@contextmanager
def serving(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], "Queue[str]"]]:
    """Run `partsight serve`; yield the process and the lines of its stdout."""
    command = [sys.executable, "-m", "partsight.cli", "serve", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines: Queue[str] = Queue()
        assert process.stdout is not None
        reader = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout or ()], daemon=True)
        reader.start()
        try:
            yield process, lines
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(HANG_S)
            reader.join(HANG_S)


def line_with(lines: "Queue[str]", start: str) -> str:
    while True:
        line = lines.get(timeout=HANG_S)
        if line.startswith(start):
            return line.removeprefix(start).strip()


def package_id(port: int, token: str) -> str:
    request = Request(f"http://127.0.0.1:{port}/v2/models/line3/config", headers={"Authorization": f"Bearer {token}"})
    with urlopen(request, timeout=HANG_S) as answer:
        return str(json.load(answer)["parameters"]["package_id"]["string_value"])


def test_one_command_serves_swaps_and_ends(matching_package: Path, tmp_path: Path) -> None:
    other = write_tiny_package(
        tmp_path / "other.partsight", matching=tiny_matching(), labels=("a", "b", "c", "d", "e", "f")
    )
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    port = free_port()
    with serving(f"line3={matching_package}", "--port", str(port), "--token-file", token) as (process, lines):
        line_with(lines, "serving at")
        curl = line_with(lines, "try:")
        assert "infer" in curl and TOKEN not in curl
        *_, address = line_with(lines, "swap:").split()
        before = package_id(port, TOKEN)
        swapped = partsight("serve", f"line3={other}", "--address", address, "--token-file", token)
        assert (swapped.returncode, TOKEN in swapped.stdout + swapped.stderr) == (0, False)
        after = package_id(port, TOKEN)
        fixed = partsight("serve", f"line3={other}", "--address", address, "--port", "8000")
        assert fixed.returncode == 1
        process.send_signal(signal.SIGINT)
        assert process.wait(HANG_S) == 0
    assert before != after
    with Recognizer(matching_package, engine=ONE_THREAD) as recognizer:
        assert before == recognizer.package_id


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("a.partsight", "--replicas", "0"),
        ("a.partsight", "--max-wait-ms", "-1"),
        ("a.partsight", "--tls-cert", "x"),
        ("a.partsight", "b/a.partsight"),
        ("a.partsight", "--port", "x"),
    ],
)
def test_wrong_usage_starts_nothing(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", *arguments])
    assert caught.value.code == 2


def test_an_address_without_a_cluster_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "a.partsight", "--address", f"127.0.0.1:{free_port()}"]) == 1
    assert "ray status" in capsys.readouterr().err


def test_a_name_that_is_no_part_of_a_url_is_an_error() -> None:
    assert main(["serve", "a b=a.partsight"]) == 1


def test_without_ray_the_command_names_its_extra() -> None:
    done = without("ray", "serve", "a.partsight")
    assert done.returncode == 1
    assert "partsight[ray]" in done.stderr


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_by("serve", "--help") & {*HEAVY, "ray", "partsight.runtime"}
    assert os.environ.get("RAY_ADDRESS") is None
