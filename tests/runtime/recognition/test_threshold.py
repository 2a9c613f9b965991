import logging
from pathlib import Path

import msgspec
import numpy as np
import pytest

from partsight.runtime import Recognizer
from partsight.runtime.calibration import VariedAnswers, choose_threshold
from partsight.runtime.package.manifest import Decision
from partsight.runtime.recognition.threshold import share_below, threshold_warning

SCORES = np.linspace(0.2, 0.8, 601).astype(np.float32)
KNOWN = choose_threshold(VariedAnswers(SCORES, SCORES - np.float32(0.5), np.ones(601, bool)), "agreement", 0.01)
SILENT = msgspec.structs.replace(KNOWN, taught_scores=(), unknown_scores=())


def test_calibration_keeps_the_share_of_any_threshold() -> None:
    for threshold in (0.1, 0.21, 0.37, 0.5, 0.79, 0.9):
        refused = share_below(KNOWN.taught_scores, threshold)
        assert refused == pytest.approx(np.mean(threshold > SCORES), abs=0.002)
        accepted = 1 - share_below(KNOWN.unknown_scores, threshold)
        assert accepted == pytest.approx(np.mean(threshold <= SCORES - 0.5), abs=0.002)
    assert msgspec.json.decode(msgspec.json.encode(KNOWN), type=Decision) == KNOWN


@pytest.mark.parametrize("scores", [[0.0, 0.0, 0.0, 0.5], [0.3, 0.3]])
def test_shares_of_scores_that_are_alike(scores: list[float]) -> None:
    shares = [share_below(scores, threshold) for threshold in (-1, 0, 0.1, 0.3, 0.5, 0.51)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)


WARNED = {
    "too high": (KNOWN, 0.5, "50%"),
    "above every score": (KNOWN, 0.95, "100%"),
    "above the scale": (KNOWN, 99, "above 1;"),
    "too low": (KNOWN, 0.02, "47%"),
    "below the scale": (KNOWN, -1, "below 0;"),
    "far above, by distance": (SILENT, 0.7, "refuse"),
    "far below, by distance": (SILENT, 0.05, "accept"),
    "cosine": (msgspec.structs.replace(SILENT, score="cosine", threshold=0.84), 0.95, "0.84"),
}


@pytest.mark.parametrize(("decision", "threshold", "datum"), WARNED.values(), ids=WARNED)
def test_a_threshold_with_a_warning(decision: Decision, threshold: float, datum: str) -> None:
    warning = threshold_warning(decision, threshold)
    assert f"threshold {threshold:g} " in warning
    assert datum in warning
    assert f"{decision.threshold:.3g}" in warning


@pytest.mark.parametrize("decision", [KNOWN, SILENT])
@pytest.mark.parametrize("change", [-0.01, 0.0, 0.05])
def test_a_threshold_without_a_warning(decision: Decision, change: float) -> None:
    assert threshold_warning(decision, decision.threshold + change) == ""


def test_the_recogniser_warns_once(tiny_package: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "partsight.runtime"):
        with Recognizer(tiny_package):
            assert caplog.records == []
        with Recognizer(tiny_package, threshold=99) as recognizer:
            (record,) = caplog.records
            assert (record.name, record.levelname) == ("partsight.runtime", "WARNING")
            assert (record.event, record.package) == ("threshold_unfit", recognizer.package_id)  # type: ignore[attr-defined]
