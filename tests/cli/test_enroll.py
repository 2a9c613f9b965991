"""The verb `enroll`: what it takes, what it prints, and how it fails."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from partsight.runtime import ModelPackage
from partsight.runtime.matching import MatchingSpec
from tests.cli.command import loaded_by, without
from tests.cli.conftest import Ended
from tests.runtime.enrolment.enrolling import picture, write_package
from tests.tiny import COLOURS_BGR

Call = Callable[..., Ended]
OLD = tuple(COLOURS_BGR)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("packages") / "old.partsight")


@pytest.fixture
def orange(tmp_path: Path) -> Path:
    return picture(tmp_path / "orange.png", (0, 128, 255))


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tmp_path / "new.partsight"


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+", text)


def labels(package: Path) -> tuple[str, ...]:
    return ModelPackage.read(package).manifest.labels


def test_one_part(call: Call, package: Path, orange: Path, new: Path) -> None:
    ended = call("enroll", package, "--label", "orange", orange, "--out", new)
    assert (ended.code, ended.err) == (0, "")
    assert labels(new) == (*OLD, "orange")
    lines = ended.out.splitlines()
    assert lines[0].split()[:5] == ["part", "images", "right", "unknown", "wrong"]
    assert lines[1].split()[:3] == ["orange", "1", "100%"]
    printed = dict(line.split(":", 1) for line in lines[3:])
    assert numbers(printed["parts"]) == ["1", "0", "0", "7"]  # added, replaced, removed, now
    assert numbers(printed["candidates"]) == ["16", "4"]  # by thumbnail, by the network
    assert printed["package"].strip() == str(new)
    assert ModelPackage.read(package).package_id in call("inspect", new).out


def test_several_images_and_parts(call: Call, package: Path, orange: Path, new: Path, tmp_path: Path) -> None:
    more = picture(tmp_path / "more.png", (0, 120, 255))
    violet = picture(tmp_path / "violet.png", (255, 0, 128))
    ended = call("enroll", package, "--label", "orange", orange, more, "--label", "violet", violet, "--out", new)
    assert ended.code == 0, ended.err
    assert labels(new) == (*OLD, "orange", "violet")
    assert ended.out.splitlines()[1].split()[:2] == ["orange", "2"]


def test_a_signature_that_cannot_be_read(
    call: Call, package: Path, orange: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new package is there by then."""
    real, signature = os.stat, str(package / "signature.json")

    def fail(path: object, *args: object, **options: object) -> object:
        if str(path) == signature:
            raise OSError(5, "Input/output error", signature)
        return real(path, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "stat", fail)
    ended = call("enroll", package, "--label", "orange", orange, "--out", new)
    assert (ended.code, ended.err) == (0, "")
    assert labels(new) == (*OLD, "orange")


@pytest.mark.parametrize("in_folders", [False, True])
def test_a_catalogue(in_folders: bool, call: Call, package: Path, new: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    for name, colour in (("orange", (0, 128, 255)), ("violet", (255, 0, 128))):
        folder = catalog / name if in_folders else catalog
        folder.mkdir(parents=True, exist_ok=True)
        picture(folder / (f"{name}.png" if not in_folders else "golden.png"), colour)
    if in_folders:
        picture(catalog / "violet" / "a further one.png", (240, 40, 100))
    ended = call("enroll", package, "--catalog", catalog, "--remove", "red", "blue", "--out", new)
    assert ended.code == 0, ended.err
    assert labels(new) == ("cyan", "green", "magenta", "yellow", "orange", "violet")
    images = {line.split()[0]: line.split()[1] for line in ended.out.splitlines()[1:3]}
    assert images == {"orange": "1", "violet": "2" if in_folders else "1"}
    assert len(ModelPackage.read(new).manifest.reference_files(5)) == int(images["violet"])


def test_replace(call: Call, package: Path, orange: Path, new: Path) -> None:
    ended = call("enroll", package, "--replace", "--label", "cyan", orange, "--out", new)
    assert ended.code == 0, ended.err
    assert labels(new) == OLD
    (line,) = [line for line in ended.out.splitlines() if line.startswith("parts:")]
    assert numbers(line) == ["0", "1", "0", "6"]


def test_removal_alone_prints_no_table(call: Call, package: Path, new: Path) -> None:
    ended = call("enroll", package, "--remove", "cyan", "--out", new)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("parts:")


def test_many_parts_are_summed_up(call: Call, package: Path, new: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    for number in range(24):
        pixels = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        pixels[:, :, number % 3] //= 4  # no grey, in which the network sees nothing
        picture(catalog / f"part{number}.png", pixels)
    ended = call("enroll", package, "--catalog", catalog, "--out", new)
    assert ended.code == 0, ended.err
    assert sum(line.startswith("part") and "%" in line for line in ended.out.splitlines()) == 20
    assert "and 4 more" in ended.out


def test_a_twin_gets_a_warning(call: Call, package: Path, new: Path, tmp_path: Path) -> None:
    ended = call("enroll", package, "--label", "red 2", picture(tmp_path / "red.png", (1, 0, 254)), "--out", new)
    assert ended.code == 0
    first, *others = ended.err.splitlines()
    assert first.startswith("partsight: warning: red 2 and red ")
    assert all(line.endswith(": red") for line in others)  # the old part may lose a frame to its twin


def test_a_picture_of_another_size_gets_a_warning(call: Call, package: Path, new: Path, tmp_path: Path) -> None:
    wide = picture(tmp_path / "wide.png", (0, 128, 255), 48, 96)
    ended = call("enroll", package, "--label", "wide", wide, "--out", new)
    assert ended.code == 0
    assert f"partsight: warning: wide: {wide}" in ended.err
    assert "2.00" in ended.err


def test_more_candidates_are_printed(call: Call, new: Path, tmp_path: Path) -> None:
    spec = MatchingSpec(height=48, width=66, by_thumbnail=0, by_network=1)
    package = write_package(tmp_path / "old.partsight", spec=spec)
    images = [picture(tmp_path / f"{index}.png", colour) for index, colour in enumerate([(0, 128, 255), (255, 0, 128)])]
    ended = call("enroll", package, "--label", "both", *images, "--out", new)
    assert ended.code == 0
    (line,) = [line for line in ended.out.splitlines() if line.startswith("candidates:")]
    assert numbers(line)[-2:] == ["0", "1"]  # before


def test_errors_end_with_1_and_write_nothing(call: Call, package: Path, orange: Path, new: Path) -> None:
    ended = call("enroll", package, "--label", "red", orange, "--remove", "brown", "--out", new)
    assert (ended.code, ended.out) == (1, "")
    assert [line.split(":")[0].strip() for line in ended.err.splitlines()[1:]] == ["red", "brown"]
    assert not new.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--label", "orange"],
        ["--label", "orange", "a.png", "--label", "orange", "b.png"],
        ["--replace"],
    ],
)
def test_wrong_usage(arguments: list[str], call: Call, package: Path, new: Path) -> None:
    assert call("enroll", package, *arguments, "--out", new).code == 2
    assert not new.exists()


def test_without_onnx_the_error_names_the_install_command(package: Path, orange: Path, new: Path) -> None:
    done = without("onnx", "enroll", package, "--label", "orange", orange, "--out", new)
    assert done.returncode == 1
    assert "pip install 'partsight[enroll]'" in done.stderr
    assert not new.exists()


def test_no_tensorflow_even_with_a_catalogue(package: Path, new: Path, tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    picture(tmp_path / "catalog" / "orange.png", (0, 128, 255))
    loaded = loaded_by("enroll", package, "--catalog", tmp_path / "catalog", "--out", new)
    assert new.exists()
    assert "onnx" in loaded
    assert not loaded & {"tensorflow", "keras", "tf2onnx"}
