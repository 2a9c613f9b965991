"""`partsight explain`: pictures and reasons of frames."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from partsight.cli.exit_codes import ExitCode
from partsight.runtime import read_image
from tests.cli.command import HEAVY, loaded_by
from tests.cli.conftest import Ended
from tests.tiny import solid

Call = Callable[..., Ended]


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_a_folder(call: Call, matching_package: Path, photos: Path, tmp_path: Path) -> None:
    ended = call("explain", matching_package, photos, "--out", tmp_path / "why")
    assert (ended.code, ended.err) == (ExitCode.DONE, "")
    names = ["1_red", "2_blue", "more/3_grey", "more/4_green"]
    assert files_in(tmp_path / "why") == [f"{name}.{suffix}" for name in names for suffix in ("json", "png")]
    labels = [json.loads((tmp_path / "why" / f"{name}.json").read_bytes())["label"] for name in names]
    assert labels == ["red", "blue", None, "green"]
    rows = ended.out.splitlines()
    assert [row.split()[1] for row in rows[1:5]] == ["red", "blue", "unknown", "green"]
    why = json.loads((tmp_path / "why" / "more" / "3_grey.json").read_bytes())
    assert rows[3].endswith(why["sentence"])
    assert read_image(tmp_path / "why" / "more" / "3_grey.png").shape[1] == 1070


def test_a_file(call: Call, matching_package: Path, photos: Path, tmp_path: Path) -> None:
    ended = call("explain", matching_package, "--out", tmp_path / "why", photos / "1_red.png", photos / "2_blue.bmp")
    assert ended.code == ExitCode.DONE
    assert files_in(tmp_path / "why") == ["1_red.json", "1_red.png", "2_blue.json", "2_blue.png"]


def test_frames_that_cannot_be_read(call: Call, matching_package: Path, photos: Path, tmp_path: Path) -> None:
    """They are named, and the others go on."""
    (photos / "0_torn.png").write_bytes((photos / "1_red.png").read_bytes()[:40])
    cv2.imwrite(str(photos / "5_grey.png"), np.zeros((40, 40), np.uint8))  # the package has colour
    missing = tmp_path / "missing.png"
    ended = call("explain", matching_package, missing, photos, "--out", tmp_path / "why")
    assert ended.code == ExitCode.SOME_FAILED
    assert len(files_in(tmp_path / "why")) == 8
    for name in (missing, photos / "0_torn.png", photos / "5_grey.png"):
        assert ended.err.count(str(name)) == 1


def test_equal_names_do_not_overwrite_each_other(
    call: Call, matching_package: Path, photos: Path, tmp_path: Path
) -> None:
    other = tmp_path / "1_RED.png"
    cv2.imwrite(str(other), solid("green"))
    out = tmp_path / "why"
    assert call("explain", matching_package, photos / "1_red.png", other, other, "--out", out).code == ExitCode.DONE
    assert len(files_in(out)) == 6
    labels = sorted(json.loads(path.read_bytes())["label"] for path in out.glob("*.json"))
    assert labels == ["green", "green", "red"]


@pytest.mark.parametrize("exists", ["out", "package", "empty"])
def test_errors(call: Call, matching_package: Path, photos: Path, tmp_path: Path, exists: str) -> None:
    package, out, frames = matching_package, tmp_path / "why", photos
    if exists == "out":
        out.mkdir()
        (out / "mine.txt").write_text("stays")
    elif exists == "package":
        package = tmp_path / "none.partsight"
    else:
        frames = tmp_path / "empty"
        frames.mkdir()
    ended = call("explain", package, frames, "--out", out)
    assert ended.code == ExitCode.ERROR
    assert str({"out": out, "package": package, "empty": frames}[exists]) in ended.err
    assert files_in(tmp_path / "why") == (["mine.txt"] if exists == "out" else [])


def test_no_frame_is_wrong_usage(call: Call, matching_package: Path, tmp_path: Path) -> None:
    assert call("explain", matching_package, "--out", tmp_path / "why").code == ExitCode.USAGE


def test_it_needs_no_library_of_training(matching_package: Path, photos: Path, tmp_path: Path) -> None:
    modules = loaded_by("explain", matching_package, photos / "1_red.png", "--out", tmp_path / "why")
    assert not modules & set(HEAVY)
