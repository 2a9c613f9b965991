"""Records with any text and number, in every format that stores them."""

import contextlib
import csv
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

from partsight.runtime.package.manifest import Manifest
from partsight.runtime.sinks.csv import CsvTable, unescape_formula
from partsight.runtime.sinks.jsonl import JsonLinesFile
from partsight.runtime.sinks.record import Candidate, FrameEvent, Record
from partsight.runtime.sinks.sqlite import SqliteTable
from tests.fuzz import wild
from tests.fuzz.surface import Case, check
from tests.tiny import tiny_manifest

_ODD = (float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 5e-324, 1e308)


@contextlib.contextmanager
def open_records(_folder: Path) -> Iterator[Case]:
    """Records as JSON: one line each, and reading it returns the same record."""

    def case(rng: random.Random) -> None:
        record = hostile_record(rng, rng.randrange(2**40))
        line = record.to_json()
        check(b"\n" not in line and b"\r" not in line, "a record is more than a line")
        line.decode()
        again = msgspec.json.decode(line, type=Record)
        check(again.to_json() == line, "reading a record returns another one")
        for name in ("camera", "source", "run", "error", "label", "sequence"):
            check(getattr(again, name) == getattr(record, name), f"{name} came out different")

    yield case


@contextlib.contextmanager
def open_files(folder: Path) -> Iterator[Case]:
    """Records in JSON lines, CSV and SQLite: reading returns each one unchanged."""
    csv.field_size_limit(2**31 - 1)
    lines, table = folder / "results.jsonl", folder / "results.csv"
    with JsonLinesFile(lines) as jsonl, CsvTable(table) as csv_table, SqliteTable(folder / "results.db") as sqlite:
        ends = [0, len(table.read_bytes())]
        count = 0

        def case(rng: random.Random) -> None:
            nonlocal count
            count += 1
            event = FrameEvent(hostile_record(rng, count))
            for sink in (jsonl, csv_table, sqlite):
                sink.write(event)
            added = [_added(path, end) for path, end in zip((lines, table), ends, strict=True)]
            ends[:] = [end + len(data) for end, data in zip(ends, added, strict=True)]
            check(added[0] == event.record.to_json() + b"\n", "a line is not the record")
            _check_row(added[1], event.record)
            if ends[0] > 50_000_000:
                for index, path in enumerate((lines, table)):
                    _shorten(path)
                    ends[index] = path.stat().st_size

        yield case


def hostile_record(rng: random.Random, sequence: int) -> Record:
    """Return a record with extreme texts and numbers."""
    outcome = rng.choice(("recognised", "unknown", "failed"))
    label = _label(rng)
    top = tuple(Candidate(_label(rng), _number(rng)) for _ in range(rng.choice((0, 1, 1, 5))))
    return Record(
        outcome=outcome,
        camera=wild.text(rng),
        source=wild.text(rng),
        sequence=sequence,
        run=wild.text(rng),
        timestamp=rng.uniform(0, 4e9),
        package_id="0" * 16,
        label=label if outcome == "recognised" else None,
        score=_number(rng) if outcome != "failed" else None,
        margin=_number(rng) if outcome != "failed" else None,
        top=top if outcome != "failed" else (),
        latency_ms=rng.choice((None, 1.5)),
        error=wild.text(rng) if outcome == "failed" else "",
    )


def _label(rng: random.Random) -> str:
    """Return a label that a manifest may contain: a text without surrogates."""
    return wild.text(rng, surrogates=False)[:1000] or "x"


def _number(rng: random.Random) -> float:
    return rng.choice(_ODD) if rng.random() < 0.2 else rng.uniform(-1, 1)


def _added(path: Path, end: int) -> bytes:
    with path.open("rb") as file:
        file.seek(end)
        return file.read()


def _shorten(path: Path) -> None:
    with path.open("rb+") as file:
        head = file.readline()
        file.truncate(len(head))


def _check_row(data: bytes, record: Record) -> None:
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    check(len(rows) == 1, f"{len(rows)} rows for a record")
    row = dict(zip(Record.__struct_fields__, rows[0], strict=True))
    for name in ("camera", "source", "run", "error"):
        check(unescape_formula(row[name]) == getattr(record, name), f"{name} came out of CSV different")
    check(unescape_formula(row["label"]) == (record.label or ""), "the label came out of CSV different")
    for name in ("camera", "source", "run", "error", "label"):
        check(not row[name].startswith(("=", "+", "-", "@", "\t", "\r")), f"{name} is a formula to a spreadsheet")
    check(row["sequence"] == str(record.sequence), "the sequence came out of CSV different")


@contextlib.contextmanager
def open_labels(_folder: Path) -> Iterator[Case]:
    """Labels in every number and form, through a manifest."""
    bare = tiny_manifest()

    def case(rng: random.Random) -> None:
        count = rng.choice((0, 1, 2, 6, 50, rng.choice((50, 50, 50, 2000))))
        labels = [wild.text(rng, surrogates=rng.random() < 0.2) for _ in range(count)]
        if count > 1 and rng.random() < 0.2:
            labels[0] = labels[-1]
        facts = msgspec.to_builtins(bare) | {"labels": labels}
        try:
            data = msgspec.json.encode(facts)
        except UnicodeEncodeError:  # UTF-8 cannot encode half a surrogate pair, but a JSON escape can
            data = json.dumps(facts).encode()
        manifest = Manifest.from_json(data, "somewhere")
        # Two adjacent halves of a pair are one character in JSON.
        whole = [label.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") for label in labels]
        check(list(manifest.labels) == whole, "labels came out different")
        check(all(label for label in labels), "an empty label was accepted")
        record = Record(outcome="recognised", camera="", source="", sequence=0, run="", timestamp=0, label=whole[0])
        check(msgspec.json.decode(record.to_json(), type=Record).label == whole[0], "a label came out different")

    yield case
