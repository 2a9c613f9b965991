"""The PLC's table, as people save it, against the labels of a package."""

import os
import tracemalloc
import unicodedata
from pathlib import Path

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks.registers import NumberTable, compare_cameras, compare_labels, read_labels

NFC, NFD = (unicodedata.normalize(form, "Mutter ä") for form in ("NFC", "NFD"))

READ = {
    "bom, crlf": b"\xef\xbb\xbfnumber,label\r\n1,M8\r\n2,M10\r\n",
    "semicolons": b"number;label\r\n1;M8\r\n2;M10\r\n",
    "tabs, utf-16": "number\tlabel\r\n1\tM8\r\n2\tM10\r\n".encode("utf-16"),
    "utf-16, big endian": "\ufeffnumber,label\n1,M8\n2,M10\n".encode("utf-16-be"),
    "capitals": b"Number,LABEL\n1,M8\n2,M10\n",
    "spaces": b" number , label\n 1 , M8 \n2,  M10\t\n",
    "quotes after a space": b'number, label\n1, "M8"\n2, "M10"\n',
    "empty rows": b"number,label\n\n1,M8\n,\n2,M10\n,\n\n",
    "excel's first line": b"sep=;\r\nnumber;label\r\n1;M8\r\n2;M10\r\n",
    "other columns and order": b"label,note,number\nM8,left,1\nM10,,2\n",
    "empty cells at the end": b"number,label,\n1,M8,,\n2,M10\n",
    "old Mac": b"number,label\r1,M8\r2,M10\r",
    "zeros in front": b"number,label\n001,M8\n002,M10\n",
}

REFUSED = {
    "empty": (b"", "number,label"),
    "header alone": (b"number,label\n", "number,label"),
    "header and empty rows": (b"number,label\n,\n\n", "number,label"),
    "no header": (b"1,M8\n2,M10\n", "'1,M8'"),
    "other header": (b"id,part\n1,M8\n", "'id,part'"),
    "two columns label": (b"number,label,label\n1,M8,M10\n", "begins with"),
    "cp1252": (b"number,label\n1,Mutter \xe4\n", 'byte 22.*"CSV UTF-8"'),
    "a workbook": (b"PK\x03\x04\x14\x00\xff\xfe", "UTF-8"),
    "utf-16 without its mark": ("number,label\n1,M8\n".encode("utf-16-le"), "begins with"),
    "decimals": (b"number,label\n1.0,M8\n", r"row 2.*'1\.0'"),
    "no number": (b"number,label\n1,M8\n,M10\n", "row 3.*''"),
    "no label": (b"number,label\n1,\n", "row 2.*'1'.*''"),
    "unseen characters": ("number,label\n1,M8\u200b\n".encode(), "row 2"),
    "a delimiter in a label": (b"number,label\n1,M8,5\n", "row 2.*3"),
    "a quote that is not closed": (b'number,label\n1,"M8\n2,M10\n', "labels.csv"),
    "one label in two encodings": (f"number,label\n1,{NFC}\n2,{NFD}\n".encode(), "row 3"),
    "one number with and without zeros": (b"number,label\n1,M8\n01,M10\n", "row 3"),
    "a row after empty ones": (b"number,label\n\n,\n1,M8\n1,M10\n", "row 5"),
}


@pytest.mark.parametrize("data", READ.values(), ids=READ)
def test_tables_that_are_read(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(data)
    assert read_labels(str(tmp_path / "labels.csv")) == {"M8": 1, "M10": 2}


@pytest.mark.parametrize(("data", "datum"), REFUSED.values(), ids=REFUSED)
def test_tables_that_are_refused(data: bytes, datum: str, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_bytes(data)
    with pytest.raises(SinkError, match=datum) as caught:
        read_labels(str(table))
    assert str(caught.value).startswith(f"{table}: ")


@pytest.mark.parametrize("written", [NFC, NFD])
def test_a_label_is_found_in_either_encoding(written: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"number,label\n7,{written}\n", "utf-8")
    numbers = read_labels(str(tmp_path / "labels.csv"))
    assert (numbers.get(NFC), numbers[NFD], NFC in numbers, NFD in numbers) == (7, 7, True, True)
    assert compare_labels("labels.csv", numbers, [NFC]) == compare_labels("labels.csv", numbers, [NFD]) == []
    assert numbers.get("mutter ä") is None


def test_a_table_of_other_labels_is_refused() -> None:
    with pytest.raises(SinkError, match=r"t\.csv: .*\b2\b.*\(a, b\).*\b1\b.*\bc\b"):
        compare_labels("t.csv", NumberTable(c=1), ["a", "b"])


def test_what_differs_is_counted_and_named() -> None:
    labels = [f"part {number}" for number in range(30)]
    table = NumberTable({label: number for number, label in enumerate(labels[12:], 1)}, x=90, y=91)
    missing, foreign = compare_labels("t.csv", table, labels)
    assert all(
        datum in missing for datum in ("12 of 30", "t.csv", "part 0, part 1, part 2, part 3, part 4, …", "65535")
    )
    assert all(datum in foreign for datum in ("2", "x, y"))
    assert compare_labels("t.csv", table, [*labels[12:], "x", "y"]) == []


@pytest.mark.parametrize(("row", "label"), [("12", "00012"), ("m8", "M8"), ("M8x40", "M8 x 40")])
def test_a_row_that_is_nearly_a_part_is_named(row: str, label: str) -> None:
    with pytest.raises(SinkError, match=f"'{row}'.*'{label}'"):
        compare_labels("t.csv", NumberTable({row: 1}), [label, "other"])


def test_cameras() -> None:
    numbers = NumberTable(left=1, right=2)
    assert compare_cameras(numbers, ["right", "left"]) == []
    assert compare_cameras(NumberTable(), ["only"]) == []
    with pytest.raises(SinkError, match=r"left, right.*top"):
        compare_cameras(numbers, ["top"])
    unnumbered, foreign = compare_cameras(numbers, ["left", "top"])
    assert "top" in unnumbered and "right" in foreign
    assert len(compare_cameras(NumberTable(), ["a", "b"])) == 1


@pytest.mark.parametrize("text", ["0,M8\n", "65535,M8\n", f"{'9' * 5000},M8\n"])
def test_numbers_that_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.csv").write_text(f"number,label\n{text}", encoding="utf-8")
    with pytest.raises(SinkError, match="row 2"):
        read_labels(str(tmp_path / "labels.csv"))


def test_table_of_all_numbers_with_the_longest_labels(tmp_path: Path) -> None:
    rows = "".join(f"{number},{number:x>1000}\r\n" for number in range(1, 65535))
    (tmp_path / "labels.csv").write_text(f"number,label\n{rows}", encoding="utf-8", newline="")
    assert len(read_labels(str(tmp_path / "labels.csv"))) == 65534


def test_table_without_end(tmp_path: Path) -> None:
    """Neither its size nor its rows cost more than those of a table may."""
    table = tmp_path / "labels.csv"
    table.touch()
    os.truncate(table, 10**12)  # which takes no room on the disk
    with pytest.raises(SinkError, match="67,108,864"):
        read_labels(str(table))
    table.write_text("number,label\n" + "".join(f"{n % 65534 + 1},x{n}\n" for n in range(65534)) + "1,y\n" * 500_000)
    tracemalloc.start()
    try:
        with pytest.raises(SinkError, match="row 65536"):
            read_labels(str(table))
        assert tracemalloc.get_traced_memory()[1] < 100_000_000  # as rows it would be twice that
    finally:
        tracemalloc.stop()
