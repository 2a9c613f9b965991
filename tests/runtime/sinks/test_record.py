import os
from pathlib import Path

import msgspec
import numpy as np

from partsight.runtime.cameras.camera import Frame
from partsight.runtime.recognition.recognizer import Recognizer
from partsight.runtime.recognition.results import PartPose, Result, ScoredLabel, Stages
from partsight.runtime.sinks.record import RECORD_VERSION, Candidate, Record, record_answer
from tests.runtime.recognition.samples import ORANGE
from tests.tiny import ONE_THREAD, solid


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


def test_a_line_of_an_earlier_partsight_is_read() -> None:
    line = (
        b'{"schema_version":1,"outcome":"unknown","camera":"left","source":"usb:0","sequence":7,"run":"r1",'
        b'"timestamp":1.5,"package_id":"","signed_by":"","label":null,"score":0.2,"margin":0.1,"top":[],'
        b'"latency_ms":9.5,"error":""}'
    )
    record = msgspec.json.decode(line, type=Record)
    assert (record.score, record.reason, record.threshold, record.pose, record.reference) == (
        0.2,
        None,
        None,
        None,
        None,
    )
    assert record.schema_version == RECORD_VERSION


def test_why_a_frame_was_refused(matching_package: Path) -> None:
    frame = Frame(solid(ORANGE), "usb:0", 0, 0.0)
    with Recognizer(matching_package, engine=ONE_THREAD) as recognizer:
        result = recognizer.recognize(frame.image)
        record = record_answer(frame, "left", "r1", recognizer, result, 2.0).record
    assert record.reason == "agrees_with_none"
    assert (record.threshold, record.least_margin) == (result.threshold, result.least_margin)
    assert (record.pose, record.reference) == (result.pose, 0)
    assert msgspec.json.decode(record.to_json(), type=Record) == record


def test_number_that_is_none(tiny_package: Path) -> None:
    result = Result(
        label=None,
        score=float("nan"),
        margin=float("inf"),
        accepted=False,
        top=(ScoredLabel("M8", float("nan")),),
        reason="agrees_with_none",
        threshold=float("-inf"),
        pose=PartPose(0, 0, float("nan"), 0, 0),
        reference=0,
        latency_ms=1.0,
        stages=Stages(0, 0, 0),
    )
    frame = Frame(np.zeros((2, 2, 3), np.uint8), "usb:0", 0, 0.0)
    with Recognizer(tiny_package, engine=ONE_THREAD) as recognizer:
        event = record_answer(frame, "left", "r1", recognizer, result, 2.0)
    assert (event.record.package_id, event.record.signed_by) == (recognizer.package_id, "")
    assert (event.record.score, event.record.margin, event.record.threshold) == (None, None, None)
    assert event.record.pose is None
    assert msgspec.json.decode(event.record.to_json())["top"] == [{"label": "M8", "score": None}]
    assert msgspec.json.decode(event.record.to_json(), type=Record) == event.record


def test_file_name_that_is_not_utf8() -> None:
    source = os.fsdecode(b"photos/\xff\xc3\xa9.png")
    record = Record(outcome="failed", camera="ö", source=source, sequence=0, run="r", timestamp=0.0, error=source)
    assert record.source == record.error == "photos/\\udcffé.png"
    assert record.camera == "ö"
    assert msgspec.json.decode(record.to_json(), type=Record) == record
