import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from partsight.runtime.engines import compiled
from partsight.runtime.engines.compiled import open_cache, seal
from partsight.runtime.errors import OutputError

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


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_model_stays(model: Path) -> None:
    before = model.read_bytes()
    assert open_cache(model.parent) == model.parent
    assert model.read_bytes() == before
    assert names(model.parent) == ["1.blob", "1.blob.sha256"]


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


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert open_cache(tmp_path / "file" / "cache") is None
    assert "each start compiles" in caplog.text


def test_a_model_that_cannot_be_removed_is_not_used(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.write_bytes(b"damaged")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert open_cache(model.parent) is None


def test_a_seal_that_cannot_be_written_is_told(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (model.parent / "2.blob").write_bytes(b"whole")

    def full(*_: object) -> None:
        raise OutputError("No space left on device")

    monkeypatch.setattr(compiled, "write_file", full)
    with caplog.at_level(logging.WARNING):
        seal(model.parent)
    assert "2.blob: cannot be kept" in caplog.text
