import re
from pathlib import Path

import pytest

from partsight.runtime import CommissionError
from partsight.runtime.calibration.commissioning import LineFrame, LineFrames, read_line_frames
from tests.runtime.calibration.commissioning.lines import LABELS, part, save


def shown(frames: LineFrames) -> list[tuple[str, str | None]]:
    return [(frame.path.name, frame.label) for frame in frames.frames]


def test_a_folder_for_each_part(tmp_path: Path) -> None:
    save(tmp_path / "red" / "b.png", part("red"))
    save(tmp_path / "red" / "morning" / "a.png", part("red"))
    save(tmp_path / "blue" / "c.png", part("blue"))
    frames = read_line_frames(tmp_path, LABELS)
    assert sorted(shown(frames)) == [("a.png", "red"), ("b.png", "red"), ("c.png", "blue")]
    assert frames.is_confirmed


def test_a_csv_names_files_next_to_it(tmp_path: Path) -> None:
    save(tmp_path / "a.png", part("red"))
    (tmp_path / "frames.csv").write_text("file,label\na.png,red\nb.png,\n", "utf-8")
    frames = read_line_frames(tmp_path / "frames.csv", LABELS)
    assert shown(frames) == [("a.png", "red"), ("b.png", None)]
    assert frames.frames[0].path == tmp_path / "a.png"


def test_a_folder_of_frames_is_open(tmp_path: Path) -> None:
    save(tmp_path / "a.png", part("red"))
    frames = read_line_frames(tmp_path, LABELS)
    assert shown(frames) == [("a.png", None)]
    assert not frames.is_confirmed


def test_frames_of_an_inner_folder_of_unknown_parts_are_one_group(tmp_path: Path) -> None:
    save(tmp_path / "line" / "red" / "a.png", part("red"))
    for name in ("x/1.png", "x/2.png", "3.png", "4.png"):
        save(tmp_path / "other" / name, part("red", seed=1))
    frames = read_line_frames(tmp_path / "line", LABELS, tmp_path / "other").frames
    assert [frame.label for frame in frames] == ["red", None, None, None, None]
    assert len({frame.group for frame in frames}) == 4


def test_confirmed_frames_of_other_parts_count_as_unknown(tmp_path: Path) -> None:
    confirmed = [LineFrame(tmp_path / "a.png", "red", ""), LineFrame(tmp_path / "b.png", "white", "", stands_for=3)]
    frames = read_line_frames(confirmed, LABELS)
    assert shown(frames) == [("a.png", "red"), ("b.png", None)]
    assert [frame.stands_for for frame in frames.frames] == [1, 3]


def test_a_part_that_the_package_lacks_is_named_with_its_nearest(tmp_path: Path) -> None:
    save(tmp_path / "yelow" / "a.png", part("red"))
    with pytest.raises(CommissionError, match=r"'yelow'.*yellow"):
        read_line_frames(tmp_path, LABELS)


@pytest.mark.parametrize("text", ["path,label\na.png,red\n", "file,label\n,red\n", "file,label\na.png\n"])
def test_a_csv_without_file_or_label_is_refused(tmp_path: Path, text: str) -> None:
    table = tmp_path / "frames.csv"
    table.write_text(text, "utf-8")
    with pytest.raises(CommissionError, match=re.escape(str(table))):
        read_line_frames(table, LABELS)


@pytest.mark.parametrize("name", ["missing", "empty", "missing.csv"])
def test_a_source_without_frames_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CommissionError, match=re.escape(str(tmp_path / name))):
        read_line_frames(tmp_path / name, LABELS)


def test_folders_next_to_images_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "red" / "a.png", part("red"))
    save(tmp_path / "b.png", part("red"))
    with pytest.raises(CommissionError, match=re.escape(str(tmp_path))):
        read_line_frames(tmp_path, LABELS)


def test_a_folder_of_kept_frames_needs_its_reader(tmp_path: Path) -> None:
    save(tmp_path / "confirmed" / "red" / "a.png", part("red"))
    with pytest.raises(CommissionError, match="confirmed_frames"):
        read_line_frames(tmp_path, LABELS)


def test_unusable_entries_are_named(tmp_path: Path) -> None:
    save(tmp_path / "red" / "a.png", part("red"))
    (tmp_path / "red" / "b.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42")
    frames = read_line_frames(tmp_path, LABELS)
    assert {path.name for path in frames.faults} == {"b.mp4"}
