"""Packages that the line may take, and the way of one onto the line and back."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from partsight.runtime import Recognizer
from partsight.runtime.core import PackageError, PageError, SignatureError
from partsight.runtime.line import Line
from partsight.runtime.package import ModelPackage, sign_package
from partsight.runtime.page.improve.package_shelf import PackageShelf
from tests.runtime.line.scripted import ScriptedCamera
from tests.runtime.package.signed import new_key, signed_copy
from tests.tiny import ONE_THREAD, tiny_manifest, write_tiny_package


def load(path: str | Path) -> Recognizer:
    return Recognizer(path, engine=ONE_THREAD)


def write(path: Path, threshold: float = 0.5) -> str:
    """Write another package and return its id."""
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=threshold)
    return ModelPackage.examine(write_tiny_package(path, decision=decision)).package_id


@dataclass
class Place:
    """A line that starts from `start`, and its shelf."""

    line: Line
    start: Path
    data: Path
    load: Callable[[str | Path], Recognizer] = load

    def shelf(self) -> PackageShelf:
        return PackageShelf(self.line, self.start, self.data, self.load)


@pytest.fixture
def place(tiny_package: Path, tmp_path: Path) -> Iterator[Place]:
    start = Path(shutil.copytree(tiny_package, tmp_path / "line3.partsight"))
    (tmp_path / "data").mkdir()
    with Line(load(start), {"c": lambda: ScriptedCamera([], ends=False)}) as line:
        yield Place(line, start, tmp_path / "data")


@pytest.fixture
def linked(place: Place) -> Place:
    """The same line, but PACKAGE is a link."""
    place.start.rename(place.start.with_name("first.partsight"))
    place.start.symlink_to("first.partsight")
    return place


def test_it_lists_what_the_line_started_with_and_what_people_made(place: Place) -> None:
    shelf = place.shelf()
    made = shelf.folder / "a.partsight"
    made_id = write(made)
    shelf.add(made, "emil")
    found = {package.facts.package_id: package for package in shelf.packages()}
    assert set(found) == {place.line.package_id, made_id}
    assert [found[made_id].made_by, found[made_id].is_active, found[place.line.package_id].is_active] == [
        "emil", False, True,
    ]  # fmt: skip
    assert (found[made_id].facts.parts, found[made_id].facts.kind, found[made_id].facts.problem) == (6, "trained", "")
    assert found[made_id].facts.size > 1000


def test_a_swap_and_the_way_back(place: Place) -> None:
    shelf, before = place.shelf(), place.line.package_id
    other = write(shelf.folder / "a.partsight")
    done = shelf.swap(other)
    assert (done.before, done.after, place.line.package_id) == (before, other, other)
    assert [package.facts.package_id for package in shelf.packages() if package.is_previous] == [before]
    assert shelf.swapped > 0
    shelf.swap(before)
    assert place.line.package_id == before
    assert [package.facts.package_id for package in shelf.packages() if package.is_previous] == [other]


def test_a_swap_turns_the_link(linked: Place) -> None:
    shelf = linked.shelf()
    other = write(shelf.folder / "a.partsight")
    shelf.swap(other)
    assert linked.start.is_symlink()
    assert ModelPackage.examine(linked.start).package_id == other
    assert [path.name for path in linked.start.parent.iterdir() if path.name.startswith(".")] == []


def test_after_a_restart_it_still_has_the_first_package(linked: Place) -> None:
    shelf, first = linked.shelf(), linked.line.package_id
    shelf.swap(write(shelf.folder / "a.partsight"))
    after = linked.shelf()
    after.swap(first)
    assert linked.start.resolve().name == "first.partsight"


def test_a_folder_stays_where_it_is(place: Place) -> None:
    shelf = place.shelf()
    first = place.line.package_id
    shelf.swap(write(shelf.folder / "a.partsight"))
    assert (shelf.is_link, ModelPackage.examine(place.start).package_id) == (False, first)


def test_a_link_that_cannot_be_turned_is_said(linked: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = linked.shelf()
    other = write(shelf.folder / "a.partsight")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    shelf.swap(other)
    assert linked.line.package_id == other
    assert shelf.link_fault


@pytest.mark.parametrize("package_id", ["", "0" * 16, "../../etc", "x" * 5000])
def test_a_package_that_is_not_there(place: Place, package_id: str) -> None:
    with pytest.raises(PageError):
        place.shelf().swap(package_id)


def test_the_active_package_needs_no_swap(place: Place) -> None:
    with pytest.raises(PageError):
        place.shelf().swap(place.line.package_id)
    assert place.line.counters().swaps == 0


def test_a_damaged_package_says_why(place: Place) -> None:
    shelf = place.shelf()
    write(shelf.folder / "a.partsight")
    (shelf.folder / "a.partsight" / "manifest.json").write_bytes(b"{}")
    (damaged,) = [package for package in shelf.packages() if not package.is_active]
    assert (damaged.facts.package_id, bool(damaged.facts.problem)) == ("", True)


def test_a_package_that_the_line_refuses_leaves_the_old_one(place: Place) -> None:
    shelf, before = place.shelf(), place.line.package_id
    other = write(shelf.folder / "a.partsight")
    (shelf.folder / "a.partsight" / "model.fp32.onnx").write_bytes(b"damaged")
    with pytest.raises(PackageError):
        shelf.swap(other)
    assert place.line.package_id == before


def test_the_line_takes_exactly_what_was_chosen(place: Place) -> None:
    """Else somebody could approve one package and the line take another."""
    shelf, before = place.shelf(), place.line.package_id
    chosen = write(shelf.folder / "a.partsight")

    def load_late(path: str | Path) -> Recognizer:
        shutil.rmtree(path)
        write(Path(path), 0.6)
        return load(path)

    place.load = load_late
    with pytest.raises(PageError):
        place.shelf().swap(chosen)
    assert place.line.package_id == before


def test_a_swap_by_another_program_is_the_previous_one(place: Place) -> None:
    shelf, before = place.shelf(), place.line.package_id
    write(shelf.folder / "a.partsight")
    place.line.swap(shelf.folder / "a.partsight", load)
    assert {package.facts.package_id: package.is_previous for package in shelf.packages()}[before]


def test_its_report(place: Place) -> None:
    shelf = place.shelf()
    assert shelf.report(place.line.package_id).startswith(b"<!doctype html>")
    (place.start / "report.html").write_bytes(b"<script>")
    with pytest.raises(PackageError):
        shelf.report(place.line.package_id)


def test_an_unsigned_package_is_offered_after_it_was_signed(tiny_package: Path, tmp_path: Path) -> None:
    key = new_key(tmp_path / "key")
    start = signed_copy(tiny_package, tmp_path / "line3.partsight", key)
    (tmp_path / "data").mkdir()

    def load_signed(path: str | Path) -> Recognizer:
        return Recognizer(path, engine=ONE_THREAD, trusted_keys=[key.public])

    with Line(load_signed(start), {"c": lambda: ScriptedCamera([], ends=False)}) as line:
        shelf = PackageShelf(line, start, tmp_path / "data", load_signed)
        other = write(shelf.folder / "a.partsight")
        assert (shelf.find(other).facts.is_unsigned, shelf.find(line.package_id).facts.is_unsigned) == (True, False)
        with pytest.raises(SignatureError):
            shelf.swap(other)
        sign_package(shelf.folder / "a.partsight", key)
        assert not shelf.find(other).facts.problem
        shelf.swap(other)
        assert line.package_id == other
