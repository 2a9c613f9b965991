import copy
import gc
import os
import pickle
import re
from pathlib import Path

import pytest

from partsight.runtime import ModelPackage
from partsight.runtime.core.errors import PackageError
from partsight.runtime.core.safe_folder import HeldFolder, check_name, find_files, hash_file, read_file
from partsight.runtime.core.storage import sha256_bytes

NAMES = {"model.onnx", "gallery/00001.jpg", "a/b/c/d.bin"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(name.encode())
    return tmp_path / "p"


@pytest.mark.parametrize("name", ["model.fp32.onnx", "gallery/00001.jpg", "a/b/c/d", "nullable.txt", "_x", "x" * 100])
def test_plain_names(folder: Path, name: str) -> None:
    check_name(folder, name)


def test_what_lies_there(folder: Path) -> None:
    (folder / "other" / "deep").mkdir(parents=True)
    (folder / "other" / "deep" / "file").touch()
    (folder / "gallery" / "more.jpg").touch()
    (folder / "gallery" / "empty").mkdir()
    found = find_files(folder, NAMES)
    assert found == NAMES | {"other/", "gallery/more.jpg", "gallery/empty/"}


@pytest.mark.parametrize("name", ["link", "gallery/link"])
@pytest.mark.parametrize("target", ["file", "folder", "nothing"])
def test_links_are_refused(folder: Path, name: str, target: str) -> None:
    targets = {"file": folder / "model.onnx", "folder": folder / "gallery", "nothing": folder / "nothing"}
    (folder / name).symlink_to(targets[target])
    with pytest.raises(PackageError, match=f": {name} "):
        find_files(folder, NAMES)


def test_a_folder_of_files_may_be_no_link(folder: Path, tmp_path: Path) -> None:
    (folder / "gallery").rename(tmp_path / "elsewhere")
    (folder / "gallery").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PackageError, match=": gallery "):
        find_files(folder, NAMES)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_a_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    os.mkfifo(folder / "model.onnx")
    with pytest.raises(PackageError, match=r": model\.onnx "):
        find_files(folder, NAMES)
    for read in (read_file, hash_file):
        with pytest.raises(PackageError, match=r": model\.onnx "):
            read(folder, "model.onnx", 100)


@pytest.mark.parametrize("read", [read_file, hash_file])
def test_what_cannot_be_read(folder: Path, read: object) -> None:
    for name in ("nothing", "gallery", "a\0b", "model.onnx/x"):
        with pytest.raises(PackageError, match=": " + re.escape(name)):
            read(folder, name, 100)  # type: ignore[operator]


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system follows links on opening")
def test_a_link_that_came_after_the_look_is_not_followed(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "model.onnx")
    with pytest.raises(PackageError, match=": link "):
        read_file(folder, "link", 100)


def test_bytes_and_hash(folder: Path) -> None:
    data = bytes(range(256)) * 10_000  # more than one block
    (folder / "model.onnx").write_bytes(data)
    assert read_file(folder, "model.onnx", len(data)) == data
    assert hash_file(folder, "model.onnx", len(data)) == sha256_bytes(data)
    for read in (read_file, hash_file):
        with pytest.raises(PackageError, match=rf"model\.onnx .*{len(data)}.*{len(data) - 1}"):
            read(folder, "model.onnx", len(data) - 1)


def test_a_file_too_large_is_not_read(folder: Path) -> None:
    with (folder / "model.onnx").open("r+b") as file:
        file.truncate(2**40)  # sparse: takes no space
    with pytest.raises(PackageError, match=str(2**40)):
        read_file(folder, "model.onnx", 2**31)


def test_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"model")

    class Full:
        def __init__(self, *_: object) -> None:
            raise MemoryError

    monkeypatch.setattr("builtins.open", Full)
    with pytest.raises(PackageError, match=r"model\.onnx .*memory"):
        read_file(tmp_path, "model.onnx", 10)


def test_a_held_folder_is_not_what_takes_its_place(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name / "gallery").mkdir(parents=True)
        (tmp_path / name / "gallery" / "a.png").write_bytes(name.encode())
    link = tmp_path / "line3"
    link.symlink_to(tmp_path / "first")
    held = HeldFolder(link)
    link.unlink()
    link.symlink_to(tmp_path / "second")
    assert read_file(held, "gallery/a.png", 100) == b"first"
    assert str(held) == str(link)


@pytest.mark.skipif(os.name == "nt", reason="Windows opens no folder")
def test_a_held_folder_may_be_renamed(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "a.png").write_bytes(b"first")
    held = HeldFolder(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "elsewhere")
    assert read_file(held, "a.png", 100) == b"first"
    assert hash_file(held, "a.png", 100) == sha256_bytes(b"first")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_held_folder_is_let_go(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    held = [HeldFolder(tmp_path) for _ in range(20)]
    del held
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_package_that_is_copied_opens_its_folder_itself(tiny_package: Path) -> None:
    package = ModelPackage.read(tiny_package)
    copies = [pickle.loads(pickle.dumps(package)), copy.deepcopy(package)]
    model = package.model_bytes("fp32")
    del package
    gc.collect()  # which closes the folder of the first
    for copied in copies:
        assert copied.model_bytes("fp32") == model
        copied.check_hashes()
