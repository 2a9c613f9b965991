"""Every sink that the contract is tested with, and how what it kept is read back."""

import asyncio
import csv
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from partsight.runtime.cameras.camera import Frame
from partsight.runtime.images.image_file import read_image
from partsight.runtime.recognition import PartPose
from partsight.runtime.sinks.csv import unescape_formula
from partsight.runtime.sinks.record import Candidate, FrameEvent, Record

NUMBERS = ("score", "margin", "latency_ms", "threshold", "least_margin")

ODD_LABELS = (
    "plain",
    "",
    "Müller-Schraube 日本 🔩",
    "two\nlines\r\nand a tab\t",
    "quote\"s, 'apostrophes' and, commas;",
    "=HYPERLINK(1)",
    "'quoted",
    "nul\x00inside",
    "x" * 5000,
)


def event(sequence: int, label: str | None = "M8x40", **changed: object) -> FrameEvent:
    """A result of camera `left` in run `r1`, and its frame."""
    known = {
        "outcome": "unknown" if label is None else "recognised",
        "camera": "left",
        "source": "usb:0",
        "sequence": sequence,
        "run": "r1",
        "timestamp": 1_700_000_000.0 + sequence,
        "package_id": "0123456789abcdef",
        "signed_by": "89abcdef01234567 0011223344556677",
        "label": label,
        "score": 0.75,
        "margin": 0.01,
        "top": (Candidate(label or "M8x40", 0.75), Candidate("M8x41", 0.74)),
        "latency_ms": 12.5,
        "reason": "agrees_with_none" if label is None else "recognised",
        "threshold": 0.5,
        "least_margin": 0.04,
        "pose": PartPose(0.01, -0.02, 1.5, 0.001, -0.002),
        "reference": 0,
    }
    record = Record(**{**known, **changed})  # type: ignore[arg-type]
    return FrameEvent(
        record, Frame(np.full((32, 33, 3), sequence % 256, np.uint8), record.source, sequence, record.timestamp)
    )


def failed(sequence: int) -> FrameEvent:
    """A frame that could not be read."""
    return FrameEvent(
        Record(
            outcome="failed",
            camera="left",
            source="photo.png",
            sequence=sequence,
            run="r1",
            timestamp=1.0,
            error="photo.png: truncated\nread 10 of 20 bytes",
        )
    )


@dataclass(frozen=True)
class Kind:
    """A sink, and what its test needs.

    Attributes:
        address: by the folder to work in.
        read: returns what it kept in that folder, in order, after `close` or a kill.
        keeps_failed: whether a frame without picture is kept.
        library: that it cannot do without; empty for none.
    """

    name: str
    address: Callable[[Path], str]
    read: Callable[[Path], list[Record]]
    keeps_failed: bool = True
    library: str = ""


def read_jsonl(path: Path) -> list[Record]:
    data = path.read_bytes()
    assert not data or data.endswith(b"\n")
    return [msgspec.json.decode(line, type=Record) for line in data.splitlines()]


def read_csv(path: Path) -> list[Record]:
    with path.open(newline="", encoding="utf-8") as file:
        return [_record(row) for row in csv.DictReader(file, strict=True)]


def _record(row: dict[str, str]) -> Record:
    numbers = {name: float(row[name]) if row[name] else None for name in NUMBERS if name in row}
    texts = {
        name: unescape_formula(row[name]) for name in ("camera", "source", "run", "package_id", "signed_by", "error")
    }
    return Record(
        outcome=row["outcome"],  # type: ignore[arg-type]
        sequence=int(row["sequence"]),
        timestamp=float(row["timestamp"]),
        label=unescape_formula(row["label"]) if row["outcome"] == "recognised" else None,
        top=tuple(Candidate(label, score) for label, score in json.loads(row["top"])),
        reason=row.get("reason") or None,  # type: ignore[arg-type]
        pose=PartPose(**json.loads(row["pose"])) if row.get("pose") else None,
        reference=int(row["reference"]) if row.get("reference") else None,
        **numbers,
        **texts,
    )


def read_sqlite(path: Path) -> list[Record]:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    rows = [dict(row) for row in connection.execute("SELECT * FROM result ORDER BY rowid")]
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    connection.close()
    for row in rows:
        row |= {"top": json.loads(row["top"]), "pose": json.loads(row["pose"] or "null")}
    return [msgspec.convert(row, Record) for row in rows]


def read_images(folder: Path) -> list[Record]:
    records = []
    for path in sorted(folder.glob("*.json")):
        record = msgspec.json.decode(path.read_bytes(), type=Record)
        assert (read_image(path.with_suffix(".png")) == record.sequence % 256).all()
        records.append(record)
    assert len(list(folder.iterdir())) == 2 * len(records)
    return records


def read_spool(path: Path) -> list[Record]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT payload FROM waiting ORDER BY id").fetchall()
    connection.close()
    return [msgspec.json.decode(payload, type=Record) for (payload,) in rows]


def mqtt_address(folder: Path) -> str:
    """Of a broker that is not there: all results stay in the spool."""
    return f"mqtt://127.0.0.1:1/line3?spool={folder}/spool.db&close_s=0"


KINDS = (
    Kind("jsonl", lambda folder: f"jsonl:{folder}/out.jsonl", lambda folder: read_jsonl(folder / "out.jsonl")),
    Kind("csv", lambda folder: f"csv:{folder}/out.csv", lambda folder: read_csv(folder / "out.csv")),
    Kind("sqlite", lambda folder: f"sqlite:{folder}/out.db", lambda folder: read_sqlite(folder / "out.db")),
    Kind(
        "images", lambda folder: f"images:{folder}/out", lambda folder: read_images(folder / "out"), keeps_failed=False
    ),
    Kind("mqtt", mqtt_address, lambda folder: read_spool(folder / "spool.db"), library="paho.mqtt.client"),
)


@dataclass(frozen=True)
class Live:
    """A sink that serves the last result to its peers, while the program runs.

    Attributes:
        last: asks as its peers do: sequence of the last result, and how many there were. None of it survives the
            program, and no disk is written: a kill or a full disk is nothing to test here.
    """

    name: str
    library: str
    scheme: str
    options: str
    last: Callable[[int], tuple[int, int]]


def _ask_modbus(port: int) -> tuple[int, int]:
    from pymodbus.client import ModbusTcpClient

    with ModbusTcpClient("127.0.0.1", port=port) as plc:
        words = plc.read_input_registers(6, count=4).registers
    return words[0] << 16 | words[1], words[2] << 16 | words[3]


def _ask_opcua(port: int) -> tuple[int, int]:
    from asyncua import Client

    async def ask() -> tuple[int, int]:
        async with Client(f"opc.tcp://127.0.0.1:{port}/partsight") as client:
            nodes = [client.get_node(f"ns=2;s=partsight.{name}") for name in ("sequence", "results")]
            sequence, results = await client.read_values(nodes)
            return sequence, results

    return asyncio.run(ask())


LIVE = (
    Live("modbus", "pymodbus", "modbus", "?ack_s=0", _ask_modbus),
    Live("opcua", "asyncua", "opcua", "", _ask_opcua),
)
