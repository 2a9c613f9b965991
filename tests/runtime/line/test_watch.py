import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from partsight.runtime import PackageError, Recognizer
from partsight.runtime.line import Line, Watch
from partsight.runtime.package.sign import sign_package
from tests.runtime.line.scripted import ScriptedCamera
from tests.runtime.package.signed import new_key, signed_copy
from tests.tiny import solid, tiny_manifest, tiny_matching, write_tiny_package
from tests.waiting import HANG_S, wait_until


def load(path: str | Path) -> Recognizer:
    return Recognizer(path, threads=1)


@pytest.fixture
def place(tiny_package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_package, tmp_path / "line3.partsight"))


@pytest.fixture
def line(place: Path) -> Iterator[Line]:
    camera = ScriptedCamera([solid("red")], ends=False)
    with Line(load(place), {"c": lambda: camera}) as line, Watch(line, place, load, every_s=0.01):
        yield line


@pytest.fixture
def look_again(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Waits until the watch has looked three times more: it has acted on all but the last."""
    looks: list[int] = []
    look = Watch._look
    monkeypatch.setattr(Watch, "_look", lambda watch: (looks.append(1), look(watch))[1])

    def wait() -> None:
        seen = len(looks)
        wait_until(lambda: len(looks) >= seen + 3)

    return wait


def replace(place: Path, new: Path) -> None:
    place.rename(place.with_suffix(".old"))
    new.rename(place)


def test_another_package_at_the_path_answers(
    line: Line, place: Path, tmp_path: Path, look_again: Callable[[], None]
) -> None:
    before = line.package_id
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    replace(place, write_tiny_package(tmp_path / "new.partsight", decision=decision))
    wait_until(lambda: line.counters().swaps == 1)
    assert line.package_id != before
    look_again()
    assert line.counters().swaps == 1  # the same one is not put there again and again


def test_a_package_that_came_before_the_watch_began_answers(place: Path, tmp_path: Path) -> None:
    camera = ScriptedCamera([solid("red")], ends=False)
    with Line(load(place), {"c": lambda: camera}) as line:
        decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
        replace(place, write_tiny_package(tmp_path / "new.partsight", decision=decision))
        with Watch(line, place, load, every_s=0.01):
            wait_until(lambda: line.counters().swaps == 1)


def test_a_bad_package_is_told_once(
    line: Line, place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, look_again: Callable[[], None]
) -> None:
    before = line.package_id
    new = write_tiny_package(tmp_path / "new.partsight", labels=("a", "b"))
    with caplog.at_level(logging.ERROR, "partsight.line"):
        replace(place, new)
        wait_until(lambda: line.counters().refused_swaps == 1)
        look_again()
    assert caplog.text.count("is refused") == 1
    assert (line.counters().refused_swaps, line.package_id) == (1, before)


def test_a_package_that_is_signed_later_answers_then(
    tiny_package: Path, tmp_path: Path, look_again: Callable[[], None]
) -> None:
    key = new_key(tmp_path / "key")
    place = signed_copy(tiny_package, tmp_path / "line3.partsight", key)
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    new = write_tiny_package(tmp_path / "new.partsight", decision=decision)

    def load_signed(path: str | Path) -> Recognizer:
        return Recognizer(path, threads=1, trusted_keys=[key.public])

    camera = ScriptedCamera([solid("red")], ends=False)
    with Line(load_signed(place), {"c": lambda: camera}) as line, Watch(line, place, load_signed, every_s=0.01):
        replace(place, new)
        wait_until(lambda: line.counters().refused_swaps == 1)
        look_again()
        assert line.counters().refused_swaps == 1
        sign_package(place, key)
        wait_until(lambda: line.counters().swaps == 1)


def test_a_package_that_is_copied_into_its_place_answers_when_it_is_whole(
    line: Line, place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its manifest comes first, its largest file last; nothing else of the path changes in between."""
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    new = write_tiny_package(tmp_path / "new.partsight", decision=decision)
    model = (place / "model.fp32.onnx").read_bytes()
    with caplog.at_level(logging.ERROR, "partsight.line"):
        for name in ("gallery", "report.html", "manifest.json"):
            copy = shutil.copytree if (new / name).is_dir() else shutil.copy2
            copy(new / name, place / name, **({"dirs_exist_ok": True} if (new / name).is_dir() else {}))
        wait_until(lambda: line.counters().refused_swaps > 0)
        assert (place / "model.fp32.onnx").read_bytes() == model
        (place / "model.fp32.onnx").write_bytes((new / "model.fp32.onnx").read_bytes())
        wait_until(lambda: line.counters().swaps == 1)
    assert caplog.text.count("is refused") == 1


def test_a_package_that_could_not_be_read_is_tried_again(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
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
        Line(load(place), {"c": lambda: ScriptedCamera([], ends=False)}) as line,
        Watch(line, place, load_at_last, every_s=0.01),
    ):
        replace(place, write_tiny_package(tmp_path / "new.partsight", decision=decision))
        wait_until(lambda: line.counters().swaps == 1)
    assert caplog.text.count("is refused") == 1


def test_a_path_that_cannot_be_read_is_told_once_until_it_can(
    line: Line, place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, look_again: Callable[[], None]
) -> None:
    """Else whoever brought a package that the line may not read would wait for ever, and not know why."""
    unreadable = write_tiny_package(tmp_path / "unreadable.partsight")
    (unreadable / "manifest.json").unlink()
    (unreadable / "manifest.json").mkdir()  # even root cannot read it
    before = line.package_id
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    with caplog.at_level(logging.ERROR, "partsight.line"):
        replace(place, unreadable)
        wait_until(lambda: "cannot be read" in caplog.text or "is no file" in caplog.text)
        look_again()
        assert (caplog.text.count("goes on: "), line.package_id) == (1, before)
        place.rename(tmp_path / "away")
        write_tiny_package(tmp_path / "new.partsight", decision=decision).rename(place)
        wait_until(lambda: line.counters().swaps == 1)
    assert caplog.text.count("goes on: ") == 1


def test_while_nothing_is_there_the_old_one_stays(line: Line, place: Path, look_again: Callable[[], None]) -> None:
    shutil.rmtree(place)
    look_again()
    assert (line.counters().swaps, line.counters().refused_swaps) == (0, 0)


def test_what_answers_needs_its_folder_no_more(verified_package: Path, tmp_path: Path) -> None:
    """Else frames would fail between the moment when another package takes its place and the swap."""
    place = Path(shutil.copytree(verified_package, tmp_path / "line3.partsight"))
    recognizer, told = load(place), []

    def remove() -> None:
        recognizer.hold()  # the line does; here it is waited for
        shutil.rmtree(place)

    camera = ScriptedCamera([solid("red"), remove, solid("blue")])
    with Line(recognizer, {"c": lambda: camera}, on_result=told.append) as line:
        line.wait(HANG_S)
    assert [item.record.label for item in told] == ["red", "blue"]


def test_the_first_package_is_held_in_memory(verified_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    monkeypatch.setattr(Recognizer, "hold", lambda _: held.set())
    with Line(load(verified_package), {"c": lambda: ScriptedCamera([], ends=False)}):
        assert held.wait(HANG_S)


def test_a_package_whose_golden_image_is_damaged_is_refused(
    verified_package: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In the swap, and not when a frame first needs it."""
    place = Path(shutil.copytree(verified_package, tmp_path / "line3.partsight"))
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    new = write_tiny_package(tmp_path / "new.partsight", decision=decision, matching=tiny_matching())
    (new / "gallery" / "green.png").write_bytes(b"damaged")
    with Line(load(place), {"c": lambda: ScriptedCamera([], ends=False)}) as line:
        before = line.package_id
        with pytest.raises(PackageError, match=r"green\.png has SHA-256"):
            line.swap(new, load)
        assert (line.package_id, line.counters().refused_swaps) == (before, 1)


def test_its_thread_ends(tiny_package: Path) -> None:
    camera = ScriptedCamera([], ends=False)
    with Line(load(tiny_package), {"c": lambda: camera}) as line:
        watch = Watch(line, tiny_package, load, every_s=60)
        watch.start()
        watch.close()
        assert "partsight-watch" not in {thread.name for thread in threading.enumerate()}
