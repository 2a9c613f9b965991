import itertools
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import partsight.runtime
from partsight.runtime import (
    EngineSettings,
    FrameError,
    GpuSettings,
    PackageError,
    PartsightError,
    ProviderError,
    Recognizer,
    StartedBatch,
)
from partsight.runtime.cameras import Frame
from partsight.runtime.images import PreprocessSpec, Region
from partsight.runtime.matching import MatchingSpec
from partsight.runtime.recognition import loading
from tests.runtime.recognition.samples import COLOURS, ORANGE, answers, mixed, names, numbers
from tests.tiny import (
    AGREEMENT_THRESHOLD,
    COLOURS_BGR,
    ONE_THREAD,
    SIDE_PX,
    THRESHOLD,
    solid,
    tiny_manifest,
    tiny_matching,
    write_tiny_package,
)


@pytest.fixture(scope="module")
def recognizer(tiny_package: Path):
    with Recognizer(tiny_package) as recognizer:
        yield recognizer


@pytest.mark.parametrize("colour", COLOURS)
def test_known_parts(recognizer: Recognizer, colour: str) -> None:
    part = recognizer.recognize(solid(colour))
    assert part.label == part.top[0].label == colour
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
    assert part.top[0].score == part.score


def test_facts(recognizer: Recognizer) -> None:
    assert recognizer.labels == tuple(COLOURS)
    assert recognizer.provider == "cpu"
    assert recognizer.threshold == THRESHOLD
    assert recognizer.manifest.models["fp32"].file == "model.fp32.onnx"
    assert len(recognizer.package_id) == 16


def test_a_result_cannot_be_changed(recognizer: Recognizer) -> None:
    with pytest.raises(FrozenInstanceError):
        recognizer.recognize(solid("red")).label = "blue"  # type: ignore[misc]


@pytest.mark.parametrize("kind", ["tiny_package", "matching_package"])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 16, 100])
def test_order_and_answers_do_not_depend_on_the_batch(
    kind: str, batch_size: int, request: pytest.FixtureRequest
) -> None:
    frames = mixed(23)
    with Recognizer(request.getfixturevalue(kind), batch_size=batch_size) as recognizer:
        together = recognizer.recognize_batch(frames)
        one_by_one = [recognizer.recognize(frame) for frame in frames]
    assert names(together) == names(one_by_one)
    assert len({result.label for result in together}) > 3
    np.testing.assert_allclose(numbers(together), numbers(one_by_one), atol=1e-5)


def test_no_frames(recognizer: Recognizer) -> None:
    assert recognizer.recognize_batch([]) == []


def test_frames_may_be_one_array(recognizer: Recognizer) -> None:
    frames = np.stack([solid(colour) for colour in COLOURS])
    assert [part.label for part in recognizer.recognize_batch(frames)] == COLOURS  # type: ignore[arg-type]


def test_a_bad_frame_alone(recognizer: Recognizer) -> None:
    with pytest.raises(FrameError, match="None"):
        recognizer.recognize(None)  # type: ignore[arg-type]
    with pytest.raises(FrameError, match=r"\(48, 64\)"):
        recognizer.recognize(solid("red")[:, :, 0].copy())


def test_the_event_of_a_camera_is_not_its_picture(recognizer: Recognizer) -> None:
    with pytest.raises(FrameError, match="`image`"):
        recognizer.recognize(Frame(solid("red"), "usb:0", 0, 0.0))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["tiny_package", "matching_package"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_threads_get_the_answers_of_their_own_frames(
    kind: str, batch_size: int, request: pytest.FixtureRequest
) -> None:
    """From a cold start: all threads need the same golden images at once."""
    calls = [mixed(1 + seed % 7, seed) for seed in range(60)]
    with Recognizer(request.getfixturevalue(kind), batch_size=batch_size, engine=ONE_THREAD) as recognizer:
        with ThreadPoolExecutor(8) as pool:
            parallel = list(pool.map(recognizer.recognize_batch, calls))
        serial = [recognizer.recognize_batch(frames) for frames in calls]
    assert [answers(results) for results in parallel] == [answers(results) for results in serial]


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


CALLS: dict[str, Callable[[Recognizer], object]] = {
    "recognize": lambda recognizer: recognizer.recognize(solid("red")),
    "recognize_batch": lambda recognizer: recognizer.recognize_batch([]),
    "start_batch": lambda recognizer: recognizer.start_batch([solid("red")]),
    "infer": lambda recognizer: recognizer.infer([]),
    "golden_image": lambda recognizer: recognizer.golden_image("red"),
    "appearance": lambda recognizer: recognizer.appearance(solid("red"), "red"),
    "preload": lambda recognizer: recognizer.preload(),
    "check_open": lambda recognizer: recognizer.check_open(),
    "with": lambda recognizer: recognizer.__enter__(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_closed(tiny_package: Path, call: Callable[[Recognizer], object]) -> None:
    with Recognizer(tiny_package) as recognizer:
        recognizer.close()  # twice: the end of the block calls it, too
    with pytest.raises(PartsightError, match="Recognizer"):
        call(recognizer)
    assert recognizer.is_closed
    assert recognizer.provider == "cpu"
    assert recognizer.labels == tuple(COLOURS)


def test_closing_while_threads_work(tiny_package: Path) -> None:
    """Each call ends with its answers, or with the error of a closed recogniser."""
    recognizer = Recognizer(tiny_package, batch_size=1, engine=ONE_THREAD)

    def work(_: int) -> list[str | None] | type[Exception]:
        try:
            return [part.label for part in recognizer.recognize_batch([solid("red")] * 50)]
        except PartsightError as error:
            return type(error)

    with ThreadPoolExecutor(4) as pool:
        found = pool.map(work, range(40))
        first = next(found)
        recognizer.close()
        assert first == ["red"] * 50
        assert all(item in (first, PartsightError) for item in found)


def test_closing_while_frames_are_compared(matching_package: Path) -> None:
    """The answers must not come from the network alone, against the threshold of the agreement."""
    frames = [solid("red"), solid("blue"), solid("green")]
    recognizer = Recognizer(matching_package, batch_size=1)
    expected = recognizer.recognize_batch(frames)
    batches = [recognizer.start_batch([frame]) for frame in frames]
    recognizer.close()
    assert answers([result for batch in batches for result in batch.wait()]) == answers(expected)


@pytest.mark.parametrize("matching", [None, tiny_matching()], ids=["network", "matching"])
def test_region_of_the_package(tmp_path: Path, matching: Any) -> None:
    spec = PreprocessSpec(SIDE_PX, SIDE_PX, region=Region(x=10, y=20, width=30, height=15))
    package = write_tiny_package(tmp_path / "line3.partsight", preprocess=spec, matching=matching)
    frame = solid("blue", 60, 80)
    frame[20:35, 10:40] = COLOURS_BGR["red"]
    with Recognizer(package) as recognizer:
        part = recognizer.recognize(frame)
        assert (part.label, part.score) == ("red", pytest.approx(1, abs=1e-3))
        with pytest.raises(FrameError, match="40×35 px"):
            recognizer.recognize(solid("red", 34, 80))


def test_mono_package(tmp_path: Path) -> None:
    spec = PreprocessSpec(SIDE_PX, SIDE_PX, color="mono")
    frame = np.full((50, 60), 255, np.uint8)
    with Recognizer(write_tiny_package(tmp_path / "l.partsight", preprocess=spec)) as recognizer:
        np.testing.assert_allclose(recognizer.infer([frame]).embedding, [[3**-0.5] * 3], rtol=1e-6)
        with pytest.raises(FrameError, match=re.escape("(48, 64, 3)")):
            recognizer.recognize(solid("red"))
    compared = write_tiny_package(tmp_path / "m.partsight", preprocess=spec, matching=tiny_matching())
    with Recognizer(compared) as recognizer:
        assert recognizer.recognize(frame).label is None


def test_threshold_override(tiny_package: Path) -> None:
    for threshold, label in ((0.0, "red"), (0.8, "red"), (None, None), (0.99, None)):
        with Recognizer(tiny_package, threshold=threshold) as recognizer:
            assert recognizer.recognize(solid(ORANGE)).label == label
    assert recognizer.threshold == 0.99


def test_threshold_comes_from_the_package(tmp_path: Path) -> None:
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=-1.0)
    with Recognizer(write_tiny_package(tmp_path / "l.partsight", decision=decision)) as recognizer:
        assert recognizer.recognize(solid((0, 0, 0))).accepted


@pytest.mark.parametrize(("threshold", "label"), [(0.0, "red"), (0.02, "red"), (None, None), (1.1, None)])
def test_the_threshold_is_on_the_agreement(matching_package: Path, threshold: float | None, label: str | None) -> None:
    with Recognizer(matching_package, threshold=threshold) as recognizer:
        part = recognizer.recognize(solid((40, 40, 255)))
        assert part.top[0].label == "red"
        assert part.label == label


@pytest.mark.parametrize(("top", "count"), [(1, 1), (3, 3), (6, 6), (100, 6)])
def test_top(tiny_package: Path, top: int, count: int) -> None:
    with Recognizer(tiny_package, top=top) as recognizer:
        part = recognizer.recognize(solid("red"))
    assert len(part.top) == count
    assert part.margin == pytest.approx(2 / 3, abs=1e-6)


@pytest.mark.parametrize(
    ("finalists", "top", "threshold"),
    [*itertools.product([1, 4, 16], [1, 3, 6], [None]), (4, 3, 1.1)],
)
def test_top_names_the_finalists(tmp_path: Path, top: int, finalists: int, threshold: float | None) -> None:
    """Both for accepted and for refused frames."""
    spec = MatchingSpec(height=SIDE_PX, width=SIDE_PX, finalists=finalists)
    matching = msgspec.structs.replace(tiny_matching(), spec=spec)
    package = write_tiny_package(tmp_path / "l.partsight", matching=matching)
    with Recognizer(package, top=top, threshold=threshold) as recognizer:
        part = recognizer.recognize(solid("red"))
    assert len(part.top) == min(top, finalists, len(COLOURS))
    assert len({label for label, _ in part.top}) == len(part.top)
    assert [score for _, score in part.top] == sorted((score for _, score in part.top), reverse=True)


@pytest.mark.parametrize("name", ["batch_size", "top"])
@pytest.mark.parametrize("value", [0, -1])
def test_numbers_below_one(tiny_package: Path, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value};"):
        Recognizer(tiny_package, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), float("-inf")])
def test_a_threshold_that_is_no_number(tiny_package: Path, threshold: float) -> None:
    with pytest.raises(ValueError, match=f"threshold is {threshold};"):
        Recognizer(tiny_package, threshold=threshold)


def test_a_precision_or_provider_that_is_not_there(tiny_package: Path) -> None:
    with pytest.raises(PackageError, match=r"int8.*fp32"):
        Recognizer(tiny_package, precision="int8")
    with pytest.raises(ProviderError, match="'tpu'"):
        Recognizer(tiny_package, provider="tpu")


def test_frames_are_compared_with_golden_images(matching_package: Path) -> None:
    with Recognizer(matching_package) as recognizer:
        assert recognizer.threshold == AGREEMENT_THRESHOLD
        for colour in COLOURS:
            part = recognizer.recognize(solid(colour))
            assert part.label == part.top[0].label == colour
            assert part.score == pytest.approx(1, abs=1e-3)
            assert part.margin == pytest.approx(part.score - part.top[1].score)
        for bgr in ((0, 0, 0), (255, 255, 255), (128, 128, 128), ORANGE):
            part = recognizer.recognize(solid(bgr))
            assert (part.label, part.accepted) == (None, False)
            assert 0 < part.score < AGREEMENT_THRESHOLD


def test_without_matching_the_network_answers_alone(matching_package: Path, tiny_package: Path) -> None:
    frames = [*mixed(20), solid(ORANGE)]
    with (
        Recognizer(matching_package, matching=False, threshold=0.8) as alone,
        Recognizer(tiny_package, threshold=0.8) as bare,
        Recognizer(matching_package) as compared,
    ):
        assert alone.recognize(solid(ORANGE)).label == "red"
        assert compared.recognize(solid(ORANGE)).label is None
        assert answers(alone.recognize_batch(frames)) == answers(bare.recognize_batch(frames))
        np.testing.assert_array_equal(compared.infer(frames).score, bare.infer(frames).score)
    with Recognizer(matching_package, matching=False) as alone:
        assert alone.threshold == THRESHOLD


def test_the_golden_images_decide_not_the_network(tmp_path: Path) -> None:
    """Two of them are swapped in the manifest: so are the answers."""
    swapped = {"red": "green", "green": "red"}
    references = tuple(f"gallery/{swapped.get(label, label)}.png" for label in COLOURS)
    matching = msgspec.structs.replace(tiny_matching(), references=references)
    with Recognizer(write_tiny_package(tmp_path / "l.partsight", matching=matching)) as recognizer:
        for colour in COLOURS:
            assert recognizer.recognize(solid(colour)).label == swapped.get(colour, colour)


def test_a_frame_that_fits_two_golden_images_is_unknown(tmp_path: Path) -> None:
    references = tuple(f"gallery/{'red' if label == 'magenta' else label}.png" for label in COLOURS)
    matching = msgspec.structs.replace(tiny_matching(), references=references)
    with Recognizer(write_tiny_package(tmp_path / "l.partsight", matching=matching)) as recognizer:
        part = recognizer.recognize(solid("red"))
        assert (part.label, part.margin) == (None, pytest.approx(0, abs=1e-6))
        assert part.score == pytest.approx(1, abs=1e-3)
        assert {candidate.label for candidate in part.top[:2]} == {"red", "magenta"}
        assert recognizer.recognize(solid("blue")).label == "blue"


OLD_OPTIONS: list[dict[str, Any]] = [
    {"verify": False},
    {"threads": 1},
    {"spinning": False},
    {"cache": "cache"},
    {"cache": None},
    {"gpu": GpuSettings(tf32=False)},
    {"gpu": None, "threads": None},
]


@pytest.mark.parametrize("old", OLD_OPTIONS, ids=str)
def test_old_keywords_warn(matching_package: Path, monkeypatch: pytest.MonkeyPatch, old: dict[str, Any]) -> None:
    """They have the effect of the new ones."""
    seen: dict[str, Any] = {}
    load = loading.load

    def record(path: Path, provider: str, settings: Any, keys: Any, *, matching: bool) -> Any:
        seen.update(engine=settings.engine, matching=matching)
        return load(path, provider, settings, keys, matching=matching)

    monkeypatch.setattr("partsight.runtime.recognition.recognizer.load", record)
    with pytest.warns(DeprecationWarning) as warned:
        Recognizer(matching_package, **old).close()
    assert [warning.filename for warning in warned] == [__file__] * len(old)
    given = {name: value for name, value in old.items() if name != "verify" and value is not None}
    assert seen == {"engine": EngineSettings(**given), "matching": old.get("verify", True)}


def test_an_unknown_keyword(tiny_package: Path) -> None:
    with pytest.raises(TypeError, match="'comparers'"):
        Recognizer(tiny_package, comparers=2)  # type: ignore[call-arg]


def test_other_old_names_warn(recognizer: Recognizer) -> None:
    with pytest.warns(DeprecationWarning, match="preload") as warned:
        recognizer.hold()
    assert [warning.filename for warning in warned] == [__file__]
    with pytest.warns(DeprecationWarning, match="StartedBatch"):
        assert partsight.runtime.Started is StartedBatch
    with pytest.raises(AttributeError, match="'Stopped'"):
        _ = partsight.runtime.Stopped
