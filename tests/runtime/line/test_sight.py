import logging

import pytest

from partsight.runtime.line.band import Band, Bands
from partsight.runtime.line.drift import WINDOW, Recent, Sample
from partsight.runtime.line.sight import NOTHING_S, Sight

BANDS = Bands(Band(0.8, 1.25), Band(-0.1, 0.1))


@pytest.fixture(autouse=True)
def hear_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "partsight.line")


def measured(focus: float | None, exposure: float | None) -> Recent:
    recent = Recent()
    for _ in range(WINDOW):
        recent.add(Sample(focus, exposure, 0.1, 0.0))
    return recent


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.event for record in caplog.records]  # type: ignore[attr-defined]


def test_it_is_told_once_and_once_that_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    sight, unknown = Sight("left"), measured(1.0, -3.2)
    moments = [(0, True), (10, False), (10 + NOTHING_S - 11, False), (NOTHING_S, False), (400, False), (401, True)]
    counts = []
    for now, sees in moments:
        sight.judge(sees=sees, unknown=unknown, bands=BANDS, now=now)
        counts.append(len(caplog.records))
    assert counts == [0, 0, 0, 1, 1, 2]
    assert told(caplog) == ["nothing_recognised", "recognised_again"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.messages == [
        "camera left has recognised nothing for 60 s; its frames are too dark beside what they look most like "
        "(-3.20 EV): look at the lamp",
        "camera left recognises parts again",
    ]
    sight.judge(sees=False, unknown=unknown, bands=BANDS, now=402)
    sight.judge(sees=False, unknown=unknown, bands=BANDS, now=402 + NOTHING_S)
    assert told(caplog)[2:] == ["nothing_recognised"]


def test_a_camera_that_never_saw_a_part(caplog: pytest.LogCaptureFixture) -> None:
    sight = Sight("left")
    for now in (1000, 1000 + NOTHING_S - 1, 1000 + NOTHING_S):
        assert told(caplog) == []
        sight.judge(sees=False, unknown=measured(1, 0), bands=BANDS, now=now)
    assert told(caplog) == ["nothing_recognised"]


@pytest.mark.parametrize(
    ("focus", "exposure", "bands", "words"),
    [
        (1.0, 0.02, BANDS, "as bright and as sharp as expected: parts that were not taught, or none?"),
        (0.41, 0.0, BANDS, "out of focus (0.41 of the sharpness of what they look most like): look at the lens"),
        (0.41, 2.0, BANDS, "(+2.00 EV): look at the light, and out of focus (0.41"),
        (1.9, None, BANDS, "sharper than what they look most like"),
        (None, -2.0, BANDS, "too dark"),
        (0.4, 0.0, Bands(None, BANDS.exposure_ev), "as bright"),
        (None, None, BANDS, "not measured: look at lamp, lens and parts"),
        (0.4, -3.0, None, "not measured"),
    ],
)
def test_it_says_how_the_frames_look(
    focus: float | None, exposure: float | None, bands: Bands | None, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    sight = Sight("left")
    for now in (0, NOTHING_S):
        sight.judge(sees=False, unknown=measured(focus, exposure), bands=bands, now=now)
    (message,) = caplog.messages
    assert words in message
