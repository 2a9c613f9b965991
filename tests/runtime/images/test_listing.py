import io
import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from partsight.runtime.images.listing import (
    BACKUPS,
    IGNORED_FILES,
    IGNORED_FOLDERS,
    IMAGE_SUFFIXES,
    NOTES,
    label_of,
    list_folder,
    list_images,
)

DOCS = Path(__file__).parents[3] / "docs"


def encoded(form: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 33)).save(stream, form)
    return stream.getvalue()


PNG = encoded("PNG")


def put(root: Path, *names: str, data: bytes = PNG) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target, target.is_dir())
    except OSError:
        pytest.skip("this user may not make links")


def names(root: Path, *, faults: bool = False) -> list[str]:
    listing = list_images(root)
    return [path.relative_to(root).as_posix() for path in (listing.faults if faults else listing.images)]


def plain(pattern: str) -> str:
    return pattern.replace("*", "x")


@pytest.mark.parametrize("form", ["BMP", "JPEG", "PNG", "TIFF", "WEBP"])
def test_a_picture_without_a_suffix(tmp_path: Path, form: str) -> None:
    put(tmp_path, "c", "M2.5", data=encoded(form))
    assert names(tmp_path) == ["M2.5", "c"]


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_a_suffix_of_an_image_format(tmp_path: Path, suffix: str) -> None:
    """Listing does not check the content of such a file."""
    put(tmp_path, f"a{suffix}", f"b{suffix.upper()}", data=b"damaged")
    assert names(tmp_path) == [f"a{suffix}", f"b{suffix.upper()}"]


@pytest.mark.parametrize("pattern", IGNORED_FOLDERS)
@pytest.mark.parametrize("prefix", ["", "part/"])
def test_ignored_folders(tmp_path: Path, pattern: str, prefix: str) -> None:
    put(tmp_path, f"{prefix}{plain(pattern)}/thumbnail.png", f"{prefix}1.png")
    assert names(tmp_path) == [f"{prefix}1.png"]
    assert names(tmp_path, faults=True) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows allows not all of these names")
@pytest.mark.parametrize("pattern", (*IGNORED_FILES, *NOTES, *BACKUPS, "README", "._1.png", ".hidden"))
def test_ignored_files(tmp_path: Path, pattern: str) -> None:
    put(tmp_path, plain(pattern), data=b"some text")
    put(tmp_path, "1.png")
    assert names(tmp_path) == ["1.png"]
    assert names(tmp_path, faults=True) == []


def test_the_docs_show_all_patterns() -> None:
    text = (DOCS / "train.md").read_text("utf-8")
    shown = IGNORED_FOLDERS + tuple(name for name in IGNORED_FILES if name.isprintable()) + NOTES + BACKUPS
    assert [pattern for pattern in shown if f"`{pattern}`" not in text] == []


@pytest.mark.parametrize(
    "name",
    [
        ".250-20 UNC.png",
        ".c",
        "c.png.bak",
        "c.png~",
        "c.txt",
        "c.jpg.1",
        "c.jpg_large",
        "c.png.part",
        "._c.png",
        "c.tmp",
    ],
)
def test_pictures_that_may_be_wanted_or_not(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    assert names(tmp_path) == []
    assert names(tmp_path, faults=True) == [name]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("c.heic", b"content"),
        ("c.png.crdownload", b""),
        (".c.png.icloud", b"bplist00\xd3\1"),
        (".c.png", b"damaged"),
        ("c", b""),
        ("c", b"\0\1\2\3"),
        ("c", b"GIF89a\0\0"),
        ("c", b"\0\0\0\x18ftypheic"),
        ("c", b"version https://git-lfs.github.com/spec/v1\n"),
        ("c.zip", b"PK\3\4\0\0"),
        ("c.mp4", b"\0\0\0\x18ftypmp42"),
        ("c.png.lnk", b"L\0\0\0\x01\x14\x02\0"),
        ("c.nef", b"II*\0" + bytes(60)),  # a TIFF that begins with a thumbnail
    ],
)
def test_what_cannot_be_taken(tmp_path: Path, name: str, data: bytes) -> None:
    put(tmp_path, name, data=data)
    assert names(tmp_path) == []
    assert names(tmp_path, faults=True) == [name]


def test_the_source_of_a_picture_lies_next_to_it(tmp_path: Path) -> None:
    put(tmp_path, "bolt.psd", "bolt.NEF", "nut.psd", data=b"8BPS")
    put(tmp_path, "bolt.png")
    assert names(tmp_path, faults=True) == ["nut.psd"]


def test_backups_lie_next_to_their_picture(tmp_path: Path) -> None:
    put(tmp_path, "bolt.png.bak", "BOLT.png~", "bolt.png_original", "bolt.old", "nut.png_original", "bolt.png.1")
    put(tmp_path, "bolt.png")
    assert names(tmp_path) == ["bolt.png"]
    assert names(tmp_path, faults=True) == ["bolt.png.1", "nut.png_original"]


def test_hidden_folders_count_if_they_hold_a_picture(tmp_path: Path) -> None:
    put(tmp_path, ".5 mm/deep/1", ".cache/.git/1.png")
    put(tmp_path, ".config/settings", ".config/._1.png", data=b"\0\1")
    put(tmp_path, ".6 mm/1.png", data=b"damaged")
    put(tmp_path, ".7 mm/IMG_1", data=b"\0\0\0\x18ftypheic")
    assert names(tmp_path, faults=True) == [".5 mm", ".6 mm", ".7 mm"]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path, "root/z/1.png", "share/2.png", "share/deep/3.png")
    root = tmp_path / "root"
    link(root / "a", root / "z")
    link(root / "share", tmp_path / "share")
    link(tmp_path / "share" / "again", tmp_path / "share")
    assert names(root) == ["share/2.png", "share/deep/3.png", "z/1.png"]
    assert names(root, faults=True) == []


def test_links_that_lead_nowhere_or_up(tmp_path: Path) -> None:
    put(tmp_path, "root/1.png", "elsewhere.png")
    root = tmp_path / "root"
    link(root / "gone", tmp_path / "missing")
    link(root / "gone.png", tmp_path / "missing.png")
    link(root / "self.png", root / "self.png")
    link(root / "up", tmp_path)
    link(root / ".#1.png", Path("user@host.1234"))  # an editor's lock
    assert names(root) == ["1.png"]
    assert names(root, faults=True) == ["gone", "gone.png", "self.png", "up"]


@pytest.mark.parametrize("count", [1, 3])
def test_hidden_links_to_the_folder_itself(tmp_path: Path, count: int) -> None:
    put(tmp_path, "1.png")
    for index in range(count):
        link(tmp_path / f".{index}", tmp_path)
    assert names(tmp_path) == ["1.png"]
    assert len(names(tmp_path, faults=True)) == count


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders")
def test_pipes_and_sockets_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "1.png")
    os.mkfifo(tmp_path / "2")
    monkeypatch.chdir(tmp_path)  # a socket's path may have 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("3")
        assert names(tmp_path, faults=True) == ["1.png", "2", "3"]


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "c").open("wb") as file:
        file.write(PNG)
        file.truncate(3 * 2**30)
    assert names(tmp_path) == ["c"]


def test_folders_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    real = os.scandir

    def scan(folder: Path) -> object:
        if Path(folder).name == "b":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scan)
    assert names(tmp_path) == ["a/1.png"]
    assert "Permission denied" in list_images(tmp_path).faults[tmp_path / "b"]
    for name in ("b", "nowhere"):
        with pytest.raises(OSError, match=r"Permission denied|nowhere"):
            list_images(tmp_path / name)


def test_a_drive_that_numbers_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/1.png", "b/1.png")
    link(tmp_path / "c", tmp_path / "a")
    real = Path.stat

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = real(path, follow_symlinks=follow_symlinks)
        return os.stat_result((found[0], 0, *found[2:]))

    monkeypatch.setattr(Path, "stat", stat)
    assert names(tmp_path) == ["a/1.png", "b/1.png"]


def test_one_folder_alone(tmp_path: Path) -> None:
    put(tmp_path, "b/1.png", "a/1.png", "2.png", "1")
    listing = list_folder(tmp_path)
    assert [path.name for path in listing.images] == ["1", "2.png"]
    assert [path.name for path in listing.folders] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "label"), [("M8.png", "M8"), ("M2.5", "M2.5"), ("M2.5.JPG", "M2.5"), ("a.b.jfif", "a.b"), ("x.heic", "x")]
)
def test_labels(name: str, label: str) -> None:
    assert label_of(Path("folder", name)) == label
