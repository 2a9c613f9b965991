"""The comparison of two packages: counts, changes by part, the list, and a sample that is always the same."""

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from partsight.runtime.cluster.batch.comparison import SAMPLE, Comparison, PartChanges, compare
from partsight.runtime.cluster.batch.rows import failed, row_of, schema
from partsight.runtime.cluster.batch.verdict import ComparedPackage, judge_comparison, list_tasks

LABELS = frozenset({"M8", "M9", "M10"})


def answer(label: str | None, score: float = 0.8, threshold: float = 0.5) -> dict[str, Any]:
    """Return the columns of an answer."""
    return {
        "outcome": "recognised" if label else "unknown",
        "label": label,
        "reason": "recognised" if label else "agrees_with_none",
        "score": score if label else 0.1,
        "threshold": threshold,
        "error": "",
    }


def rows_of(*pairs: tuple[dict[str, Any], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each old and new answer."""
    return [row_of(index, f"/archive/{index}.png", (new, old)) for index, (old, new) in enumerate(pairs)]


def compared(rows: Sequence[dict[str, Any]], folder: Path) -> Comparison:
    tables = [
        pyarrow.Table.from_pylist(rows[at : at + 3], schema=schema(is_compared=True)) for at in range(0, len(rows), 3)
    ]
    return compare(tables, folder / "changes.csv")


def package(labels: frozenset[str] = LABELS, name: str = "new") -> ComparedPackage:
    return ComparedPackage(Path(f"{name}.partsight"), name, labels, "2025-01-01")


def judged(done: Comparison, old: frozenset[str] = LABELS, new: frozenset[str] = LABELS) -> str:
    return judge_comparison(done, package(old, "old"), package(new)).level


ROWS = rows_of(
    (answer("M8"), answer("M8")),
    (answer("M8"), answer("M9")),
    (answer("M9"), answer(None)),
    (answer(None), answer("M10")),
    (answer(None), answer(None)),
    (failed("no file"), failed("no file")),
    (answer("M8"), failed("grey")),
    (failed("colour"), answer("M8")),
)


def test_counts(tmp_path: Path) -> None:
    done = compared(ROWS, tmp_path)
    assert done.counts == {"same": 2, "other_label": 1, "label_lost": 1, "label_gained": 1, "not_compared": 3}
    assert (done.compared, done.changed, done.labelled) == (5, 3, 3)
    assert (done.failed_before, done.failed_now, done.unreadable) == (1, 1, 1)
    assert done.pairs == {("M8", "M9"): 1, ("M9", None): 1, (None, "M10"): 1}
    assert done.parts == {
        "M8": PartChanges("M8", before=2, now=1, same=1, to_other=1),
        "M9": PartChanges("M9", before=1, now=1, from_other=1, to_none=1),
        "M10": PartChanges("M10", now=1, from_none=1),
    }


def test_the_list_has_each_change_and_each_frame_that_one_package_cannot_answer(tmp_path: Path) -> None:
    compared(ROWS, tmp_path)
    with (tmp_path / "changes.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert [(row["index"], row["change"], row["old_label"], row["label"]) for row in listed] == [
        ("1", "other_label", "M8", "M9"),
        ("2", "label_lost", "M9", ""),
        ("3", "label_gained", "", "M10"),
        ("6", "not_compared", "M8", ""),
        ("7", "not_compared", "", "M8"),
    ]
    assert (listed[3]["error"], listed[4]["old_error"]) == ("grey", "colour")


def test_a_label_that_a_spreadsheet_would_run(tmp_path: Path) -> None:
    compared(rows_of((answer("=1+1"), answer("M8"))), tmp_path)
    assert b",'=1+1," in (tmp_path / "changes.csv").read_bytes()


def test_the_sample_has_the_clearest_of_each_pair_first(tmp_path: Path) -> None:
    rows = rows_of(
        *((answer("M8", score), answer("M9", 0.9)) for score in (0.6, 0.9, 0.7)),
        (answer("M9", 0.55), answer("M8", 0.9)),
        *((answer("M8", score), answer(None)) for score in (0.51, 0.8)),
    )
    done = compared(rows, tmp_path)
    assert [frame.index for frame in done.sample] == [1, 3, 2, 0, 5, 4]


def test_the_sample_does_not_depend_on_the_order_and_has_each_kind(tmp_path: Path) -> None:
    pairs = [
        *((answer("M8", 0.5 + number / 100), answer("M9")) for number in range(100)),
        *((answer("M8", 0.5 + number / 100), answer(None)) for number in range(100)),
        (answer(None), answer("M8")),
    ]
    rows = rows_of(*pairs)
    expected = compared(rows, tmp_path).sample
    assert len(expected) == SAMPLE
    assert {frame.change for frame in expected} == {"other_label", "label_lost", "label_gained"}
    random.Random(0).shuffle(rows)
    assert compared(rows, tmp_path).sample == expected


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ([], "good"),
        ([(answer(None), answer("M8"))], "care"),
        ([(answer("M8"), answer("M9"))], "care"),
        ([(answer("M8"), answer(None))] * 2, "bad"),
        ([(answer("M8"), failed("grey"))], "care"),
        ([(answer("M8"), failed("grey"))] * 2, "bad"),
    ],
)
def test_the_verdict(changes: list[tuple[dict[str, Any], dict[str, Any]]], level: str, tmp_path: Path) -> None:
    done = compared(rows_of(*[(answer("M8"), answer("M8"))] * 100, *changes), tmp_path)
    assert judged(done) == level
    assert list_tasks(done, Path("changes.csv"), tmp_path, package())[-1].command.startswith("partsight run ")


def test_labels_that_go_with_their_part_are_no_loss(tmp_path: Path) -> None:
    done = compared(rows_of(*[(answer("M8"), answer("M8"))] * 10, *[(answer("M9"), answer(None))] * 5), tmp_path)
    assert judged(done) == "bad"
    assert judged(done, new=LABELS - {"M9"}) == "care"


def test_nothing_to_compare(tmp_path: Path) -> None:
    assert judged(compared(rows_of((failed("x"), failed("x"))), tmp_path)) == "bad"
