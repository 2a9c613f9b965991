"""The programs and commands in README.md and `docs`, as they are written there.

A program finds the files that it names in the folder where it runs. Cameras that no test machine has are a folder.
"""

import importlib
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from partsight.cli.main import build_parser
from partsight.runtime import cameras
from partsight.runtime.cameras import Camera, CameraOptions, check_address, open_camera
from partsight.runtime.cluster.serve.server import Endpoint, deploy, start_server
from partsight.runtime.cluster.serve.settings import Replicas, ServedPackage
from tests.ray_session import local_ray
from tests.runtime.cluster.serve.clients import free_port
from tests.runtime.enrolment.enrolling import picture, write_package
from tests.runtime.feedback.kept import keep
from tests.tiny import COLOURS_BGR, solid, tiny_matching, write_tiny_package

ROOT = Path(__file__).parents[2]
PAGES = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.is_file()]
_SERVERS = ("plant-server:8000", "127.0.0.1:8000")
"""Servers of the documents, for which one of this machine takes the place."""

_LABELS = {"M6x20": "red", "M5x10": "blue"}
"""Parts of the documents, and those of the package that take their place."""


def _blocks(language: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each code block."""
    for page in PAGES:
        text = page.read_text("utf-8")
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            if found[1] == language:
                yield f"{page.name}:{text.count(chr(10), 0, found.start()) + 1}", found[2]


def _inline() -> Iterator[tuple[str, str]]:
    """Yield commands on a package that stand in a sentence."""
    for page in PAGES:
        for found in re.finditer(r"`(partsight [a-z]+\s[^`]*)`", page.read_text("utf-8")):
            if ".partsight" in found[1] and "..." not in found[1]:
                yield page.name, " ".join(found[1].split())


PROGRAMS = dict(_blocks("python"))
COMMANDS = {
    f"{place} {line}": line
    for place, text in (*_blocks(""), *_blocks("sh"), *_inline())
    for line in text.replace("\\\n", " ").splitlines()
    if re.match(r"(\.venv/bin/)?partsight [a-z]", line)
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that programs name. Shared: copy it."""
    folder = tmp_path_factory.mktemp("site")
    write_package(folder / "line3.partsight")
    shutil.copytree(folder / "line3.partsight", folder / "build" / "demo" / "parts.partsight")
    for name in ("build/demo", "examples/parts/line", "photos"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name / "1.png"), solid("red"))
    keep(folder / "kept", *["M8x40"] * 3)
    for label, bgr in COLOURS_BGR.items():
        for number in range(4):  # frames of a line, each a little darker
            shade = tuple(max(0, level - 4 * number) for level in bgr)
            (folder / "frames" / label).mkdir(parents=True, exist_ok=True)
            picture(folder / "frames" / label / f"{number}.png", shade)
    shades = {
        "frame": "red",
        "frame1": "red",
        "frame2": "cyan",
        "best": (255, 255, 255),
        "more": (250, 250, 250),
        "m6x20": (60, 20, 200),
    }
    for name, colour in shades.items():
        picture(folder / f"{name}.png", colour)
    picture(folder / "frame.jpg", "red")
    return folder


@dataclass(frozen=True)
class Served:
    """A package that a server has under the name `line3`, and the server's HOST:PORT."""

    package: Path
    address: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`partsight serve line3.partsight`, on a free port."""
    package = write_tiny_package(tmp_path_factory.mktemp("served") / "line3.partsight", matching=tiny_matching())
    port = free_port()
    with local_ray():
        start_server(Endpoint(port=port))
        deploy(ServedPackage(name="line3", path=str(package), replicas=Replicas(1, cpus=0.1)))
        yield Served(package, f"127.0.0.1:{port}")


def _open_as_folder(address: str, options: CameraOptions | None = None) -> Camera:
    check_address(address, options)
    return open_camera(address if address.startswith("folder:") else "folder:photos")


@pytest.mark.parametrize("place", PROGRAMS)
def test_each_program_runs(
    place: str, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    text = PROGRAMS[place]
    for name, label in _LABELS.items():
        text = text.replace(f'"{name}"', f'"{label}"')
    text = text.replace("9100", "0")  # any free port
    shutil.copytree(site, tmp_path, dirs_exist_ok=True)
    if any(server in text for server in _SERVERS):
        served = request.getfixturevalue("served")
        shutil.copytree(served.package, tmp_path / "line3.partsight", dirs_exist_ok=True)
        for server in _SERVERS:
            text = text.replace(server, served.address)
    if "trusted_keys" in text:
        pytest.importorskip("cryptography")
        signed = importlib.import_module("tests.runtime.package.signed")
        signed.sign_package(tmp_path / "line3.partsight", signed.new_key(tmp_path / "factory"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cameras, "open_camera", _open_as_folder)
    exec(compile(text, place, "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_each_command_is_understood(command: str) -> None:
    words = shlex.split(re.split(r" [>|&] ?", command)[0], comments=True)
    build_parser().parse_args(words[1:])
