import csv
import os
import re
from pathlib import Path

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks import open_sink
from partsight.runtime.sinks.csv import escape_formula, unescape_formula
from tests.runtime.sinks.kinds import event, read_csv


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1"])
def test_formulas_are_guarded(text: str, tmp_path: Path) -> None:
    assert escape_formula(text) == f"'{text}"
    assert unescape_formula(escape_formula(text)) == text
    with open_sink(f"csv:{tmp_path}/out.csv") as sink:
        sink.write(event(0, text, error=text, source=text))
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        for cell in list(csv.reader(file))[1]:
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_header_is_written_once(tmp_path: Path) -> None:
    for sequence in range(2):
        with open_sink(f"csv:{tmp_path}/out.csv") as sink:
            sink.write(event(sequence))
    lines = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    assert lines[0] == (
        "schema_version,outcome,camera,source,sequence,run,timestamp,package_id,signed_by,label,score,margin,top,"
        "latency_ms,error,reason,threshold,least_margin,pose,reference"
    )


def test_a_table_of_an_earlier_partsight_keeps_its_columns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its readers know them; only a new file has all."""
    path = tmp_path / "out.csv"
    with open_sink(f"csv:{path}") as sink:
        sink.write(event(0))
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row[:15] for row in csv.reader(file)]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\r\n").writerows(rows)
    with open_sink(f"csv:{path}") as sink:
        sink.write(event(1))
    assert [(record.sequence, record.score, record.reason) for record in read_csv(path)] == [
        (0, 0.75, None),
        (1, 0.75, None),
    ]
    assert {len(line) for line in csv.reader(path.read_text(encoding="utf-8").splitlines())} == {15}
    assert [record.event for record in caplog.records if hasattr(record, "event")] == ["earlier_table"]


@pytest.mark.parametrize("kept", [1, 40, 150, -1])
def test_torn_row_is_cut_off(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "out.csv"
    label = 'a\nb"\r\n"'  # line breaks inside quotes end no row
    with open_sink(f"csv:{path}") as sink:
        sink.write(event(0, label))
        before = path.read_bytes()
        sink.write(event(1, label, camera='l"\n', error='x\n"y\n' * 20))
    path.write_bytes(before + path.read_bytes()[len(before) :][:kept])
    with open_sink(f"csv:{path}") as sink:
        assert path.read_bytes() == before
        sink.write(event(2))
    assert [record.sequence for record in read_csv(path)] == [0, 2]


def test_torn_header(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(b"schema_ver")
    with open_sink(f"csv:{path}") as sink:
        sink.write(event(0))
    assert read_csv(path) == [event(0).record]


def test_torn_row_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partsight.runtime.sinks.csv.BLOCK_BYTES", 7)
    test_torn_row_is_cut_off(tmp_path, 150)


def test_table_of_other_columns(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_bytes(b"label,score\r\nM8,0.5\r\n")
    with pytest.raises(SinkError, match=re.escape(str(tmp_path / "out.csv"))):
        open_sink(f"csv:{tmp_path}/out.csv")


def test_each_rotated_table_has_the_header(tmp_path: Path) -> None:
    with open_sink(f"csv:{tmp_path}/out.csv?rotate_mb=0.0001") as sink:
        for sequence in range(3):
            sink.write(event(sequence))
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["out.000001.csv", "out.000002.csv", "out.csv"]
    assert [record.sequence for file in files for record in read_csv(file)] == [0, 1, 2]


def test_full_disk_when_a_table_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    with open_sink(f"csv:{tmp_path}/out.csv?rotate_mb=0.0001&keep=2") as sink:
        for sequence in range(3):
            sink.write(event(sequence))
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            for _ in range(5):
                with pytest.raises(SinkError, match="No space left on device"):
                    sink.write(event(3))
        files = sorted(tmp_path.iterdir())
        assert [file.name for file in files] == ["out.000002.csv", "out.000003.csv", "out.csv"]
        sink.write(event(3))
    files = sorted(tmp_path.iterdir())
    assert [record.sequence for file in files for record in read_csv(file)] == [1, 2, 3]
