"""The decider answers as the line does, through both stages."""

from pathlib import Path

import numpy as np

from partsight.export.answers import UNKNOWN, Decider
from partsight.export.frames import gate_frames
from partsight.runtime import ModelPackage, Recognizer
from partsight.runtime.recognition import load_bank
from tests.tiny import COLOURS_BGR, solid, tiny_manifest, tiny_matching

COLOURS = list(COLOURS_BGR)
IMAGES = [solid(colour) for colour in COLOURS]


def decider_of(package: Path) -> Decider:
    return Decider(tiny_matching(), load_bank(ModelPackage.read(package)))


def test_without_a_second_stage_the_networks_best_counts() -> None:
    decider = Decider()
    assert decider.preprocess_spec(tiny_manifest().preprocess) is None
    assert decider.candidates == 1
    score = np.array([[0.1, 0.9, 0.2], [0.3, np.nan, 0.1]], np.float32)
    assert decider.decide(score, None).tolist() == [1, UNKNOWN]


def test_both_stages_answer_as_the_recogniser_does(matching_package: Path) -> None:
    with Recognizer(matching_package) as recognizer:
        manifest = recognizer.manifest
        decider = decider_of(matching_package)
        frames = gate_frames(IMAGES, manifest.preprocess, decider.preprocess_spec(manifest.preprocess)).varied
        shown = [*frames.network, solid((128, 128, 128), *frames.network.shape[1:3])]
        score = recognizer.infer(shown).score
        compared = np.stack([*frames.compared, shown[-1]])  # type: ignore[misc]
        expected = [result.label for result in recognizer.recognize_batch(shown)]
    found = decider.decide(score, compared)
    assert [None if index == UNKNOWN else COLOURS[index] for index in found] == expected
    assert expected[-1] is None and len(set(expected)) > 3


def test_a_network_that_chooses_wrongly_changes_nothing_where_all_are_candidates(matching_package: Path) -> None:
    assert tiny_matching().spec.by_thumbnail >= len(COLOURS)
    with Recognizer(matching_package) as recognizer:
        manifest = recognizer.manifest
        decider = decider_of(matching_package)
        frames = gate_frames(IMAGES, manifest.preprocess, decider.preprocess_spec(manifest.preprocess)).catalog
        score = recognizer.infer(list(frames.network)).score
    expected = decider.decide(score, frames.compared)
    assert expected.tolist() == list(range(len(COLOURS)))
    np.testing.assert_array_equal(decider.decide(-score, frames.compared), expected)


def test_the_network_names_as_many_candidates_as_matching_needs(matching_package: Path) -> None:
    assert decider_of(matching_package).candidates == tiny_matching().spec.by_network == 4


def test_a_score_that_is_not_a_number_is_unknown(matching_package: Path) -> None:
    decider = decider_of(matching_package)
    spec = tiny_manifest().preprocess
    frames = gate_frames(IMAGES, spec, decider.preprocess_spec(spec)).catalog
    score = np.zeros((len(IMAGES), len(COLOURS)), np.float32)
    score[2, 4] = np.nan
    assert decider.decide(score, frames.compared).tolist() == [0, 1, UNKNOWN, 3, 4, 5]
