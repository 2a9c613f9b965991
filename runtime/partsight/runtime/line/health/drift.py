"""Drift: running medians of one camera's frames, and when they leave the band that is expected."""

import logging
from collections import deque
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from partsight.runtime.line.health.band import Bands, ExpectedRange

WINDOW = 50
"""Frames of which a median is taken."""

LEAST = 25
"""Frames from which on it is judged."""

_SLACK = 0.1  # of the band's width, by which a median must be inside again: one at the limit is not told of twice

Measure = Literal["focus_ratio", "exposure_ev"]
MEASURES: tuple[Measure, ...] = ("focus_ratio", "exposure_ev")

_SAID = {
    ("focus_ratio", -1): (
        "is out of focus: the sharpness of its frames is {value:.2f} of the golden images' where {band} is expected; "
        "clean the lens, and look at its focus ring and its distance to the part"
    ),
    ("focus_ratio", 1): (
        "is sharper than the golden images: the sharpness of its frames is {value:.2f} of theirs where {band} is "
        "expected; turn down its gain if the pictures are noisy, else take golden images that are in focus"
    ),
    ("exposure_ev", -1): (
        "is too dark: its frames are at {value:+.2f} EV beside the golden images where {band} is expected; look at the "
        "lamp, the aperture and the exposure time"
    ),
    ("exposure_ev", 1): (
        "is too bright: its frames are at {value:+.2f} EV beside the golden images where {band} is expected; look at "
        "the lamp, at light from elsewhere, and at the exposure time and the gain"
    ),
    (
        "focus_ratio",
        0,
    ): "is as sharp as expected again: {value:.2f} of the golden images' sharpness, {band} is expected",
    ("exposure_ev", 0): "is as bright as expected again: {value:+.2f} EV beside the golden images, {band} is expected",
}

_log = logging.getLogger("partsight.line")


@dataclass(frozen=True)
class Sample:
    """What was measured of one frame; None for what was not. See `Appearance` and `Answer`."""

    focus_ratio: float | None
    exposure_ev: float | None
    score: float | None
    margin: float | None


@dataclass(frozen=True)
class Medians(Sample):
    """Medians of the last samples, and of how many."""

    samples: int


class Recent:
    """The last samples."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=WINDOW)

    def add(self, sample: Sample) -> None:
        """Take a sample in; the oldest goes."""
        self._samples.append(sample)

    def values(self, name: str) -> list[float]:
        """Return what is known of a field of `Sample`, oldest first."""
        values = (getattr(sample, name) for sample in self._samples)
        return [value for value in values if value is not None]

    def medians(self) -> Medians:
        """Return the medians of all fields; None where nothing is known."""
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

    def in_band(self) -> dict[Measure, bool]:
        """Return the judgement so far; what has none is left out."""
        return {measure: side == 0 for measure, side in dict(self._sides).items()}

    def judge(self, recent: Recent, bands: Bands) -> None:
        """Compare medians with what is expected, where there are frames enough."""
        for measure in MEASURES:
            values = recent.values(measure)
            band: ExpectedRange | None = getattr(bands, measure)
            if len(values) >= LEAST and band is not None:
                self._judge(measure, float(np.median(values)), band)

    def _judge(self, measure: Measure, value: float, band: ExpectedRange) -> None:
        before = self._sides.get(measure, 0)
        side = band.side_of(value)
        if side == 0 and before == band.side_of(value, _SLACK):
            side = before  # at the limit still
        self._sides[measure] = side
        if side == before:
            return
        sign = "+" if measure == "exposure_ev" else ""
        said = _SAID[measure, side].format(value=value, band=f"{band.low:{sign}.2f} to {band.high:{sign}.2f}")
        facts = {"measure": measure, "median": round(value, 4), "low": round(band.low, 4), "high": round(band.high, 4)}
        level, event = (logging.WARNING, "drift") if side else (logging.INFO, "drift_over")
        _log.log(level, "camera %s %s", self._camera, said, extra={"event": event, "camera": self._camera, **facts})
