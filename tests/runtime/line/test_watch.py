import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from partsight.runtime import PackageError, Recognizer
from partsight.runtime.core import MANIFEST_NAME
from partsight.runtime.line import Line, Watch, watch
from partsight.runtime.package.sign import sign_package
from tests.runtime.line.scripted import ScriptedCamera
from tests.runtime.package.signed import new_key, signed_copy
from tests.tiny import ONE_THREAD, solid, tiny_manifest, tiny_matching, write_tiny_package
from tests.waiting import HANG_S, wait_until


def load(path: str | Path) -> Recognizer:
    return Recognizer(path, engine=ONE_THREAD)


@pytest.fixture
def watched(tiny_package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_package, tmp_path / "line3.partsight"))


@pytest.fixture
def line(watched: Path) -> Iterator[Line]:
    camera = ScriptedCamera([solid("red")], ends=False)
    with Line(load(watched), {"c": lambda: camera}) as line, Watch(line, watched, load, every_s=0.01):
        yield line


@pytest.fixture
def look_again(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Waits until the watch has looked three times more: it has acted on all but the last."""
    looks: list[int] = []
    read = watch.read_file

    def count(folder: Path, name: str, limit: int) -> bytes:
        if name == MANIFEST_NAME:
            looks.append(1)
        return read(folder, name, limit)

    monkeypatch.setattr(watch, "read_file", count)

    def wait() -> None:
        seen = len(looks)
        wait_until(lambda: len(looks) >= seen + 3)

    return wait


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.event for record in caplog.records]  # type: ignore[attr-defined]


def replace(watched: Path, new: Path) -> None:
    watched.rename(watched.with_suffix(".old"))
    new.rename(watched)


def test_another_package_at_the_path_answers(
    line: Line, watched: Path, tmp_path: Path, look_again: Callable[[], None]
) -> None:
    before = line.package_id
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    replace(watched, write_tiny_package(tmp_path / "new.partsight", decision=decision))
    wait_until(lambda: line.counters().swaps == 1)
    assert line.package_id != before
    look_again()
    assert line.counters().swaps == 1  # the same one is not put there again and again


def test_a_swap_by_another_stands_until_a_new_package_is_at_the_path(
    line: Line, watched: Path, tmp_path: Path, look_again: Callable[[], None]
) -> None:
    other, third = (
        write_tiny_package(
            tmp_path / f"{threshold}.partsight",
            decision=msgspec.structs.replace(tiny_manifest().decision, threshold=threshold),
        )
        for threshold in (0.5, 0.6)
    )
    look_again()
    swapped = line.swap(other, load)
    look_again()
    assert (line.package_id, line.counters().swaps) == (swapped, 1)
    replace(watched, third)
    wait_until(lambda: line.counters().swaps == 2)
    assert line.package_id != swapped


def test_a_package_that_came_before_the_watch_began_answers(watched: Path, tmp_path: Path) -> None:
    camera = ScriptedCamera([solid("red")], ends=False)
    with Line(load(watched), {"c": lambda: camera}) as line:
        decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
        replace(watched, write_tiny_package(tmp_path / "new.partsight", decision=decision))
        with Watch(line, watched, load, every_s=0.01):
            wait_until(lambda: line.counters().swaps == 1)


def test_a_bad_package_is_logged_once(
    line: Line, watched: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, look_again: Callable[[], None]
) -> None:
    before = line.package_id
    new = write_tiny_package(tmp_path / "new.partsight", labels=("a", "b"))
    with caplog.at_level(logging.ERROR, "partsight.line"):
        replace(watched, new)
        wait_until(lambda: line.counters().refused_swaps == 1)
        look_again()
    assert events(caplog) == ["package_refused"]
    assert (line.counters().refused_swaps, line.package_id) == (1, before)


def test_a_package_that_is_signed_later_answers_then(
    tiny_package: Path, tmp_path: Path, look_again: Callable[[], None]
) -> None:
    key = new_key(tmp_path / "key")
    watched = signed_copy(tiny_package, tmp_path / "line3.partsight", key)
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    new = write_tiny_package(tmp_path / "new.partsight", decision=decision)

    def load_signed(path: str | Path) -> Recognizer:
        return Recognizer(path, engine=ONE_THREAD, trusted_keys=[key.public])

    camera = ScriptedCamera([solid("red")], ends=False)
    with Line(load_signed(watched), {"c": lambda: camera}) as line, Watch(line, watched, load_signed, every_s=0.01):
        replace(watched, new)
        wait_until(lambda: line.counters().refused_swaps == 1)
        look_again()
        assert line.counters().refused_swaps == 1
        sign_package(watched, key)
        wait_until(lambda: line.counters().swaps == 1)


def test_a_package_that_is_copied_into_its_place_answers_when_it_is_whole(
    line: Line, watched: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its manifest comes first, its largest file last; nothing else of the path changes in between."""
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    new = write_tiny_package(tmp_path / "new.partsight", decision=decision)
    model = (watched / "model.fp32.onnx").read_bytes()
    with caplog.at_level(logging.ERROR, "partsight.line"):
        for name in ("gallery", "report.html", "manifest.json"):
            copy = shutil.copytree if (new / name).is_dir() else shutil.copy2
            copy(new / name, watched / name, **({"dirs_exist_ok": True} if (new / name).is_dir() else {}))
        wait_until(lambda: line.counters().refused_swaps > 0)
        assert (watched / "model.fp32.onnx").read_bytes() == model
        (watched / "model.fp32.onnx").write_bytes((new / "model.fp32.onnx").read_bytes())
        wait_until(lambda: line.counters().swaps == 1)
    assert events(caplog) == ["package_refused"]


def test_a_package_that_could_not_be_read_is_tried_again(
    watched: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk or a network may come back, and no file has changed then."""
    left = [3]

    def load_at_last(path: str | Path) -> Recognizer:
        left[0] -= 1
        if left[0] >= 0:
            raise PackageError("a file cannot be read") from OSError(5, "Input/output error")
        return load(path)

    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    with (
        caplog.at_level(logging.ERROR, "partsight.line"),
        Line(load(watched), {"c": lambda: ScriptedCamera([], ends=False)}) as line,
        Watch(line, watched, load_at_last, every_s=0.01),
    ):
        replace(watched, write_tiny_package(tmp_path / "new.partsight", decision=decision))
        wait_until(lambda: line.counters().swaps == 1)
    assert events(caplog) == ["package_refused"]


def test_a_path_that_cannot_be_read_is_logged_once_until_it_can(
    line: Line, watched: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, look_again: Callable[[], None]
) -> None:
    """Else whoever brought a package that the line may not read would wait for ever, and not know why."""
    unreadable = write_tiny_package(tmp_path / "unreadable.partsight")
    (unreadable / "manifest.json").unlink()
    (unreadable / "manifest.json").mkdir()  # even root cannot read it
    before = line.package_id
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    with caplog.at_level(logging.ERROR, "partsight.line"):
        replace(watched, unreadable)
        wait_until(lambda: events(caplog) == ["package_unreadable"])
        look_again()
        assert (events(caplog), line.package_id) == (["package_unreadable"], before)
        watched.rename(tmp_path / "away")
        write_tiny_package(tmp_path / "new.partsight", decision=decision).rename(watched)
        wait_until(lambda: line.counters().swaps == 1)
    assert events(caplog) == ["package_unreadable"]


def test_while_nothing_is_there_the_old_one_stays(line: Line, watched: Path, look_again: Callable[[], None]) -> None:
    shutil.rmtree(watched)
    look_again()
    assert (line.counters().swaps, line.counters().refused_swaps) == (0, 0)


def test_a_preloaded_package_needs_its_folder_no_more(matching_package: Path, tmp_path: Path) -> None:
    """Else frames would fail between the moment when another package replaces the folder and the swap."""
    watched = Path(shutil.copytree(matching_package, tmp_path / "line3.partsight"))
    recognizer, events_of_frames = load(watched), []

    def remove() -> None:
        recognizer.preload()  # the line does; here it is waited for
        shutil.rmtree(watched)

    camera = ScriptedCamera([solid("red"), remove, solid("blue")])
    with Line(recognizer, {"c": lambda: camera}, on_result=events_of_frames.append) as line:
        line.wait(HANG_S)
    assert [event.record.label for event in events_of_frames] == ["red", "blue"]


def test_the_first_package_is_preloaded(matching_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preloaded = threading.Event()
    monkeypatch.setattr(Recognizer, "preload", lambda _: preloaded.set())
    with Line(load(matching_package), {"c": lambda: ScriptedCamera([], ends=False)}):
        assert preloaded.wait(HANG_S)


def test_a_package_whose_golden_image_is_damaged_is_refused(
    matching_package: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In the swap, and not when a frame first needs it."""
    watched = Path(shutil.copytree(matching_package, tmp_path / "line3.partsight"))
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    new = write_tiny_package(tmp_path / "new.partsight", decision=decision, matching=tiny_matching())
    (new / "gallery" / "green.png").write_bytes(b"damaged")
    with Line(load(watched), {"c": lambda: ScriptedCamera([], ends=False)}) as line:
        before = line.package_id
        with pytest.raises(PackageError, match=r"green\.png"):
            line.swap(new, load)
        assert (line.package_id, line.counters().refused_swaps) == (before, 1)


def test_its_thread_ends(tiny_package: Path) -> None:
    camera = ScriptedCamera([], ends=False)
    with Line(load(tiny_package), {"c": lambda: camera}) as line:
        watching = Watch(line, tiny_package, load, every_s=60)
        watching.start()
        watching.close()
        assert "partsight-watch" not in {thread.name for thread in threading.enumerate()}
