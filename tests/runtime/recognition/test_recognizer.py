import io
import itertools
import json
import os
import shutil
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from partsight.runtime import FrameError, PackageError, PartsightError, ProviderError, Recognizer, Result
from partsight.runtime.cameras import Frame
from partsight.runtime.images.preprocessing import PreprocessSpec, Region
from partsight.runtime.inference.providers import PROVIDERS
from partsight.runtime.inference.session import Inference, Session
from partsight.runtime.matching import Matcher, MatchingSpec
from partsight.runtime.package import package
from partsight.runtime.package.digest import with_digest
from partsight.runtime.recognition.batch import Preparer
from partsight.runtime.recognition.decision import decide_matched
from partsight.runtime.recognition.pipeline import Pipeline
from tests.tiny import (
    AGREEMENT_THRESHOLD,
    COLOURS_BGR,
    SIDE_PX,
    THRESHOLD,
    solid,
    tiny_manifest,
    tiny_matching,
    tiny_model,
    write_tiny_package,
)
from tests.waiting import HANG_S

COLOURS = list(COLOURS_BGR)


@pytest.fixture(scope="module")
def recognizer(tiny_package: Path):
    with Recognizer(tiny_package) as recognizer:
        yield recognizer


def mixed(count: int, seed: int = 0) -> list[np.ndarray]:
    """Frames of all colours and sizes with noise on them, and some of random colours."""
    rng = np.random.default_rng(seed)
    frames = []
    for index in range(count):
        colour = COLOURS[rng.integers(len(COLOURS))] if index % 4 else tuple(rng.integers(0, 256, 3))
        frame = solid(colour, *rng.integers(20, 90, 2)).astype(int) + rng.integers(-40, 41, 3)
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return frames


def answer(result: Result) -> tuple[object, ...]:
    """All of a result but its time."""
    return result.label, result.accepted, [label for label, _ in result.top]


def numbers(result: Result) -> list[float]:
    return [result.score, result.margin, *(score for _, score in result.top)]


@pytest.mark.parametrize("colour", COLOURS)
def test_known_parts(recognizer: Recognizer, colour: str) -> None:
    part = recognizer.recognize(solid(colour))
    assert part.label == part.top[0][0] == colour
    assert part.accepted
    assert part.score == pytest.approx(1, abs=1e-6)
    assert part.margin == pytest.approx(2 / 3, abs=1e-6)
    assert len(part.top) == 5
    assert part.latency_ms >= 0


@pytest.mark.parametrize("bgr", [(0, 0, 0), (255, 255, 255), (127, 128, 128), (255, 128, 0)])
def test_unknown_parts(recognizer: Recognizer, bgr: tuple[int, int, int]) -> None:
    part = recognizer.recognize(solid(bgr))
    assert part.label is None
    assert part.accepted is False
    assert part.score < THRESHOLD
    assert part.top[0][1] == part.score


def test_facts(recognizer: Recognizer, tiny_package: Path) -> None:
    assert recognizer.labels == tuple(COLOURS)
    assert recognizer.provider == "cpu"
    assert recognizer.threshold == THRESHOLD
    assert recognizer.manifest.models["fp32"].file == "model.fp32.onnx"
    assert len(recognizer.package_id) == 16


def test_a_result_cannot_be_changed(recognizer: Recognizer) -> None:
    with pytest.raises(FrozenInstanceError):
        recognizer.recognize(solid("red")).label = "blue"  # type: ignore[misc]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 16, 100])
def test_order_and_answers_do_not_depend_on_the_batch(tiny_package: Path, batch_size: int) -> None:
    frames = mixed(23)
    with Recognizer(tiny_package, batch_size=batch_size) as recognizer:
        together = recognizer.recognize_batch(frames)
        one_by_one = [recognizer.recognize(frame) for frame in frames]
    assert [answer(result) for result in together] == [answer(result) for result in one_by_one]
    assert len({result.label for result in together}) == len(COLOURS) + 1  # all, and unknown
    for left, right in zip(together, one_by_one, strict=True):
        np.testing.assert_allclose(numbers(left), numbers(right), atol=1e-6)


def test_order_over_chunks(tiny_package: Path) -> None:
    colours = list(itertools.islice(itertools.cycle(COLOURS), 20))
    with Recognizer(tiny_package, batch_size=3) as recognizer:
        assert [part.label for part in recognizer.recognize_batch([solid(colour) for colour in colours])] == colours


@pytest.mark.parametrize("kind", ["tiny_package", "verified_package"])
def test_latency_grows_over_the_chunks_of_a_call(kind: str, request: pytest.FixtureRequest) -> None:
    with Recognizer(request.getfixturevalue(kind), batch_size=2) as recognizer:
        latencies = [part.latency_ms for part in recognizer.recognize_batch(mixed(6))]
    assert latencies == sorted(latencies)
    assert [latencies[index] == latencies[index + 1] for index in (0, 2, 4)] == [True] * 3


def test_no_frames(recognizer: Recognizer) -> None:
    assert recognizer.recognize_batch([]) == []


def test_frames_may_be_one_array(recognizer: Recognizer) -> None:
    frames = np.stack([solid(colour) for colour in COLOURS])
    assert [part.label for part in recognizer.recognize_batch(frames)] == COLOURS  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_size", [16, 4, 1])
@pytest.mark.parametrize("place", [0, 5, 9])
@pytest.mark.parametrize("call", ["recognize_batch", "infer"])
def test_a_bad_frame_is_named_before_any_work(
    tiny_package: Path, runs: list[np.ndarray], batch_size: int, place: int, call: str
) -> None:
    frames: list[Any] = mixed(10)
    frames[place] = frames[place].astype(np.float32)
    with Recognizer(tiny_package, batch_size=batch_size) as recognizer:
        runs.clear()
        with pytest.raises(FrameError, match=f"^frame {place} of 10: received dtype float32"):
            getattr(recognizer, call)(frames)
        assert runs == []
        good = frames[:place] + frames[place + 1 :]
        assert len(recognizer.recognize_batch(good)) == 9
        assert sum(len(batch) for batch in runs) == 9


class ReadWhenAsked(Sequence[np.ndarray]):
    """Forty frames, as from files; counts how often one was read, and how many were in memory at a time."""

    def __init__(self) -> None:
        self.reads = self.held = self.most_held = 0

    def __len__(self) -> int:
        return 40

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[index] for index in range(*place.indices(len(self)))]
        if place >= len(self):
            raise IndexError(place)
        frame = solid("red")
        weakref.finalize(frame, self._free)
        self.reads, self.held = self.reads + 1, self.held + 1
        self.most_held = max(self.most_held, self.held)
        return frame

    def _free(self) -> None:
        self.held -= 1


def test_frames_from_files_are_not_all_in_memory(tiny_package: Path) -> None:
    frames = ReadWhenAsked()
    with Recognizer(tiny_package, batch_size=4) as recognizer:
        assert [part.label for part in recognizer.recognize_batch(frames)] == ["red"] * 40
    assert frames.reads == 2 * 40
    assert frames.most_held < 3 * 4


def test_a_bad_frame_alone(recognizer: Recognizer) -> None:
    with pytest.raises(FrameError, match=r"^received None;"):
        recognizer.recognize(None)  # type: ignore[arg-type]
    with pytest.raises(FrameError, match=r"received a mono frame of shape \(48, 64\)"):
        recognizer.recognize(solid("red")[:, :, 0].copy())


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_threads_get_the_answers_of_their_own_frames(tiny_package: Path, batch_size: int) -> None:
    calls = [mixed(1 + seed % 7, seed) for seed in range(200)]
    with Recognizer(tiny_package, batch_size=batch_size, threads=1) as recognizer:
        serial = [recognizer.recognize_batch(frames) for frames in calls]
        with ThreadPoolExecutor(8) as pool:
            parallel = list(pool.map(recognizer.recognize_batch, calls))
    for left, right in zip(serial, parallel, strict=True):
        assert [answer(result) for result in left] == [answer(result) for result in right]
        assert [numbers(result) for result in left] == [numbers(result) for result in right]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The batches that the real network ran on."""
    batches: list[np.ndarray] = []
    run = Session.run

    def record(session: Session, batch: np.ndarray) -> Inference:
        batches.append(batch)
        return run(session, batch)

    monkeypatch.setattr(Session, "run", record)
    return batches


@pytest.mark.parametrize(("on_card", "batch_size", "sizes"), [(False, 16, [1]), (True, 1, [1]), (True, 16, [1, 16])])
def test_warm_up_runs_what_is_slow_at_first(
    tiny_package: Path, runs: list[Any], monkeypatch: pytest.MonkeyPatch, on_card: bool, batch_size: int, sizes: Any
) -> None:
    monkeypatch.setitem(PROVIDERS, "cpu", replace(PROVIDERS["cpu"], on_card=on_card))
    with Recognizer(tiny_package, batch_size=batch_size):
        assert sorted(len(batch) for batch in runs) == sizes


@pytest.mark.parametrize("count", [0, 3, -1])
def test_comparers_have_no_effect_and_a_warning(verified_package: Path, count: int) -> None:
    with pytest.warns(DeprecationWarning, match=r"^comparers has no effect: .*; remove it$") as told:
        recognizer = Recognizer(verified_package, comparers=count)
    assert [warning.filename for warning in told] == [__file__]
    with recognizer, Recognizer(verified_package) as without:
        frames = mixed(6)
        assert [answer(part) for part in recognizer.recognize_batch(frames)] == [
            answer(part) for part in without.recognize_batch(frames)
        ]


def put_on_a_card(recognizer: Recognizer) -> None:
    """Let a recogniser believe that its network runs on a GPU."""
    assert recognizer._pipeline is not None
    session = recognizer._pipeline.session
    session.provider = replace(session.provider, on_card=True)


def test_a_card_needs_the_matching_graph(verified_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never compared on the processor instead without a word."""
    monkeypatch.setitem(PROVIDERS, "cpu", replace(PROVIDERS["cpu"], on_card=True))
    with pytest.raises(PackageError, match=r"has no matching graph, which provider cpu needs; export the package aga"):
        Recognizer(verified_package)
    Recognizer(verified_package, verify=False).close()


@pytest.mark.parametrize("kind", ["tiny_package", "verified_package"])
def test_on_a_card_the_answers_are_the_same(kind: str, request: pytest.FixtureRequest) -> None:
    frames = mixed(23)
    with Recognizer(request.getfixturevalue(kind), batch_size=4) as recognizer:
        expected = recognizer.recognize_batch(frames)
        put_on_a_card(recognizer)
        found = recognizer.recognize_batch(frames)
    assert [(answer(part), numbers(part)) for part in found] == [(answer(part), numbers(part)) for part in expected]


def test_a_batch_is_prepared_while_another_runs_if_that_leaves_a_core(
    tiny_package: Path, verified_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a card, and where frames are compared; with the network alone on the CPU it does not."""
    overlapped, one_by_one = ["prepare", "prepare", "run", "prepare", "run", "run"], ["prepare", "run"] * 3
    events: list[str] = []
    start, run = Preparer.start, Session.run
    monkeypatch.setattr(Preparer, "start", lambda *args: (events.append("prepare"), start(*args))[1])
    monkeypatch.setattr(Session, "run", lambda *args: (events.append("run"), run(*args))[1])
    with Recognizer(tiny_package, batch_size=2) as recognizer:
        events.clear()
        recognizer.recognize_batch(mixed(6))
        assert events == one_by_one
        events.clear()
        put_on_a_card(recognizer)
        recognizer.recognize_batch(mixed(6))
        assert events == overlapped
    with Recognizer(verified_package, batch_size=2) as recognizer:
        events.clear()
        recognizer.recognize_batch(mixed(6))
        assert events == overlapped


def test_an_answer_is_not_ready_before_those_before_it(verified_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the second batch may have been compared while the first still is."""
    first, match = threading.Lock(), Matcher.match
    runs, run = threading.Semaphore(0), Session.run

    def slow_at_first(*args: Any) -> Any:
        if first.acquire(blocking=False):
            assert all(runs.acquire(timeout=HANG_S) for _ in range(2))  # the second batch awaits its comparison
        return match(*args)

    with Recognizer(verified_package, batch_size=2) as recognizer:
        monkeypatch.setattr(Matcher, "match", slow_at_first)
        monkeypatch.setattr(Session, "run", lambda *args: (run(*args), runs.release())[0])
        latencies = [part.latency_ms for part in recognizer.recognize_batch(mixed(4))]
    assert latencies == sorted(latencies)


def test_the_comparison_is_timed_when_it_ends(verified_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the network of the next batch runs before anybody asks for it."""
    compared = threading.Semaphore(0)
    ends: list[float] = []
    run, decide = Session.run, Pipeline._decide

    def count(*args: Any) -> Any:
        found = decide(*args)
        compared.release()
        return found

    def wait(session: Session, batch: np.ndarray) -> Any:
        found = run(session, batch)
        if ends:  # of the second batch: the first is compared meanwhile
            assert compared.acquire(timeout=HANG_S)
        ends.append(time.perf_counter())
        return found

    with Recognizer(verified_package, batch_size=2) as recognizer:
        monkeypatch.setattr(Pipeline, "_decide", count)
        monkeypatch.setattr(Session, "run", wait)
        started = time.perf_counter()
        first, *_ = recognizer.recognize_batch(mixed(4))
    assert started + first.latency_ms / 1000 <= ends[1]
    assert ends[0] + first.stages.compare_ms / 1000 <= ends[1]


@pytest.mark.parametrize("kind", ["tiny_package", "verified_package"])
def test_batches_that_are_started_give_the_same_answers(kind: str, request: pytest.FixtureRequest) -> None:
    frames = mixed(12)
    with Recognizer(request.getfixturevalue(kind), batch_size=4) as recognizer:
        expected = recognizer.recognize_batch(frames)
        batches = [recognizer.start_batch(frames[place : place + 4]) for place in (0, 4, 8)]
        found = [part for batch in batches for part in batch.wait()]
        assert batches[0].wait() == found[:4]  # again
        for count in (0, 5):
            with pytest.raises(ValueError, match=f"received {count} frames; expected 1 to 4"):
                recognizer.start_batch(frames[:count])
        with pytest.raises(FrameError, match="frame 1"):
            recognizer.start_batch([frames[0], frames[0][:, 0]])
    assert [(answer(part), numbers(part)) for part in found] == [(answer(part), numbers(part)) for part in expected]


@pytest.mark.parametrize("is_done", [False, True])
def test_a_started_batch_is_compared_while_others_are_in_the_network_if_that_leaves_a_core(
    verified_package: Path, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    opened, ended = threading.Event(), threading.Event()

    def gated(*args: Any) -> Any:
        assert is_done or opened.wait(HANG_S)
        found = decide_matched(*args)
        ended.set()
        return found

    if is_done:
        monkeypatch.setattr(Pipeline, "ahead", 0)
    with Recognizer(verified_package) as recognizer:
        monkeypatch.setattr("partsight.runtime.recognition.pipeline.decide_matched", gated)
        batch = recognizer.start_batch([solid("red")])
        assert ended.is_set() == is_done
        opened.set()
        assert ended.wait(HANG_S)  # nobody waits for it yet
        assert [part.label for part in batch.wait()] == ["red"]


def test_a_started_batch_that_cannot_be_answered_says_so_each_time(
    verified_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError("no room")

    with Recognizer(verified_package) as recognizer:
        monkeypatch.setattr(Matcher, "match", fail)
        batch = recognizer.start_batch([solid("red")])
        with pytest.raises(MemoryError, match="no room"):
            batch.wait()
        with pytest.raises(PartsightError, match="could not be answered, as an earlier call told"):
            batch.wait()


@pytest.mark.parametrize(("on_card", "count"), [(False, 1), (True, 3)])
def test_one_thread_uses_as_many_buffers_as_batches_are_begun(
    tiny_package: Path, runs: list[np.ndarray], on_card: bool, count: int
) -> None:
    with Recognizer(tiny_package, batch_size=4) as recognizer:
        if on_card:
            put_on_a_card(recognizer)
        runs.clear()
        recognizer.recognize_batch(mixed(10))
        recognizer.recognize(solid("red"))
        recognizer.infer(mixed(3))
    assert [len(batch) for batch in runs] == [4, 4, 2, 1, 3]
    assert len({batch.__array_interface__["data"] for batch in runs}) == count


@pytest.mark.parametrize("batch_size", [2, 16])
def test_infer(tiny_package: Path, batch_size: int) -> None:
    frames = mixed(5)
    with Recognizer(tiny_package, batch_size=batch_size) as recognizer:
        inference = recognizer.infer(frames)
        results = recognizer.recognize_batch(frames)
    assert inference.score.shape == (5, len(COLOURS))
    assert inference.embedding.shape == (5, 3)
    np.testing.assert_allclose(inference.score.max(axis=1), [result.score for result in results], atol=1e-6)


def test_infer_no_frames(recognizer: Recognizer) -> None:
    inference = recognizer.infer([])
    assert inference.score.shape == (0, len(COLOURS))
    assert inference.embedding.shape == (0, 3)
    assert inference.score.dtype == inference.embedding.dtype == np.float32


def test_infer_gives_arrays_that_later_calls_do_not_change(recognizer: Recognizer) -> None:
    inference = recognizer.infer([solid("red")])
    before = inference.score.copy(), inference.embedding.copy()
    recognizer.infer([solid("blue")])
    np.testing.assert_array_equal(inference.score, before[0])
    np.testing.assert_array_equal(inference.embedding, before[1])


def test_closed(tiny_package: Path) -> None:
    with Recognizer(tiny_package) as recognizer:
        pass
    for frames in ([solid("red")], []):
        with pytest.raises(PartsightError, match=r"this Recognizer is closed; create a new one"):
            recognizer.recognize_batch(frames)
        with pytest.raises(PartsightError, match=r"closed"):
            recognizer.infer(frames)
    with pytest.raises(PartsightError, match=r"closed"):
        recognizer.recognize(solid("red"))
    recognizer.close()  # once more does no harm
    assert recognizer.provider == "cpu"
    assert recognizer.labels == tuple(COLOURS)


def test_a_frame_of_a_camera_of_ours(recognizer: Recognizer) -> None:
    """Whose picture is meant."""
    with pytest.raises(FrameError, match=r"received Frame; expected .*: pass its `image`"):
        recognizer.recognize(Frame(solid("red"), "usb:0", 0, 0.0))  # type: ignore[arg-type]


def test_closing_inside_the_block(tiny_package: Path) -> None:
    with Recognizer(tiny_package) as recognizer:
        recognizer.close()


def test_closing_while_threads_work(tiny_package: Path) -> None:
    """Each call ends with its answers, or with the error of a closed recogniser."""
    recognizer = Recognizer(tiny_package, batch_size=1, threads=1)

    def work(_: int) -> str:
        try:
            return ",".join(str(part.label) for part in recognizer.recognize_batch([solid("red")] * 50))
        except PartsightError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(work, range(40))
        first = next(answers)
        recognizer.close()
        seen = {first, *answers}
    assert first == ",".join(["red"] * 50)
    assert seen <= {first, "this Recognizer is closed; create a new one"}


def test_an_onnx_file_alone(tiny_package: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.onnx"
    shutil.copy(tiny_package / "model.fp32.onnx", alone)
    with Recognizer(str(alone)) as recognizer:
        assert [recognizer.recognize(solid(colour)).label for colour in COLOURS] == COLOURS
        assert recognizer.manifest == tiny_manifest()
        assert len(recognizer.package_id) == 16


def test_an_onnx_file_without_a_manifest(tmp_path: Path) -> None:
    import onnx

    model = onnx.load_from_string(tiny_model())
    del model.metadata_props[:]
    (tmp_path / "alone.onnx").write_bytes(with_digest(model.SerializeToString()))
    with pytest.raises(PackageError, match=r"alone\.onnx: its metadata holds no partsight manifest"):
        Recognizer(tmp_path / "alone.onnx")


@pytest.mark.parametrize("name", ["missing.onnx", "missing.partsight"])
def test_nothing_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(PackageError, match=f"{name}: there is no such model package"):
        Recognizer(tmp_path / name)


def test_altered_model_is_refused(tiny_package: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(tiny_package, tmp_path / "line3.partsight"))
    (package / "model.fp32.onnx").write_bytes(tiny_model(classes=5))
    with pytest.raises(PackageError, match=r"altered or damaged"):
        Recognizer(package)


@pytest.mark.parametrize("call", ["stat", "open"])
def test_an_onnx_file_alone_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(b"whatever")
    real = {"stat": os.stat, "open": io.open}[call]

    def refuse(path: object, *args: object, **options: object) -> object:
        if str(path) == str(alone):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **options)  # type: ignore[operator]

    monkeypatch.setattr(os if call == "stat" else io, call, refuse)
    with pytest.raises(PackageError, match=r"alone\.onnx: (cannot be read .*Permission denied|there is no such)"):
        Recognizer(alone)


@pytest.mark.parametrize("labels", [("red",), tuple(COLOURS[:5]), (*COLOURS, "one more")])
@pytest.mark.parametrize("alone", [False, True])
def test_labels_that_do_not_match_the_network(tmp_path: Path, labels: tuple[str, ...], alone: bool) -> None:
    package = write_tiny_package(tmp_path / "line3.partsight", labels=labels)
    path = package / "model.fp32.onnx" if alone else package
    with pytest.raises(PackageError, match=f"the manifest has {len(labels)} labels, the network 6 scores"):
        Recognizer(path)


@pytest.mark.parametrize("size", [(SIDE_PX, SIDE_PX + 1), (SIDE_PX + 1, SIDE_PX)])
def test_size_that_does_not_match_the_network(tmp_path: Path, size: tuple[int, int]) -> None:
    package = write_tiny_package(tmp_path / "line3.partsight", preprocess=PreprocessSpec(*size))
    with pytest.raises(PackageError, match=rf"prepares frames of \({size[0]}, {size[1]}\).*takes \(36, 36\)"):
        Recognizer(package)


def test_region_of_the_package(tmp_path: Path) -> None:
    spec = PreprocessSpec(SIDE_PX, SIDE_PX, region=Region(x=10, y=20, width=30, height=15))
    package = write_tiny_package(tmp_path / "line3.partsight", preprocess=spec)
    frame = solid("blue", 60, 80)
    frame[20:35, 10:40] = COLOURS_BGR["red"]
    with Recognizer(package) as recognizer:
        assert recognizer.recognize(frame).score == pytest.approx(1, abs=1e-6)
        assert recognizer.recognize(frame).label == "red"
        with pytest.raises(FrameError, match=r"the package's region reaches to \(40, 35\)"):
            recognizer.recognize(solid("red", 34, 80))


def test_mono_package(tmp_path: Path) -> None:
    package = write_tiny_package(tmp_path / "l.partsight", preprocess=PreprocessSpec(SIDE_PX, SIDE_PX, color="mono"))
    with Recognizer(package) as recognizer:
        inference = recognizer.infer([np.full((50, 60), 255, np.uint8)])
        np.testing.assert_allclose(inference.embedding, [[3**-0.5] * 3], rtol=1e-6)
        with pytest.raises(FrameError, match=r"taught in grey"):
            recognizer.recognize(solid("red"))


def test_threshold_override(tiny_package: Path) -> None:
    orange = solid((0, 110, 255))
    for threshold, label in ((0.0, "red"), (0.8, "red"), (None, None), (0.99, None)):
        with Recognizer(tiny_package, threshold=threshold) as recognizer:
            assert recognizer.recognize(orange).label == label
    assert recognizer.threshold == 0.99


def test_threshold_comes_from_the_package(tmp_path: Path) -> None:
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=-1.0)
    with Recognizer(write_tiny_package(tmp_path / "l.partsight", decision=decision)) as recognizer:
        assert recognizer.recognize(solid((0, 0, 0))).accepted


@pytest.mark.parametrize(("top", "count"), [(1, 1), (3, 3), (6, 6), (100, 6)])
def test_top(tiny_package: Path, top: int, count: int) -> None:
    with Recognizer(tiny_package, top=top) as recognizer:
        part = recognizer.recognize(solid("red"))
    assert len(part.top) == count
    assert part.margin == pytest.approx(2 / 3, abs=1e-6)


@pytest.mark.parametrize("name", ["batch_size", "top", "threads"])
@pytest.mark.parametrize("value", [0, -1])
def test_numbers_below_one(tiny_package: Path, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; expected a whole number of at least 1"):
        Recognizer(tiny_package, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), float("-inf")])
def test_a_threshold_that_is_no_number(tiny_package: Path, threshold: float) -> None:
    with pytest.raises(ValueError, match=f"threshold is {threshold}; expected a finite number"):
        Recognizer(tiny_package, threshold=threshold)


def test_what_cannot_be_had(tiny_package: Path) -> None:
    with pytest.raises(PackageError, match=r"asked for precision int8; the package has fp32"):
        Recognizer(tiny_package, precision="int8")
    with pytest.raises(ProviderError, match=r"provider 'tpu' is not known"):
        Recognizer(tiny_package, provider="tpu")


ORANGE = (0, 110, 255)


def test_frames_are_compared_with_golden_images(verified_package: Path) -> None:
    with Recognizer(verified_package) as recognizer:
        assert recognizer.threshold == AGREEMENT_THRESHOLD
        for colour in COLOURS:
            part = recognizer.recognize(solid(colour))
            assert part.label == part.top[0][0] == colour
            assert part.score == pytest.approx(1, abs=1e-3)
            assert part.margin == pytest.approx(part.score - part.top[1][1])
        for bgr in ((0, 0, 0), (255, 255, 255), (128, 128, 128), ORANGE):
            part = recognizer.recognize(solid(bgr))
            assert (part.label, part.accepted) == (None, False)
            assert 0 < part.score < AGREEMENT_THRESHOLD


def test_closed_meanwhile_it_still_compares(verified_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call under way must not go on with the network's answer and the comparison's threshold."""
    recognizer = Recognizer(verified_package, batch_size=1)
    frames = [solid("red"), solid("blue"), solid("green")]
    expected = recognizer.recognize_batch(frames)
    chunks = Pipeline.chunks

    def closing(*args: Any) -> object:
        for chunk in chunks(*args):
            recognizer.close()
            yield chunk

    monkeypatch.setattr(Pipeline, "chunks", closing)
    found = recognizer.recognize_batch(frames)
    assert [(item.label, item.score) for item in found] == [(item.label, item.score) for item in expected]
    assert recognizer._pipeline is None  # its golden images are memory, too


def test_without_the_comparison_the_network_answers_alone(verified_package: Path, tiny_package: Path) -> None:
    frames = mixed(20)
    with (
        Recognizer(verified_package, verify=False, threshold=0.8) as alone,
        Recognizer(tiny_package, threshold=0.8) as bare,
        Recognizer(verified_package) as verified,
    ):
        assert alone.recognize(solid(ORANGE)).label == "red"
        assert verified.recognize(solid(ORANGE)).label is None
        found, expected = alone.recognize_batch(frames), bare.recognize_batch(frames)
    assert [(answer(part), numbers(part)) for part in found] == [(answer(part), numbers(part)) for part in expected]
    with Recognizer(verified_package, verify=False) as alone:
        assert alone.threshold == THRESHOLD


def test_the_networks_whole_scores_stay_its_own(verified_package: Path, tiny_package: Path) -> None:
    with Recognizer(verified_package) as verified, Recognizer(tiny_package) as bare:
        np.testing.assert_array_equal(verified.infer(mixed(5)).score, bare.infer(mixed(5)).score)


def test_the_golden_images_decide_not_the_network(tmp_path: Path) -> None:
    """Two of them are swapped in the manifest: so are the answers."""
    swapped = {"red": "green", "green": "red"}
    names = tuple(f"gallery/{swapped.get(label, label)}.png" for label in COLOURS)
    matching = msgspec.structs.replace(tiny_matching(), references=names)
    with Recognizer(write_tiny_package(tmp_path / "l.partsight", matching=matching)) as recognizer:
        for colour in COLOURS:
            assert recognizer.recognize(solid(colour)).label == swapped.get(colour, colour)


def test_what_two_golden_images_fit_is_unknown(tmp_path: Path) -> None:
    names = tuple(f"gallery/{'red' if label == 'magenta' else label}.png" for label in COLOURS)
    matching = msgspec.structs.replace(tiny_matching(), references=names)
    with Recognizer(write_tiny_package(tmp_path / "l.partsight", matching=matching)) as recognizer:
        part = recognizer.recognize(solid("red"))
        assert (part.label, part.margin) == (None, pytest.approx(0, abs=1e-6))
        assert part.score == pytest.approx(1, abs=1e-3)
        assert {label for label, _ in part.top[:2]} == {"red", "magenta"}
        assert recognizer.recognize(solid("blue")).label == "blue"


def test_what_is_held_needs_its_folder_no_more(verified_package: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(verified_package, tmp_path / "line3.partsight"))
    frames = mixed(12)
    with Recognizer(package, batch_size=5) as recognizer:
        expected = recognizer.recognize_batch(frames)
        recognizer.hold()
        for path in package.rglob("*.*"):  # overwritten, too: a map of a deleted file would still have its pages
            path.write_bytes(bytes(path.stat().st_size))
        shutil.rmtree(package)
        found = recognizer.recognize_batch(frames)
        golden = recognizer.golden_image("red")
        assert recognizer.appearance(solid("red"), "red") is not None
    assert [(answer(part), numbers(part)) for part in found] == [(answer(part), numbers(part)) for part in expected]
    np.testing.assert_array_equal(golden, solid("red", SIDE_PX, SIDE_PX))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a file that is mapped cannot be deleted")
def test_a_folder_that_is_deleted_is_still_mapped(verified_package: Path, tmp_path: Path) -> None:
    """Of a bank that is too large to be held."""
    package = Path(shutil.copytree(verified_package, tmp_path / "line3.partsight"))
    with pytest.MonkeyPatch.context() as patch, Recognizer(package) as recognizer:
        patch.setattr("partsight.runtime.recognition.loading._MAX_HELD_BYTES", 100)
        recognizer.hold()
        shutil.rmtree(package)
        assert [recognizer.recognize(solid(colour)).label for colour in COLOURS] == COLOURS
        with pytest.raises(PackageError, match=r"gallery/yellow\.png cannot be read"):
            recognizer.golden_image("yellow")


def test_what_is_too_large_is_not_held(verified_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Recognizer(verified_package) as recognizer:
        pipeline = recognizer._pipeline
        assert pipeline is not None and pipeline.comparison is not None
        matcher, kept = pipeline.comparison.matcher, pipeline.comparison.package._kept
        before, size = matcher.bank.records, matcher.bank.records.nbytes
        monkeypatch.setattr("partsight.runtime.recognition.loading._MAX_HELD_BYTES", 150)
        recognizer.hold()
        assert matcher.bank.records is before
        assert 0 < len(kept) < len(COLOURS)  # until there is no room
        monkeypatch.setattr("partsight.runtime.recognition.loading._MAX_HELD_BYTES", size)
        recognizer.hold()
        assert matcher.bank.records is not before and matcher.bank.records.flags.owndata
        assert len(kept) == len(COLOURS)


def test_holding_ends_when_the_recogniser_is_closed(verified_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = Recognizer(verified_package)
    kept: list[int] = []

    def keep(_: object, index: int) -> int:
        kept.append(index)
        recognizer.close()
        return 1

    monkeypatch.setattr(package.ModelPackage, "keep_golden_image", keep)
    recognizer.hold()
    assert kept == [0]
    with pytest.raises(PartsightError, match="closed"):
        recognizer.hold()


@pytest.mark.parametrize(("threshold", "label"), [(0.0, "red"), (0.02, "red"), (None, None), (1.1, None)])
def test_the_threshold_is_on_the_agreement(verified_package: Path, threshold: float | None, label: str | None) -> None:
    with Recognizer(verified_package, threshold=threshold) as recognizer:
        part = recognizer.recognize(solid((40, 40, 255)))
        assert part.top[0][0] == "red"
        assert part.label == label


@pytest.mark.parametrize("threshold", [None, 1.1])
@pytest.mark.parametrize("finalists", [1, 2, 4, 6, 16])
@pytest.mark.parametrize("top", [1, 3, 6])
def test_top_names_the_finalists(tmp_path: Path, top: int, finalists: int, threshold: float | None) -> None:
    """Whether the frame is accepted or not."""
    spec = MatchingSpec(height=SIDE_PX, width=SIDE_PX, finalists=finalists)
    matching = msgspec.structs.replace(tiny_matching(), spec=spec)
    package = write_tiny_package(tmp_path / "l.partsight", matching=matching)
    with Recognizer(package, top=top, threshold=threshold) as recognizer:
        part = recognizer.recognize(solid("red"))
    assert len(part.top) == min(top, finalists, len(COLOURS))
    assert len({label for label, _ in part.top}) == len(part.top)
    assert [score for _, score in part.top] == sorted((score for _, score in part.top), reverse=True)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_batches_of_compared_frames(verified_package: Path, batch_size: int) -> None:
    frames = mixed(20)
    with Recognizer(verified_package, batch_size=batch_size) as recognizer:
        together = recognizer.recognize_batch(frames)
        one_by_one = [recognizer.recognize(frame) for frame in frames]
    assert [answer(result) for result in together] == [answer(result) for result in one_by_one]
    for left, right in zip(together, one_by_one, strict=True):
        np.testing.assert_allclose(numbers(left), numbers(right), atol=1e-5)
    assert len({result.label for result in together}) > 3


def test_many_threads_compare(verified_package: Path) -> None:
    """Nothing is ready at first: all threads need the same golden images at once."""
    calls = [mixed(1 + seed % 4, seed) for seed in range(60)]
    with Recognizer(verified_package, batch_size=2, threads=1) as recognizer:
        with ThreadPoolExecutor(8) as pool:
            parallel = list(pool.map(recognizer.recognize_batch, calls))
        serial = [recognizer.recognize_batch(frames) for frames in calls]
    for left, right in zip(serial, parallel, strict=True):
        assert [answer(result) for result in left] == [answer(result) for result in right]
        assert [numbers(result) for result in left] == [numbers(result) for result in right]


def test_an_onnx_file_alone_compares_with_nothing(verified_package: Path, tmp_path: Path) -> None:
    """It brings no golden images, whatever its metadata says."""
    alone = Path(shutil.copy(verified_package / "model.fp32.onnx", tmp_path / "alone.onnx"))
    with Recognizer(alone) as recognizer:
        assert recognizer.manifest.matching is None
        assert recognizer.threshold == THRESHOLD
        assert recognizer.recognize(solid("red")).margin == pytest.approx(2 / 3, abs=1e-6)


def test_a_region_is_compared_alone(tmp_path: Path) -> None:
    spec = PreprocessSpec(SIDE_PX, SIDE_PX, region=Region(x=10, y=20, width=30, height=15))
    package = write_tiny_package(tmp_path / "l.partsight", preprocess=spec, matching=tiny_matching())
    frame = solid("blue", 60, 80)
    frame[20:35, 10:40] = COLOURS_BGR["red"]
    with Recognizer(package) as recognizer:
        assert recognizer.recognize(frame).label == "red"


def test_grey_frames_are_compared(tmp_path: Path) -> None:
    spec = PreprocessSpec(SIDE_PX, SIDE_PX, color="mono")
    package = write_tiny_package(tmp_path / "l.partsight", preprocess=spec, matching=tiny_matching())
    with Recognizer(package) as recognizer:
        assert recognizer.recognize(np.full((50, 60), 255, np.uint8)).label is None


def test_golden_images_of_another_size_than_the_manifest_says(tmp_path: Path) -> None:
    """Of the bank alone the size counts; what people are shown is brought to it."""
    spec = MatchingSpec(height=SIDE_PX + 6, width=SIDE_PX)
    matching = msgspec.structs.replace(tiny_matching(), spec=spec)
    with pytest.raises(PackageError, match=r"bank\.npy: is no bank of 6 or more references of 36×42 px"):
        Recognizer(write_tiny_package(tmp_path / "l.partsight", matching=matching))


def test_an_altered_bank_is_refused_when_the_package_is_loaded(verified_package: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(verified_package, tmp_path / "line3.partsight"))
    data = bytearray((package / "bank.npy").read_bytes())
    data[-1] ^= 1
    (package / "bank.npy").write_bytes(data)
    with pytest.raises(PackageError, match=r"bank\.npy has SHA-256 .* altered or damaged"):
        Recognizer(package)
    with Recognizer(package, verify=False) as recognizer:
        assert recognizer.recognize(solid("red")).label == "red"


def test_an_altered_golden_image_is_refused_when_it_is_needed(altered_package: Path) -> None:
    """The line compares with the bank; a golden image is for people and for how sharp a frame is."""
    said = r"gallery/red\.png has SHA-256"
    with Recognizer(altered_package) as recognizer:
        assert [recognizer.recognize(solid(colour)).label for colour in COLOURS] == COLOURS
        assert recognizer.golden_image("blue") is not None
        with pytest.raises(PackageError, match=said):
            recognizer.golden_image("red")
        with pytest.raises(PackageError, match=said):
            recognizer.appearance(solid("red"), "red")
        with pytest.raises(PackageError, match=said):
            recognizer.hold()
    with Recognizer(altered_package, verify=False) as recognizer:
        assert recognizer.recognize(solid("red")).label == "red"
        recognizer.hold()  # of nothing


def as_version_1(package: Path, side_px: int = SIDE_PX) -> Path:
    """Make a package one that partsight wrote before schema version 2."""
    path = package / "manifest.json"
    document = json.loads(path.read_bytes())
    matching = document.pop("matching")
    document["schema_version"] = 1
    document["verification"] = {
        "spec": {"height": side_px, "width": side_px, "shortlist": 32, "finalists": 5, "clear_margin": 0.2},
        "decision": matching["decision"],
        "references": matching["references"],
        "outlines": "bank.npy",
    }
    path.write_text(json.dumps(document))
    return package


def test_a_package_of_schema_version_1_answers_alike(
    verified_package: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package = as_version_1(Path(shutil.copytree(verified_package, tmp_path / "line3.partsight")))
    (package / "bank.npy").write_bytes(b"outlines")  # which nothing reads
    frames = mixed(20)
    with Recognizer(verified_package) as recognizer:
        expected = recognizer.recognize_batch(frames)
    assert caplog.messages == []
    with Recognizer(package) as recognizer:
        assert recognizer.threshold == AGREEMENT_THRESHOLD
        found = recognizer.recognize_batch(frames)
        recognizer.hold()
        golden = recognizer.golden_image("red")
    (said,) = caplog.messages
    assert "line3.partsight: a package of schema version 1" in said
    assert [(answer(part), numbers(part)) for part in found] == [(answer(part), numbers(part)) for part in expected]
    np.testing.assert_array_equal(golden, solid("red", SIDE_PX, SIDE_PX))


@pytest.mark.parametrize(("side_px", "expected"), [(32, 36), (40, 42), (64, 66)])
def test_a_package_of_schema_version_1_of_another_size(
    verified_package: Path, tmp_path: Path, side_px: int, expected: int
) -> None:
    """No multiple of 6, as its golden images were too: both are brought to the next."""
    package = as_version_1(Path(shutil.copytree(verified_package, tmp_path / "line3.partsight")), side_px)
    with Recognizer(package) as recognizer:
        assert [recognizer.recognize(solid(colour)).label for colour in COLOURS] == COLOURS
        assert recognizer.recognize(solid(ORANGE)).label is None
        golden = recognizer.golden_image("red")
        assert golden is not None and golden.shape == (expected, expected, 3)


def test_a_package_of_schema_version_1_that_compares_with_nothing(
    tiny_package: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package = Path(shutil.copytree(tiny_package, tmp_path / "line3.partsight"))
    document = json.loads((package / "manifest.json").read_bytes())
    del document["matching"]
    (package / "manifest.json").write_text(json.dumps(document | {"schema_version": 1, "verification": None}))
    with Recognizer(package) as recognizer:
        assert recognizer.threshold == THRESHOLD
        assert recognizer.recognize(solid("red")).label == "red"
    assert caplog.messages == []


@pytest.mark.parametrize("alone", [False, True])
def test_as_many_references_as_labels(tmp_path: Path, alone: bool) -> None:
    matching = msgspec.structs.replace(tiny_matching(), references=tiny_matching().references[:-1])
    package = write_tiny_package(tmp_path / "line3.partsight", matching=matching)
    with pytest.raises(PackageError, match=r"the manifest names 5 references for 6 labels; expected one each"):
        Recognizer(package / "model.fp32.onnx" if alone else package)


def test_a_reference_without_a_hash(verified_package: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(verified_package, tmp_path / "line3.partsight"))
    document = json.loads((package / "manifest.json").read_bytes())
    del document["files"]["gallery/yellow.png"]
    (package / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(PackageError, match=r"names no SHA-256 of gallery/yellow\.png; export the package again"):
        Recognizer(package)


def test_a_package_with_a_search_answers_alike(recognizer: Recognizer, tmp_path: Path) -> None:
    package = write_tiny_package(tmp_path / "many.partsight", is_searched=True)
    frames = mixed(40)
    with Recognizer(package) as searching:
        assert searching.labels == recognizer.labels
        for found, expected in zip(searching.recognize_batch(frames), recognizer.recognize_batch(frames), strict=True):
            assert (found.label, found.accepted) == (expected.label, expected.accepted)
            np.testing.assert_allclose(numbers(found), numbers(expected), atol=1e-6)
        assert searching.infer([]).score.shape == (0, len(COLOURS))


def test_a_file_without_scores_cannot_be_used_alone(tmp_path: Path) -> None:
    package = write_tiny_package(tmp_path / "many.partsight", is_searched=True)
    with pytest.raises(PackageError, match=r"expected the package's folder"):
        Recognizer(package / "model.fp32.onnx")
