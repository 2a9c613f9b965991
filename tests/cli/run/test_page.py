"""`partsight run --page`: its settings, conflicts and warnings, and a line that serves it."""

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import pytest

from partsight.cli.run.config import CameraConfig, ConfigError, LineConfig
from partsight.cli.run.page import check_page, has_account, page_warnings, read_page_settings
from partsight.runtime import DependencyError, PageError
from partsight.runtime.page import Accounts, Database, Role
from tests.cli.conftest import Ended
from tests.processes import running
from tests.tiny import COLOURS_BGR, solid
from tests.waiting import HANG_S

Call = Callable[..., Ended]
ADDRESS = ":9200?data=page"


def line(*sinks: str, camera: str = "usb:0", package: str = "p.partsight", watch: bool = False) -> LineConfig:
    cameras = {"left": CameraConfig(camera)}
    return LineConfig(package=package, cameras=cameras, sinks=sinks or ("jsonl:-",), watch=watch, page=ADDRESS)


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def add_account(folder: Path) -> None:
    database = Database(folder)
    Accounts(database).add("ada", Role.ADMIN, "a long enough secret")
    database.close()


def test_people_review_the_frames_of_the_first_images_sink() -> None:
    sinks = ("jsonl:-", "images:kept?every=20", "images:other")
    assert read_page_settings(ADDRESS, sinks).feedback == "kept"
    assert read_page_settings(f"{ADDRESS}&feedback=mine", sinks).feedback == "mine"
    assert read_page_settings(ADDRESS, sinks[:1]).feedback == ""


def test_a_wrong_address_is_wrong_usage(call: Call) -> None:
    with pytest.raises(ConfigError, match="colour"):
        LineConfig(package="p", cameras={"left": CameraConfig("usb:0")}, page=f"{ADDRESS}&colour=red")
    ended = call("run", "p.partsight", "--camera", "usb:0", "--page", ":9200")
    assert (ended.code, "data" in ended.err) == (2, True)


@pytest.mark.parametrize("library", ["starlette", "uvicorn", "argon2"])
def test_a_missing_library(call: Call, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DependencyError, match=re.escape("partsight[page]")):
        read_page_settings(ADDRESS)
    ended = call("run", "p.partsight", "--camera", "usb:0", "--page", ADDRESS)
    assert (ended.code, "pip install 'partsight[page]'" in ended.err) == (1, True)


@pytest.mark.parametrize(
    ("data", "named"),
    [("photos", "photos"), ("photos/page", "photos"), ("kept/page", "kept"), ("./other/../kept", "kept")],
)
def test_data_in_a_folder_of_frames(data: str, named: str) -> None:
    config = LineConfig(
        package="p.partsight",
        cameras={"left": CameraConfig("folder:photos")},
        sinks=("images:kept?every=20",),
        page=f":9200?data={data}",
    )
    with pytest.raises(PageError, match=f"is in {named}, "):
        check_page(config)


def test_data_of_its_own() -> None:
    check_page(line("images:kept", camera="folder:photos"))
    check_page(line("images:page/kept"))  # nobody reads or fills what lies above it


def test_warnings(workplace: Path) -> None:
    def events(config: LineConfig) -> list[str]:
        return [warning.event for warning in page_warnings(config)]

    assert events(line()) == ["page_without_account", "page_without_frames"]
    assert events(line("images:kept")) == ["page_without_account"]
    assert list(workplace.iterdir()) == []
    add_account(workplace / "page")
    assert events(line("images:kept")) == []
    assert events(line("images:kept", watch=True)) == ["page_and_watch"]
    assert events(line("images:kept", package="model.onnx")) == ["page_without_golden_images"]
    assert events(LineConfig(package="p", cameras={"left": CameraConfig("usb:0")})) == []


def test_an_account_that_may_log_in(workplace: Path) -> None:
    assert not has_account("page")
    Database(workplace / "page").close()
    assert not has_account("page")
    add_account(workplace / "page")
    assert has_account("page")


def test_the_plan(call: Call, matching_package: Path, workplace: Path) -> None:
    sink = ("--sink", "images:kept")
    ended = call("run", matching_package, "--camera", "usb:0", "--page", ADDRESS, *sink, "--check")
    assert (ended.code, ended.err) == (0, "")
    rows = [tuple(row.split(None, 1)) for row in ended.out.splitlines()]
    (page,) = [text for name, text in rows if name == "page"]
    assert page.startswith("http://127.0.0.1:9200/, ")
    assert page.endswith(" kept")
    assert any(name == "warning" and "partsight account add" in text for name, text in rows)
    assert list(workplace.iterdir()) == []


def test_a_damaged_database_is_an_error(call: Call, matching_package: Path, workplace: Path) -> None:
    (workplace / "page").mkdir()
    (workplace / "page" / "page.sqlite").write_bytes(b"no database" * 1000)
    ended = call("run", matching_package, "--camera", "usb:0", "--page", ADDRESS, "--check")
    assert (ended.code, "page" in ended.err) == (1, True)


def test_a_page_that_cannot_start_is_an_error_before_the_line_starts(
    call: Call, matching_package: Path, workplace: Path
) -> None:
    cv2.imwrite(str(workplace / "a.png"), solid("red"))
    taken = Database(workplace / "page")
    taken.close()
    sink = ("--sink", "jsonl:results.jsonl")
    ended = call("run", matching_package, "a.png", "--page", "0.0.0.0:0?data=page", *sink)
    assert (ended.code, "insecure=true" in ended.err) == (1, True)
    assert (workplace / "results.jsonl").read_bytes() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM kills there")
def test_a_line_serves_its_page_and_ends_with_it(matching_package: Path, workplace: Path) -> None:
    (workplace / "photos").mkdir()
    for index, colour in enumerate(COLOURS_BGR):
        cv2.imwrite(str(workplace / "photos" / f"{index}.png"), solid(colour))
    command = [sys.executable, "-m", "partsight.cli", "run", matching_package, "--camera", "a=folder:photos"]
    command += ["--fps", "0.1", "--sink", "images:kept", "--page", ":0?data=page", "--log", "json"]
    with running(*command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        served, warned = (json.loads(process.stderr.readline()) for _ in range(2))
        address = urlsplit(served["url"])
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=HANG_S)
        connection.request("GET", "/health")
        answer = connection.getresponse()
        connection.close()
        process.send_signal(signal.SIGTERM)
        events = [json.loads(row)["event"] for row in process.stderr.read().splitlines()]
    assert (served["event"], warned["event"]) == ("page_served", "page_without_account")
    assert (answer.status, answer.headers["Location"]) == (303, "/login?next=%2Fhealth")
    assert (process.returncode, events[-1]) == (0, "camera_total")


def test_without_a_page_no_library_of_it_is_loaded(matching_package: Path, workplace: Path) -> None:
    cv2.imwrite(str(workplace / "a.png"), solid("red"))
    program = (
        "import sys; from partsight.cli.main import main; code = main(sys.argv[1:]); "
        "print(sorted({'starlette', 'uvicorn', 'argon2', 'jinja2', 'partsight.runtime.page'} & sys.modules.keys())); "
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", program, "run", str(matching_package), "a.png", "--sink", "jsonl:r.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
