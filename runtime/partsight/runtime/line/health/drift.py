"""Drift: running medians of one camera's frames, and whether they leave the expected range."""

import logging
from collections import deque
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from partsight.runtime.line.health.expected_range import ExpectedRange, ExpectedRanges

WINDOW = 50
"""Frames in a median."""

MIN_SAMPLES = 25
"""Frames from which on a median is judged."""

_SLACK = 0.1  # share of the range's width by which a median must be inside again: at a limit the log says nothing twice

Measure = Literal["focus_ratio", "exposure_ev"]
MEASURES: tuple[Measure, ...] = ("focus_ratio", "exposure_ev")

_SENTENCES = {
    ("focus_ratio", -1): (
        "is out of focus: its frames have {value:.2f} of the golden images' sharpness, expected {range}; clean the "
        "lens, then check its focus ring and its distance to the part"
    ),
    ("focus_ratio", 1): (
        "is sharper than the golden images: its frames have {value:.2f} of their sharpness, expected {range}; turn "
        "down its gain if the pictures are noisy, else take golden images that are in focus"
    ),
    ("exposure_ev", -1): (
        "is too dark: its frames are at {value:+.2f} EV relative to the golden images, expected {range}; check the "
        "lamp, the aperture and the exposure time"
    ),
    ("exposure_ev", 1): (
        "is too bright: its frames are at {value:+.2f} EV relative to the golden images, expected {range}; check the "
        "lamp, the exposure time and the gain, and look for light from elsewhere"
    ),
    ("focus_ratio", 0): "is as sharp as expected again: {value:.2f} of the golden images' sharpness, expected {range}",
    ("exposure_ev", 0): (
        "is as bright as expected again: {value:+.2f} EV relative to the golden images, expected {range}"
    ),
}

_log = logging.getLogger("partsight.line")


@dataclass(frozen=True)
class Sample:
    """Measures of one frame; None for a measure that it does not have. See `Appearance` and `Answer`."""

    focus_ratio: float | None
    exposure_ev: float | None
    score: float | None
    margin: float | None


@dataclass(frozen=True)
class Medians(Sample):
    """Medians of the last samples, and the number of these."""

    samples: int


class Recent:
    """The last samples."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=WINDOW)

    def add(self, sample: Sample) -> None:
        """Add a sample; the oldest goes."""
        self._samples.append(sample)

    def values(self, name: str) -> list[float]:
        """Return the known values of a field of `Sample`, oldest first."""
        values = (getattr(sample, name) for sample in self._samples)
        return [value for value in values if value is not None]

    def medians(self) -> Medians:
        """Return the medians of all fields; None where no value is known."""
        values = {field.name: self.values(field.name) for field in fields(Sample)}
        return Medians(
            **{name: float(np.median(known)) if known else None for name, known in values.items()},
            samples=len(self._samples),
        )


class Drift:
    """Judges one camera's medians, and logs once whenever the judgement changes."""

    def __init__(self, camera: str) -> None:
        """Take the camera's name on the line."""
        self._camera = camera
        self._sides: dict[Measure, int] = {}

    def in_range(self) -> dict[Measure, bool]:
        """Return the judgement so far; a measure that was not judged is left out."""
        return {measure: side == 0 for measure, side in dict(self._sides).items()}

    def judge(self, recent: Recent, expected: ExpectedRanges) -> None:
        """Compare each median of enough frames with its expected range."""
        for measure in MEASURES:
            values = recent.values(measure)
            limits: ExpectedRange | None = getattr(expected, measure)
            if len(values) >= MIN_SAMPLES and limits is not None:
                self._judge(measure, float(np.median(values)), limits)

    def _judge(self, measure: Measure, value: float, limits: ExpectedRange) -> None:
        before = self._sides.get(measure, 0)
        side = limits.side_of(value)
        if side == 0 and before == limits.side_of(value, _SLACK):
            side = before  # still at the limit
        self._sides[measure] = side
        if side == before:
            return
        sign = "+" if measure == "exposure_ev" else ""
        expected = f"{limits.low:{sign}.2f} to {limits.high:{sign}.2f}"
        text = _SENTENCES[measure, side].format(value=value, range=expected)
        facts = {"measure": measure, "median": value, "low": limits.low, "high": limits.high}
        extra = {name: round(fact, 4) if isinstance(fact, float) else fact for name, fact in facts.items()}
        level, event = (logging.WARNING, "drift") if side else (logging.INFO, "drift_over")
        _log.log(level, "camera %s %s", self._camera, text, extra={"event": event, "camera": self._camera, **extra})
