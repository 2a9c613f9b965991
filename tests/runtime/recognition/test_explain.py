"""`Recognizer.explain`: the answer of `recognize`, the reason in words, and overlays."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from partsight.runtime import Answer, FrameError, ModelPackage, PackageError, PartsightError, Recognizer
from partsight.runtime.matching import GraphMatcher, Rule
from partsight.runtime.matching.trace import matching_graph
from partsight.runtime.recognition import Explanation, load_bank
from partsight.runtime.recognition.explanation import explain
from partsight.runtime.recognition.matching_stage import MatchingStage
from tests.runtime.recognition.samples import ORANGE, answers, mixed
from tests.tiny import AGREEMENT_THRESHOLD, SIDE_PX, solid, tiny_matching, write_tiny_package


@pytest.fixture(scope="module")
def recognizer(matching_package: Path):
    with Recognizer(matching_package) as recognizer:
        yield recognizer


@pytest.mark.parametrize("matching", [True, False])
def test_it_answers_as_recognize(matching_package: Path, matching: bool) -> None:
    with Recognizer(matching_package, matching=matching, top=3) as recognizer:
        for frame in mixed(20):
            (result,) = recognizer.recognize_batch([frame])
            answer = recognizer.explain(frame).answer
            assert answers([answer]) == answers([result])  # type: ignore[list-item]
            for name in ("reason", "threshold", "least_margin", "pose", "reference"):
                assert getattr(answer, name) == getattr(result, name)


def test_a_recognised_frame(recognizer: Recognizer) -> None:
    why = recognizer.explain(solid("red"))
    assert (why.answer.reason, why.best_label) == ("recognised", "red")
    assert why.best is not None and why.best.agreement == why.answer.score
    assert why.pair is None
    assert why.best.spot.tolerances < 1
    assert why.best.golden.shape == why.best.laid.shape == why.frame.shape == (SIDE_PX, SIDE_PX, 3)
    assert {"red", f"{why.answer.score:.2f}", f"{AGREEMENT_THRESHOLD:.2f}"} <= words(why)


def test_a_frame_that_agrees_with_none(recognizer: Recognizer) -> None:
    why = recognizer.explain(solid(ORANGE))
    assert why.answer.reason == "agrees_with_none"
    assert why.best is not None and why.best.spot.tolerances > 1
    assert {why.best_label, f"{why.best.spot.tolerances:.1f}"} <= words(why)


def test_two_parts_that_fit(matching_package: Path, tmp_path: Path) -> None:
    matching = tiny_matching()
    strict = msgspec.structs.replace(matching, spec=msgspec.structs.replace(matching.spec, least_margin=1.0))
    package = write_tiny_package(tmp_path / "strict.partsight", matching=strict)
    with Recognizer(package) as recognizer:
        why = recognizer.explain(solid("red"))
    assert why.answer.reason == "two_parts_fit"
    assert why.runner_up_label is not None and why.runner_up is not None
    assert why.pair is not None and (why.pair.golden == why.best.golden).all()  # type: ignore[union-attr]
    assert {"red", why.runner_up_label, "1.00", f"{why.pair.spot.tolerances:.1f}"} <= words(why)
    assert msgspec.json.decode(why.to_json())["pair"]["spot"]["where"] == why.pair.spot.where


def words(why: Explanation) -> set[str]:
    return set(re.findall(r"[\w.-]*\w", why.sentence))


@pytest.mark.parametrize("bgr", [(0, 0, 255), (127, 128, 128)])
def test_a_package_without_golden_images(tiny_package: Path, bgr: tuple[int, int, int]) -> None:
    with Recognizer(tiny_package) as recognizer:
        why = recognizer.explain(solid(bgr))
        result = recognizer.recognize(solid(bgr))
    assert (why.best, why.runner_up) == (None, None)
    assert (why.best_label, why.runner_up_label) == tuple(candidate.label for candidate in result.top[:2])
    assert why.best_label in why.sentence
    assert why.frame.shape == (SIDE_PX, SIDE_PX, 3)


def test_json_has_answer_and_spots(recognizer: Recognizer) -> None:
    why = recognizer.explain(solid(ORANGE))
    found = msgspec.json.decode(why.to_json())
    assert found["reason"] == "agrees_with_none"
    assert found["sentence"] == why.sentence
    assert (found["label"], found["score"], found["threshold"]) == (None, why.answer.score, why.answer.threshold)
    assert why.best is not None
    assert found["best"]["label"] == why.best_label
    assert found["best"]["spot"]["tolerances"] == pytest.approx(why.best.spot.tolerances)
    assert found["best"]["pose"]["turn_deg"] == pytest.approx(why.best.pose.turn_deg)
    assert found["golden_hw"] == [SIDE_PX, SIDE_PX]


def test_json_of_scores_that_are_no_number(recognizer: Recognizer) -> None:
    why = recognizer.explain(solid("red"))
    answer = Answer(None, float("nan"), float("nan"), False, (), "agrees_with_none", 0.5)
    odd = Explanation(answer, why.frame, "red")
    assert msgspec.json.decode(odd.to_json())["score"] is None
    assert "red" in odd.sentence


def test_a_card_s_matcher_is_explained_too(recognizer: Recognizer, matching_package: Path) -> None:
    """The graph of a card runs here on the processor."""
    package = ModelPackage.read(matching_package)
    assert package.manifest.matching is not None
    spec, bank = package.manifest.matching.spec, load_bank(package)
    graph = GraphMatcher(matching_graph(spec, bank).SerializeToString(), bank, spec, "cpu")
    stage = MatchingStage(package.manifest.matching, graph, package)
    for colour in ("red", ORANGE):
        expected = recognizer.explain(solid(colour))
        score = recognizer.infer([solid(colour)]).score
        found = explain(expected.frame, score, recognizer.labels, stage, Rule(AGREEMENT_THRESHOLD), 5)
        assert found.answer.label == expected.answer.label
        assert found.best is not None and expected.best is not None
        assert found.best.agreement == found.answer.score == pytest.approx(expected.answer.score, abs=1e-3)
        assert found.best.spot.tolerances == pytest.approx(expected.best.spot.tolerances, rel=0.02, abs=0.02)


@pytest.mark.parametrize("frame", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), None])
def test_a_frame_that_is_none(recognizer: Recognizer, frame: object) -> None:
    with pytest.raises(FrameError):
        recognizer.explain(frame)  # type: ignore[arg-type]


def test_a_damaged_golden_image(matching_package: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(matching_package, tmp_path / "damaged.partsight"))
    with Recognizer(package) as recognizer:
        (package / "gallery" / "red.png").write_bytes(b"no image")
        with pytest.raises(PackageError, match=r"red\.png"):
            recognizer.explain(solid("red"))


def test_a_closed_recognizer(matching_package: Path) -> None:
    recognizer = Recognizer(matching_package)
    recognizer.close()
    with pytest.raises(PartsightError):
        recognizer.explain(solid("red"))


def test_a_pose_that_refuses(recognizer: Recognizer) -> None:
    """The difference alone would pass: so say that shear and stretch count, too."""
    why = recognizer.explain(solid(ORANGE))
    assert why.best is not None and not why.is_refused_by_pose
    near = replace(why, best=replace(why.best, spot=replace(why.best.spot, tolerances=0.9)))
    assert near.is_refused_by_pose
    assert f"{100 * why.best.pose.distortion:.1f}" in near.sentence and near.sentence != why.sentence
    accepted = replace(near, answer=replace(why.answer, reason="recognised"))
    assert not accepted.is_refused_by_pose
