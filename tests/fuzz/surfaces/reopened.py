"""Output files of sinks, damaged by a crash, a disk or another program, and opened again."""

import contextlib
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from partsight.runtime.sinks.csv import CsvTable
from partsight.runtime.sinks.images import ImagesFolder
from partsight.runtime.sinks.jsonl import JsonLinesFile
from partsight.runtime.sinks.registers import read_labels
from partsight.runtime.sinks.spool import Spool
from partsight.runtime.sinks.sqlite import SqliteTable
from tests.fuzz import wild
from tests.fuzz.damage import damaged, garbage
from tests.fuzz.surface import Case, check
from tests.runtime.sinks.kinds import event

_PAYLOAD = b'{"schema_version":1}'


@contextlib.contextmanager
def open_lines(folder: Path) -> Iterator[Case]:
    """JSON lines and CSV: whole lines stay, new lines are whole, and files of other programs stay unchanged."""
    kinds: tuple[tuple[str, Callable[[Path], JsonLinesFile | CsvTable]], ...] = (
        ("jsonl", JsonLinesFile),
        ("csv", CsvTable),
    )
    whole, heads = {}, {"jsonl": b""}
    with CsvTable(folder / "head.csv"):
        heads["csv"] = (folder / "head.csv").read_bytes()
    for name, kind in kinds:
        with kind(folder / f"whole.{name}") as sink:
            for sequence in range(3):
                sink.write(event(sequence, "a\nb"))
        whole[name] = (folder / f"whole.{name}").read_bytes()

    def case(rng: random.Random) -> None:
        name, kind = rng.choice(kinds)
        path = folder / f"work.{name}"
        data = damaged(rng, whole[name], (whole[name],)) if rng.random() < 0.9 else garbage(rng, 5000)
        path.write_bytes(data)
        try:
            with kind(path) as sink:
                kept = path.read_bytes()
                sink.write(event(9))
        except BaseException:
            check(path.read_bytes() == data, "a refused file was changed")
            raise
        added = path.read_bytes()[len(kept) :]
        check(data.startswith(kept) or heads[name] == kept, "a whole line was changed")
        check(path.read_bytes().startswith(kept) and added.endswith(b"\n"), "a new line is not whole")
        check(not kept or kept.endswith(b"\n"), "a new line continues a torn one")

    yield case


@contextlib.contextmanager
def open_databases(folder: Path) -> Iterator[Case]:
    """SQLite files: results, and the spool of results for a broker."""
    with SqliteTable(folder / "whole.db") as table:
        for sequence in range(20):
            table.write(event(sequence))
    with Spool(folder / "whole.spool", 100, 10**6) as spool:
        for _ in range(20):
            spool.add(_PAYLOAD)
    whole = {name: _checkpointed(folder / f"whole.{name}") for name in ("db", "spool")}

    def case(rng: random.Random) -> None:
        name = rng.choice(("db", "spool"))
        path = folder / f"work.{name}"
        for leftover in folder.glob(f"work.{name}*"):
            leftover.unlink()
        path.write_bytes(_injured(rng, whole[name], whole["spool" if name == "db" else "db"]))
        if rng.random() < 0.1:
            path.with_name(f"{path.name}-wal").write_bytes(garbage(rng, 8000))
        if name == "db":
            with SqliteTable(path) as table:
                for sequence in (3, 100):
                    table.write(event(sequence))
            return
        with Spool(path, 100, 10**6) as spool:
            spool.add(_PAYLOAD)
            rows = spool.after(0, 200)
            check(all(isinstance(payload, bytes) for _, payload in rows), "a payload of no bytes would be published")
            spool.remove([row for row, _ in rows])
            len(spool)

    yield case


def _checkpointed(path: Path) -> bytes:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.read_bytes()


def _injured(rng: random.Random, whole: bytes, other: bytes) -> bytes:
    style = rng.random()
    if style < 0.35:  # in the header or the first page, which describe the rest
        cut = rng.choice((32, 100, 1000, 4096))
        return damaged(rng, whole[:cut]) + whole[cut:]
    if style < 0.9:
        return damaged(rng, whole, (whole, other))
    return rng.choice((other, b"", garbage(rng, 4096), whole[: rng.randrange(len(whole))]))


@contextlib.contextmanager
def open_folders(folder: Path) -> Iterator[Case]:
    """A folder of pictures with foreign files, and tables of labels for a PLC."""
    with ImagesFolder(folder / "whole") as sink:
        sink.write(event(0, None))
    names = sorted(path.name for path in (folder / "whole").iterdir())
    work = folder / "work"
    table = b'number,label\n1,M8x40\n2,"a,b"\n3,\xc3\xa9\n'

    def case(rng: random.Random) -> None:
        if rng.random() < 0.5:
            path = folder / "labels.csv"
            path.write_bytes(damaged(rng, table, (table,)) if rng.random() < 0.8 else _table(rng))
            numbers = read_labels(str(path))
            check(all(0 < number < 65535 and label for label, number in numbers.items()), "an invalid number")
            check(len(set(numbers.values())) == len(numbers), "two labels have the same number")
            return
        _empty(work)
        for _ in range(rng.randint(0, 5)):
            name = damaged(rng, rng.choice(names).encode()).decode(errors="surrogateescape")
            with contextlib.suppress(OSError, ValueError):
                path = work / name.replace("/", "_")
                path.mkdir() if rng.random() < 0.2 else path.write_bytes(garbage(rng, 30))
        with ImagesFolder(work) as sink:
            sink.write(event(1, None))
        check(len(list(work.glob("*.png"))) >= 1, "the picture is missing")

    yield case


def _table(rng: random.Random) -> bytes:
    rows = [f"{wild.number(rng)},{wild.text(rng)}" for _ in range(rng.choice((0, 1, 5, 300)))]
    return "\n".join(["number,label", *rows]).encode("utf-8", "surrogatepass")


def _empty(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.rmdir() if path.is_dir() else path.unlink()
