"""From a camera's frames to lines: every frame gives exactly one, in order."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from partsight.cli.exit_codes import ExitCode
from partsight.cli.lines import FailedFrame, _answer_fields, answer_all, answer_batch, read_frames
from partsight.runtime import CameraError, Recognizer, Result, Stages
from partsight.runtime.cameras import FileCamera, Frame
from partsight.runtime.preprocess import PreprocessSpec
from tests.tiny import COLOURS_BGR, SIDE_PX, solid

SPEC = PreprocessSpec(height=SIDE_PX, width=SIDE_PX)
ADDRESS = "line:3"


class LineCamera:
    """Delivers what it is given: pictures, and errors in the place of pictures."""

    def __init__(self, *shots: np.ndarray | BaseException) -> None:
        self._shots = enumerate(shots)

    def read(self) -> Frame | None:
        sequence, shot = next(self._shots, (0, None))
        if isinstance(shot, BaseException):
            raise shot
        return None if shot is None else Frame(shot, ADDRESS, sequence, 0.0)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def lost() -> CameraError:
    return CameraError("the cable is out")


@pytest.fixture(params=[1, 2, 3, 16])
def recognizer(request: pytest.FixtureRequest, tiny_package: Path) -> Iterator[Recognizer]:
    """Of several batch sizes."""
    with Recognizer(tiny_package, batch_size=request.param) as opened:
        yield opened


def lines_of(capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, Any]], str]:
    captured = capsys.readouterr()
    return [json.loads(line) for line in captured.out.splitlines()], captured.err


def test_every_frame_gives_one_line_in_order(recognizer: Recognizer, capsys: pytest.CaptureFixture[str]) -> None:
    shots = [lost(), *map(solid, COLOURS_BGR), lost(), lost(), solid((0, 0, 0)), solid("red")[:, :, 0], solid("cyan")]
    assert answer_all(LineCamera(*shots), recognizer, ADDRESS) == ExitCode.SOME_FAILED
    lines, err = lines_of(capsys)
    assert [line["sequence"] for line in lines] == list(range(12))
    assert {line["source"] for line in lines} == {ADDRESS}
    found = ["error" if "error" in line else line["label"] for line in lines]
    assert found == ["error", *COLOURS_BGR, "error", "error", None, "error", "cyan"]
    assert lines[0] == {"sequence": 0, "source": ADDRESS, "error": "the cable is out"}
    assert "mono frame" in lines[10]["error"]
    assert err == "12 frames: 7 recognised, 1 unknown, 4 failed\n"


def test_nothing_failed(recognizer: Recognizer, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer_all(LineCamera(solid("red"), solid((9, 9, 9))), recognizer, ADDRESS) == ExitCode.DONE
    assert lines_of(capsys)[1] == "2 frames: 1 recognised, 1 unknown, 0 failed\n"


def test_a_camera_with_no_frame(recognizer: Recognizer, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer_all(LineCamera(), recognizer, ADDRESS) == ExitCode.DONE
    assert lines_of(capsys) == ([], "0 frames: 0 recognised, 0 unknown, 0 failed\n")


def test_only_failures(recognizer: Recognizer, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer_all(LineCamera(lost(), lost()), recognizer, ADDRESS) == ExitCode.SOME_FAILED
    assert [line["sequence"] for line in lines_of(capsys)[0]] == [0, 1]


def test_an_interrupt_tells_what_was_done(tiny_package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Recognizer(tiny_package, batch_size=2) as recognizer, pytest.raises(KeyboardInterrupt):
        answer_all(LineCamera(solid("red"), lost(), KeyboardInterrupt()), recognizer, ADDRESS)
    lines, err = lines_of(capsys)
    assert len(lines) == 2
    assert err == "2 frames: 1 recognised, 0 unknown, 1 failed\n"


def test_lines_come_while_the_camera_runs(tiny_package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not only at the end: a line camera has none."""
    seen: list[int] = []

    class Watching(LineCamera):
        def read(self) -> Frame | None:
            seen.append(len(capsys.readouterr().out.splitlines()))
            return super().read()

    with Recognizer(tiny_package, batch_size=2) as recognizer:
        answer_all(Watching(*[solid("red")] * 5), recognizer, ADDRESS)
    assert seen == [0, 0, 2, 0, 2, 0]


def test_a_file_is_named_where_it_cannot_be_read(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    frames = list(read_frames(FileCamera(paths), ADDRESS, SPEC))
    assert [(frame.sequence, frame.source) for frame in frames] == [(0, str(paths[0])), (1, str(paths[1]))]
    assert all(isinstance(frame, FailedFrame) and "no such file" in frame.error for frame in frames)


BAD_FRAMES: Sequence[np.ndarray] = [
    solid("red").astype(np.float32),
    solid("red")[::2],
    solid("red")[:0],
    np.zeros((48, 64, 4), np.uint8),
]


@pytest.mark.parametrize("bad", BAD_FRAMES, ids=["float", "view", "empty", "four channels"])
def test_a_bad_frame_does_not_stop_its_batch(tiny_package: Path, bad: np.ndarray) -> None:
    frames = list(read_frames(LineCamera(solid("red"), bad, solid("blue")), ADDRESS, SPEC))
    with Recognizer(tiny_package) as recognizer:
        lines = answer_batch(frames, recognizer)
    assert [line.get("label") for line in lines] == ["red", None, "blue"]
    assert list(lines[1]) == ["sequence", "source", "error"]
    assert "received" in lines[1]["error"]


def test_the_fields_of_an_answer(tiny_package: Path) -> None:
    frames = [Frame(solid("red"), "red.png", 7, 0.0), Frame(solid((128, 128, 128)), "grey.png", 8, 0.0)]
    with Recognizer(tiny_package, top=2) as recognizer:
        red, grey = answer_batch(frames, recognizer)
    fields = ["sequence", "source", "label", "accepted", "score", "margin", "top", "latency_ms"]
    assert list(red) == list(grey) == fields
    assert (red["sequence"], red["source"], red["label"], red["accepted"]) == (7, "red.png", "red", True)
    assert red["top"][0] == {"label": "red", "score": red["score"]}
    assert len(red["top"]) == 2
    assert red["margin"] == pytest.approx(red["top"][0]["score"] - red["top"][1]["score"])
    assert (grey["label"], grey["accepted"]) == (None, False)
    assert grey["score"] < 0.9
    assert grey["top"][0]["label"] in COLOURS_BGR


def test_numbers_survive_json() -> None:
    """Every float32 is told from any other; what JSON has no number for is null."""
    values = [float(np.float32(value)) for value in (0.1, 1 / 3, -1e-30, 16777217)]
    for value in values:
        fields = _answer_fields(Result("part", value, value, True, (("part", value),), 1.23456, Stages(0, 0, 0)))
        (again,) = [json.loads(json.dumps(fields))["score"]]
        assert np.float32(again) == np.float32(value)
        assert fields["top"] == [{"label": "part", "score": again}]
        assert fields["latency_ms"] == 1.235
    for value in (np.nan, np.inf, -np.inf):
        fields = _answer_fields(Result(None, value, value, False, (("part", value),), 1, Stages(0, 0, 0)))
        assert (fields["score"], fields["margin"], fields["top"][0]["score"]) == (None, None, None)
