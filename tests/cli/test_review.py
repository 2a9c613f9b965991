"""The verb `review`: a session in a terminal, tables, decisions of scripts, and how it fails."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from partsight.runtime.feedback import decide, read_feedback
from partsight.runtime.images import read_image
from partsight.runtime.sinks import open_sink
from partsight.train.catalog import read_catalog
from tests.cli.command import HEAVY, loaded_by
from tests.cli.conftest import Ended
from tests.runtime.calibration.commissioning import lines
from tests.runtime.feedback.kept import keep, keep_candidates, sequences
from tests.runtime.sinks.kinds import event
from tests.tiny import solid

Call = Callable[..., Ended]
NEEDS_TERMINAL = pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Two unknown frames of M8x40 and one recognised, each less doubtful than the one before."""
    sure: dict[str, Any] = {"threshold": 0.76, "margin": 0.9, "least_margin": 0.04}
    with open_sink(f"images:{tmp_path / 'kept'}?every=1") as sink:
        sink.write(event(0, None, reason="agrees_with_none", **sure))
        sink.write(event(1, None, reason="agrees_with_none", **{**sure, "threshold": 0.78}))
        sink.write(event(2, reason="recognised", **{**sure, "threshold": 0.6}))
    return tmp_path / "kept"


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Write lines on a terminal, which is standard input."""
    import pty  # POSIX alone

    person, terminal = pty.openpty()
    with os.fdopen(terminal, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield lambda *lines: os.write(person, "".join(f"{line}\n" for line in lines).encode() + b"\x04")
    os.close(person)


def decided(folder: Path) -> dict[int, tuple[str, str | None]]:
    return {
        frame.record.sequence: (frame.verdict, frame.label) for frame in read_feedback(folder).frames if frame.record
    }


@NEEDS_TERMINAL
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["", "y", "1"], [("confirmed", "M8x40")] * 3),
        (["2", "l M8x41", "u"], [("confirmed", "M8x41"), ("confirmed", "M8x41"), ("not_taught", None)]),
        (["d", "q", "u"], [("discarded", None), ("open", None), ("open", None)]),
        (["d", "b", "u"], [("not_taught", None), ("open", None), ("open", None)]),
        (["b", "y", "b", "b", "l M8x41", "u"], [("confirmed", "M8x41"), ("not_taught", None), ("open", None)]),
        (["l M8x4", "9", "what", "l", "d", "d", "d"], [("discarded", None)] * 3),
        ([], [("open", None)] * 3),  # Ctrl-D
    ],
)
def test_keys(
    call: Call, write: Callable[..., int], kept: Path, lines: list[str], expected: list[tuple[str, str | None]]
) -> None:
    """In this order the frames come: the sequences tell."""
    write(*lines)
    ended = call("review", kept)
    assert (ended.code, ended.err) == (0, "")
    assert list(decided(kept).values()) == expected


@NEEDS_TERMINAL
def test_what_a_person_sees(call: Call, write: Callable[..., int], kept: Path) -> None:
    write("l m8X41", "2", "q")
    frame = read_feedback(kept).frames[0]
    out = call("review", kept).out
    for fact in (str(frame.path), "left 0, 2023-11-14 22:13:20 UTC", "M8x40  0.750", "M8x41  0.740", "3 frames"):
        assert fact in out
    assert "did you mean M8x41" in out
    assert "1 of them corrected" in out


@NEEDS_TERMINAL
def test_why_with_a_package(call: Call, write: Callable[..., int], matching_package: Path, tmp_path: Path) -> None:
    """A picture that cannot be read is no end of the review."""
    for sequence in (0, 1):
        keep_candidates(tmp_path, sequence, None, ["red", "blue"])
    frame, damaged = read_feedback(tmp_path).frames
    cv2.imwrite(str(frame.path), solid("red"))
    damaged.path.write_bytes(damaged.path.read_bytes()[:40] + damaged.path.read_bytes()[-12:])
    write("l M8x40", "l green", "d")
    ended = call("review", tmp_path, "--package", matching_package)
    assert ended.code == 0, ended.err
    assert "is no part in" in ended.out  # the records' labels do not count
    assert decided(tmp_path) == {0: ("confirmed", "green"), 1: ("discarded", None)}
    (picture,) = (tmp_path / "why").iterdir()
    assert picture.stem == frame.name
    assert str(picture) in ended.out
    assert read_image(picture).ndim == 3


@NEEDS_TERMINAL
def test_a_frame_that_goes_meanwhile(
    call: Call, write: Callable[..., int], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = read_feedback(kept).frames
    assert sequences(frames) == [0, 1, 2]

    class Stdin:  # the sink removes the first frame while the person looks at it
        def __init__(self) -> None:
            self._stdin = sys.stdin

        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            frames[0].path.unlink(missing_ok=True)
            return self._stdin.readline()

    write("y", "y", "q")
    monkeypatch.setattr(sys, "stdin", Stdin())
    ended = call("review", kept)
    assert ended.code == 0
    assert frames[0].name in ended.out
    assert decided(kept) == {1: ("confirmed", "M8x40"), 2: ("open", None)}


def test_without_a_terminal(call: Call, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        ended = call("review", kept)
    assert ended.code == 2
    assert "--decisions" in ended.err
    assert {verdict for verdict, _ in decided(kept).values()} == {"open"}


def test_list(call: Call, kept: Path) -> None:
    decide(kept, read_feedback(kept).frames[0], "confirmed", "M8x41")
    ended = call("review", kept, "--list")
    assert (ended.code, ended.err) == (0, "")
    rows = [line.split() for line in ended.out.splitlines()]
    assert rows[0][:2] == ["frame", "decision"]
    assert [row[1] for row in rows[1:4]] == ["open", "open", "confirmed"]
    assert rows[3][-1] == "M8x41"


def test_json(call: Call, kept: Path) -> None:
    (kept / "half.png").write_bytes(b"")
    decide(kept, read_feedback(kept).frames[0], "confirmed", "M8x41")
    ended = call("review", kept, "--json")
    facts = json.loads(ended.out)
    assert facts["counts"] == {"open": 2, "confirmed": 1, "not_taught": 0, "discarded": 0}
    assert facts["frames"][0]["record"]["sequence"] == 0
    assert facts["frames"][0]["decision"] == "confirmed"
    assert facts["mistakes"] == [{"taken_for": "M8x40", "shows": "M8x41", "frames": 1, "accepted": 0}]
    assert list(facts["faults"]) == [str(kept / "half.png")]
    assert "half.png" in ended.err


def test_often_corrected_parts_are_named(call: Call, tmp_path: Path) -> None:
    for frame in keep(tmp_path, *["M8x40"] * 4):
        decide(tmp_path, frame, "confirmed", "M8x41")
    out = call("review", tmp_path, "--list").out
    assert "often corrected: M8x40" in out
    assert "M8x41 for M8x40: 4 frames, 4 of them accepted" in out


def test_decisions_of_a_table(call: Call, kept: Path, tmp_path: Path) -> None:
    names = [frame.path.name for frame in read_feedback(kept).frames]
    table = tmp_path / "decisions.csv"
    table.write_text(f"\ufefflabel,file,note\nM8x41,{names[0]},\n,kept/{names[1].removesuffix('.png')},x\n", "utf-8")
    ended = call("review", kept, "--decisions", table)
    assert (ended.code, ended.err) == (0, "")
    assert decided(kept) == {0: ("confirmed", "M8x41"), 1: ("not_taught", None), 2: ("open", None)}
    assert call("review", kept, "--decisions", table).code == 0  # again


@pytest.mark.parametrize(
    "rows",
    [
        ["nowhere,M8x40"],
        ["{0},M8x99"],
        ["{0},M8x40", "{0},M8x41"],
    ],
)
def test_a_table_with_a_fault_decides_nothing(call: Call, kept: Path, tmp_path: Path, rows: list[str]) -> None:
    names = [frame.name for frame in read_feedback(kept).frames]
    table = tmp_path / "decisions.csv"
    table.write_text("\n".join(["file,label", f"{names[1]},M8x40", *rows]).format(*names), "utf-8")
    ended = call("review", kept, "--decisions", table)
    assert ended.code == 1
    assert f"line {2 + len(rows)}" in ended.err
    assert {verdict for verdict, _ in decided(kept).values()} == {"open"}


@pytest.mark.parametrize("data", [b"", b"file\n", b"file,label\n\xff\xfe,x\n"])
def test_what_is_no_table(call: Call, kept: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "decisions.csv").write_bytes(data)
    ended = call("review", kept, "--decisions", tmp_path / "decisions.csv")
    assert (ended.code, str(tmp_path / "decisions.csv") in ended.err) == (1, True)


def test_no_folder_and_no_package(call: Call, kept: Path, tmp_path: Path) -> None:
    assert call("review", tmp_path / "missing", "--list").code == 1
    table = tmp_path / "decisions.csv"
    table.write_text("file,label\n")
    ended = call("review", kept, "--decisions", table, "--package", tmp_path / "missing.partsight")
    assert (ended.code, "missing.partsight" in ended.err) == (1, True)


def test_looking_loads_no_network(kept: Path) -> None:
    loaded = loaded_by("review", kept, "--list")
    assert "partsight.runtime.feedback" in loaded
    assert loaded & set(HEAVY) == set()


def test_the_circle_of_commands(call: Call, tmp_path: Path) -> None:
    """Run, review, commission: the other verbs read the folders as they are."""
    package, kept, new = lines.write_package(tmp_path / "old.partsight"), tmp_path / "kept", tmp_path / "new.partsight"
    frames = lines.write_frames(tmp_path / "frames", 8)
    assert call("run", package, "--camera", f"folder:{frames}", "--sink", f"images:{kept}?every=1").code == 0
    opened = read_feedback(kept).of("open")
    refused = sum(frame.is_refused for frame in opened)
    assert refused > len(opened) / 2
    table = tmp_path / "decisions.csv"
    shown = {frame.name: Path(frame.record.source).parent.name for frame in opened if frame.record}
    table.write_text("".join(["file,label\n", *(f"{name},{label}\n" for name, label in shown.items())]), "utf-8")
    assert call("review", kept, "--package", package, "--decisions", table).code == 0
    ended = call("commission", package, kept, "--out", new)
    assert ended.code == 0, ended.err
    again = tmp_path / "again"
    assert call("run", new, "--camera", f"folder:{kept / 'confirmed'}", "--sink", f"images:{again}?every=1").code == 0
    assert sum(frame.is_refused for frame in read_feedback(again).frames) <= refused / 2
    assert read_catalog(kept / "confirmed").labels == lines.LABELS
    more = sorted((kept / "confirmed" / "red").glob("*.png"))[:2]
    assert call("enroll", new, "--replace", "--label", "red", *more, "--out", tmp_path / "third.partsight").code == 0
