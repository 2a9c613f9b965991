import os
from pathlib import Path

import msgspec
import numpy as np

from partsight.runtime.cameras.camera import Frame
from partsight.runtime.recognition.recognizer import Recognizer
from partsight.runtime.recognition.results import Result, Stages
from partsight.runtime.sinks.record import Candidate, Record, record_answer
from tests.tiny import ONE_THREAD


def test_json_is_read_back() -> None:
    record = Record(
        outcome="recognised",
        camera="left",
        source="usb:0",
        sequence=7,
        run="r1",
        timestamp=1.5,
        label='M8"\n,x',
        score=0.5,
        margin=0.25,
        top=(Candidate("M8", 0.5),),
    )
    line = record.to_json()
    assert b"\n" not in line
    assert line.startswith(b'{"schema_version":1,')  # by which sinks know their files again
    assert msgspec.json.decode(line, type=Record) == record


def test_number_that_is_none(tiny_package: Path) -> None:
    result = Result(None, float("nan"), float("inf"), False, (("M8", float("nan")),), 1.0, Stages(0, 0, 0))
    frame = Frame(np.zeros((2, 2, 3), np.uint8), "usb:0", 0, 0.0)
    with Recognizer(tiny_package, engine=ONE_THREAD) as recognizer:
        event = record_answer(frame, "left", "r1", recognizer, result, 2.0)
    assert (event.record.package_id, event.record.signed_by) == (recognizer.package_id, "")
    assert (event.record.score, event.record.margin) == (None, None)
    assert msgspec.json.decode(event.record.to_json())["top"] == [{"label": "M8", "score": None}]
    assert msgspec.json.decode(event.record.to_json(), type=Record) == event.record


def test_file_name_that_is_not_utf8() -> None:
    source = os.fsdecode(b"photos/\xff\xc3\xa9.png")
    record = Record(outcome="failed", camera="ö", source=source, sequence=0, run="r", timestamp=0.0, error=source)
    assert record.source == record.error == "photos/\\udcffé.png"
    assert record.camera == "ö"
    assert msgspec.json.decode(record.to_json(), type=Record) == record
