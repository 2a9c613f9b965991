"""Packages that replace another while the line runs."""

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from partsight.runtime import (
    PackageError,
    PartsightError,
    Recognizer,
    SignatureError,
)
from partsight.runtime.core import Pixels
from partsight.runtime.images.preprocessing import PreprocessSpec
from partsight.runtime.line import Line, Policy
from tests.runtime.line.running import BLOCK, gated, run
from tests.runtime.line.scripted import COLOURS, ListSink, ScriptedCamera, pictures
from tests.runtime.package.signed import new_key, signed_copy
from tests.tiny import ONE_THREAD, SIDE_PX, solid, tiny_manifest, write_tiny_package
from tests.waiting import HANG_S, wait_until

pytestmark = pytest.mark.usefixtures("no_long_pauses")


def test_swapping_under_load_loses_and_doubles_nothing(tiny_package: Path, tmp_path: Path) -> None:
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=0.5)
    other = write_tiny_package(tmp_path / "other.partsight", decision=decision)
    packages = [tiny_package, other]
    sink = ListSink()
    camera = ScriptedCamera(pictures(1000))
    recognizer = Recognizer(tiny_package, batch_size=4, engine=ONE_THREAD)
    with Line(recognizer, {"c": lambda: camera}, {"s": sink}, policy=BLOCK) as line:
        ids = []
        while not line.wait(0):
            ids.append(line.swap(packages[(len(ids) + 1) % 2], lambda path: Recognizer(path, engine=ONE_THREAD)))
    assert [record.sequence for record in sink.records] == list(range(1000))
    assert {record.outcome for record in sink.records} <= {"recognised", "unknown"}
    assert {record.package_id for record in sink.records} == {*ids, recognizer.package_id}
    assert line.counters().swaps == len(ids) > 3


def test_a_bad_package_is_refused_and_the_old_one_stays(recognizer: Recognizer, tmp_path: Path) -> None:
    grey = write_tiny_package(tmp_path / "grey.partsight", preprocess=PreprocessSpec(SIDE_PX, SIDE_PX, color="mono"))
    before = recognizer.package_id
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(5))}, policy=BLOCK) as line:
        with pytest.raises(PackageError, match=re.escape(str(tmp_path / "nothing.partsight"))):
            line.swap(tmp_path / "nothing.partsight")
        with pytest.raises(PackageError, match=r"mono\b.*bgr"):
            line.swap(grey)
        assert line.package_id == before
        assert line.wait(HANG_S)
    assert line.counters().refused_swaps == 2


def test_a_package_that_the_lines_keys_have_not_signed_is_refused(tiny_package: Path, tmp_path: Path) -> None:
    key, other = new_key(tmp_path / "key"), new_key(tmp_path / "other")
    packages = {
        "first": signed_copy(tiny_package, tmp_path / "first.partsight", key),
        "second": signed_copy(tiny_package, tmp_path / "second.partsight", key, other),
        "unsigned": tiny_package,
        "others": signed_copy(tiny_package, tmp_path / "others.partsight", other),
    }
    sink = ListSink()
    recognizer = Recognizer(packages["first"], engine=ONE_THREAD, trusted_keys=[key.public])
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(5))}, {"s": sink}, policy=BLOCK) as line:
        for name in ("unsigned", "others"):
            with pytest.raises(SignatureError, match=re.escape(str(packages[name]))):
                line.swap(packages[name])
        for name in ("unsigned", "first"):  # by a loader that trusts whatever comes, even for a package that is signed
            with pytest.raises(SignatureError, match="trusted_keys"):
                line.swap(packages[name], lambda path: Recognizer(path, engine=ONE_THREAD))
        with pytest.raises(SignatureError, match="trusted_keys"):
            line.swap(packages["others"], lambda path: Recognizer(path, engine=ONE_THREAD, trusted_keys=[other.public]))
        line.swap(packages["second"], lambda path: Recognizer(path, trusted_keys=[key.public, other.public]))
        for load in (None, lambda path: Recognizer(path, engine=ONE_THREAD, trusted_keys=[other.public])):
            with pytest.raises(SignatureError, match="key"):
                line.swap(packages["others"], load)  # the line's keys stay those of its start
        line.swap(packages["first"])
        assert line.wait(HANG_S)
    counters = line.counters()
    assert (counters.swaps, counters.refused_swaps) == (2, 7)
    ids = {"", key.public.key_id, f"{key.public.key_id} {other.public.key_id}"}
    assert {record.signed_by for record in sink.records} <= ids - {""}


def test_an_altered_golden_image_leaves_no_frame_without_an_answer(
    altered_package: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The bank answers. An error says that it cannot be held in memory."""
    sent = [solid(colour) for colour in COLOURS]
    _, sink = run(Recognizer(altered_package, engine=ONE_THREAD), sent)
    assert [record.label for record in sink.records] == list(COLOURS)
    wait_until(lambda: "gallery/red.png" in caplog.text)


def test_a_package_of_smaller_batches_is_swapped_in(tiny_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    start = Recognizer.start_batch

    @functools.wraps(start)
    def note(recognizer: Recognizer, frames: Sequence[Pixels]) -> Any:
        sizes.append(len(frames))
        return start(recognizer, frames)

    monkeypatch.setattr(Recognizer, "start_batch", note)
    large, sink = Recognizer(tiny_package, batch_size=8, engine=ONE_THREAD), ListSink()
    started, opened = gated(large, monkeypatch)

    def swap() -> None:
        assert started.wait(HANG_S)
        line.swap(tiny_package, lambda path: Recognizer(path, batch_size=1, engine=ONE_THREAD))
        opened.set()

    camera = ScriptedCamera([*pictures(8), swap, *pictures(4)])
    with Line(large, {"c": lambda: camera}, {"s": sink}, policy=Policy("block", 8)) as line:
        assert line.wait(HANG_S)
    assert [record.sequence for record in sink.records] == list(range(12))
    assert line.counters().cameras["c"].failed == 0
    assert sizes[-4:] == [1] * 4


def test_no_package_takes_a_place_in_a_closed_line(recognizer: Recognizer, tiny_package: Path) -> None:
    with Line(recognizer, {"c": lambda: ScriptedCamera(pictures(1))}) as line:
        assert line.wait(HANG_S)
    loaded: list[Recognizer] = []

    def load(path: Any) -> Recognizer:
        loaded.append(Recognizer(path, engine=ONE_THREAD))
        return loaded[0]

    with pytest.raises(PartsightError, match="Line"):
        line.swap(tiny_package, load)
    assert loaded[0].is_closed
    assert line.recognizer is recognizer
