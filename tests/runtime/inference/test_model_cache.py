import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from partsight.runtime.core.errors import OutputError
from partsight.runtime.inference import model_cache
from partsight.runtime.inference.model_cache import open_cache, seal
from partsight.runtime.signing.trust import check_cache

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda data: data[:-1],
    "one bit": lambda data: data[:700] + bytes([data[700] ^ 1]) + data[701:],
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A compiled model in a cache, sealed."""
    cache = open_cache(tmp_path / "cache")
    assert cache is not None
    path = cache / "1.blob"
    path.write_bytes(bytes(range(256)) * 4)
    seal(cache)
    return path


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.event, record.path) for record in caplog.records]  # type: ignore[attr-defined]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_model_stays(model: Path) -> None:
    before = model.read_bytes()
    assert open_cache(model.parent) == model.parent
    assert model.read_bytes() == before
    assert names(model.parent) == ["1.blob", "1.blob.sha256"]


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_whatever_the_umask_nobody_else_may_write_there(tmp_path: Path) -> None:
    cache = tmp_path / "new" / "cache"
    before = os.umask(0o002)
    try:
        assert open_cache(cache) == cache
    finally:
        os.umask(before)
    check_cache(cache)
    assert [path.stat().st_mode & 0o777 for path in (cache, cache.parent)] == [0o700, 0o755]


def test_a_folder_that_cannot_be_listed_is_logged(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenVINO would end the process."""

    def refuse(_: Path) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert open_cache(model.parent) is None
    assert logged(caplog) == [("cache_unusable", str(model.parent))]


def filled(model: Path, count: int) -> Path:
    """Return the cache with so many sealed models, each newer than the one before."""
    for number in range(1, count + 1):
        path = model.with_name(f"{number}.blob")
        if path != model:
            path.write_bytes(b"whole")
        os.utime(path, (number, number))
    seal(model.parent)
    return model.parent


def test_the_newest_models_stay_and_no_other_is_read(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, read = filled(model, 11), []
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, *args, **options: (read.append(path.name), opened(path, *args, **options))[1]
    )
    open_cache(cache)
    stay = sorted(f"{number}.blob" for number in range(4, 12))
    assert names(cache) == sorted([*stay, *(f"{name}.sha256" for name in stay)])
    assert sorted(name for name in read if name.endswith(".blob")) == stay


def test_an_old_model_that_another_process_uses_stays_on_windows(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, unlink = filled(model, 11), Path.unlink

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        if path.name == "2.blob":
            raise PermissionError("it is being used by another process")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert open_cache(cache) == cache
    assert {"2.blob", "2.blob.sha256"} < set(names(cache))
    assert not {"1.blob", "3.blob"} & set(names(cache))
    (cache / "2.blob").write_bytes(b"damaged")
    os.utime(cache / "2.blob", (1, 1))
    assert open_cache(cache) is None  # OpenVINO would load it


def test_models_that_openvino_made_read_only_are_removed_on_windows(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, unlink = filled(model, 11), Path.unlink
    for path in cache.glob("*.blob"):
        path.chmod(0o440)
    (cache / "half.blob").write_bytes(b"not sealed")
    (cache / "half.blob").chmod(0o440)

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        if path.exists() and not path.stat().st_mode & 0o200:
            raise PermissionError("it is read-only")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert open_cache(cache) == cache
    assert sorted(cache.glob("*.blob")) == sorted(cache / f"{number}.blob" for number in range(5, 12))


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_model_is_removed(model: Path, damage: Callable[[bytes], bytes]) -> None:
    model.write_bytes(damage(model.read_bytes()))
    open_cache(model.parent)
    assert names(model.parent) == []


def test_a_model_without_a_seal_is_removed(model: Path) -> None:
    """Its process was killed before it was sealed."""
    (model.parent / "2.blob").write_bytes(b"half")
    open_cache(model.parent)
    assert names(model.parent) == ["1.blob", "1.blob.sha256"]


def test_other_files_of_the_folder_are_left_alone(model: Path) -> None:
    (model.parent / "model.engine").write_bytes(b"TensorRT's")
    open_cache(model.parent)
    assert "model.engine" in names(model.parent)


def test_a_folder_that_cannot_be_made_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert open_cache(tmp_path / "file" / "cache") is None
    assert logged(caplog) == [("cache_unusable", str(tmp_path / "file" / "cache"))]


def test_a_model_that_cannot_be_removed_is_not_used(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.write_bytes(b"damaged")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert open_cache(model.parent) is None


def test_a_seal_that_cannot_be_written_is_logged(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (model.parent / "2.blob").write_bytes(b"whole")

    def full(*_: object) -> None:
        raise OutputError("No space left on device")

    monkeypatch.setattr(model_cache, "write_file", full)
    with caplog.at_level(logging.WARNING):
        seal(model.parent)
    assert logged(caplog) == [("cache_unusable", str(model.parent))]
    assert "2.blob" in caplog.text
