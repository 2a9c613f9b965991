import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from partsight.runtime import PackageError, Recognizer
from partsight.runtime.inference import PROVIDERS, ModelSettings
from partsight.runtime.recognition.loading import load
from partsight.runtime.recognition.matching_stage import MatchingStage
from tests.runtime.recognition.samples import COLOURS, answers, mixed
from tests.tiny import SIDE_PX, add_further, solid


@pytest.fixture
def copied(matching_package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(matching_package, tmp_path / "line3.partsight"))


@pytest.fixture
def stage(copied: Path) -> MatchingStage:
    found = load(copied, "cpu", ModelSettings()).matching_stage
    assert found is not None
    return found


def in_memory(stage: MatchingStage) -> list[str]:
    """Return the parts whose golden image needs no file any more."""
    shutil.rmtree(stage.package.path / "gallery")
    labels = []
    for index, label in enumerate(COLOURS):
        try:
            np.testing.assert_array_equal(stage.golden_image(index), solid(label, SIDE_PX, SIDE_PX))
            labels.append(label)
        except PackageError as error:
            assert f"gallery/{label}.png" in str(error)
    return labels


def test_golden_images_stay_on_disk_without_preload(stage: MatchingStage) -> None:
    assert in_memory(stage) == []


def test_preload_reads_all_golden_images(stage: MatchingStage) -> None:
    stage.preload(lambda: True)
    assert in_memory(stage) == COLOURS


def test_images_of_further_references(copied: Path) -> None:
    add_further(copied, {"red": [solid("green"), solid("blue")], "blue": [solid("cyan")]})
    found = load(copied, "cpu", ModelSettings()).matching_stage
    assert found is not None
    stage, red, blue = found, COLOURS.index("red"), COLOURS.index("blue")
    before = [stage.reference_image(red, 2), stage.reference_image(blue, 1), stage.golden_image(red)]
    assert np.abs(before[0].astype(int) - solid("blue", SIDE_PX, SIDE_PX)).max() <= 3  # JPEG
    np.testing.assert_array_equal(before[2], solid("red", SIDE_PX, SIDE_PX))
    with pytest.raises(IndexError):
        stage.reference_image(blue, 2)
    stage.preload(lambda: True)
    shutil.rmtree(copied / "gallery")
    after = [stage.reference_image(red, 2), stage.reference_image(blue, 1), stage.reference_image(red, 0)]
    np.testing.assert_array_equal(before, after)


def test_the_answer_names_the_reference_that_agreed_best(copied: Path) -> None:
    rng = np.random.default_rng(3)
    shades = [np.kron(rng.uniform(0.5, 1, (6, 8, 1)), np.ones((8, 8, 1))) for _ in range(2)]
    first, second = ((solid((90, 90, 250)) * shade).astype(np.uint8) for shade in shades)
    add_further(copied, {"red": [first, second]})
    with Recognizer(copied) as recognizer:
        found = recognizer.recognize_batch([second, solid("red"), solid("yellow"), first])
    assert [(answer.label, answer.reference) for answer in found] == [("red", 2), ("red", 0), ("yellow", 0), ("red", 1)]
    with Recognizer(copied, matching=False) as recognizer:
        assert recognizer.recognize(solid("red")).reference is None


def test_a_package_of_schema_version_2_is_compared_by_its_golden_images(
    copied: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its bank has other records, and its gallery no further references: the log says which parts lost how many."""
    document = json.loads((copied / "manifest.json").read_bytes())
    enrolment = {"created": "now", "from_package": "x", "images": {"blue": ["0" * 64], "red": ["1" * 64, "2" * 64]}}
    document["provenance"]["enrolments"] = [enrolment]
    document["schema_version"] = 2
    (copied / "manifest.json").write_text(json.dumps(document))
    (copied / "bank.npy").write_bytes(b"bank of version 2")
    with Recognizer(copied) as recognizer:
        assert [recognizer.recognize(solid(colour)).label for colour in COLOURS] == COLOURS
    lost = [record.getMessage() for record in caplog.records if "--replace" in record.getMessage()]
    assert len(lost) == 1
    assert "--label red " in lost[0]


def test_preload_reads_as_many_golden_images_as_fit(stage: MatchingStage) -> None:
    sizes = [(stage.package.path / name).stat().st_size for name in stage.matching.references]
    stage.preload(lambda: True, max_bytes=sizes[0] + 1)
    assert in_memory(stage) == COLOURS[:2]


def test_preload_ends_when_nobody_wants_it(stage: MatchingStage) -> None:
    wanted = iter([True, True, False])
    stage.preload(lambda: next(wanted))
    assert in_memory(stage) == COLOURS[:2]


def test_after_preload_a_recogniser_needs_its_folder_no_more(copied: Path) -> None:
    frames = mixed(12)
    with Recognizer(copied, batch_size=5) as recognizer:
        expected = recognizer.recognize_batch(frames)
        recognizer.preload()
        for path in copied.rglob("*.*"):  # overwritten, too: a map of a deleted file would still have its pages
            path.write_bytes(bytes(path.stat().st_size))
        shutil.rmtree(copied)
        assert answers(recognizer.recognize_batch(frames)) == answers(expected)
        golden = recognizer.golden_image("red")
        assert recognizer.appearance(solid("red"), "red") is not None
    np.testing.assert_array_equal(golden, solid("red", SIDE_PX, SIDE_PX))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a file that is mapped cannot be deleted")
def test_a_bank_too_large_for_memory_is_mapped(copied: Path) -> None:
    loaded = load(copied, "cpu", ModelSettings())
    assert loaded.matching_stage is not None
    loaded.matching_stage.preload(lambda: True, max_bytes=100)
    shutil.rmtree(copied)
    frames = np.stack([solid(colour, SIDE_PX, SIDE_PX) for colour in COLOURS])
    matches = loaded.matching_stage.matcher.match(frames, loaded.session.run(frames).score)
    assert matches.classes[:, 0].tolist() == list(range(len(COLOURS)))


def test_an_altered_golden_image_is_refused_when_it_is_needed(altered_package: Path) -> None:
    """The line compares with the bank; golden images are for people, and for the sharpness of a frame."""
    with Recognizer(altered_package) as recognizer:
        assert [recognizer.recognize(solid(colour)).label for colour in COLOURS] == COLOURS
        assert recognizer.golden_image("blue") is not None
        for call in (
            lambda: recognizer.golden_image("red"),
            lambda: recognizer.appearance(solid("red"), "red"),
            recognizer.preload,
        ):
            with pytest.raises(PackageError, match=r"gallery/red\.png"):
                call()
    with Recognizer(altered_package, matching=False) as recognizer:
        assert recognizer.recognize(solid("red")).label == "red"
        recognizer.preload()  # it has no golden images to read


def test_a_card_needs_the_matching_graph(matching_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The matching never moves to the processor without a word."""
    monkeypatch.setitem(PROVIDERS, "cpu", replace(PROVIDERS["cpu"], on_card=True))
    with pytest.raises(PackageError, match=r"graph.*provider cpu"):
        Recognizer(matching_package)
    Recognizer(matching_package, matching=False).close()
