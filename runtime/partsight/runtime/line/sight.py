"""Sight: whether a camera recognises anything at all."""

import logging

from partsight.runtime.line.band import Bands
from partsight.runtime.line.drift import Measure, Recent

NOTHING_S = 60.0
"""How long a camera recognises nothing before that is told: a line without parts for a moment is no fault."""

_SAID: dict[tuple[Measure, int], str] = {
    ("exposure_ev", -1): "too dark beside what they look most like ({value:+.2f} EV): look at the lamp",
    ("exposure_ev", 1): "too bright beside what they look most like ({value:+.2f} EV): look at the light",
    ("focus_ratio", -1): "out of focus ({value:.2f} of the sharpness of what they look most like): look at the lens",
    ("focus_ratio", 1): "sharper than what they look most like ({value:.2f}): noise? turn down the gain",
}
_AS_EXPECTED = "as bright and as sharp as expected: parts that were not taught, or none?"
_NOT_MEASURED = "not measured: look at lamp, lens and parts"

_log = logging.getLogger("partsight.line")


class Sight:
    """Logs once when one camera recognises nothing any more, and once when it does again."""

    def __init__(self, camera: str) -> None:
        """Take the camera's name on the line."""
        self._camera = camera
        self._seeing_at: float | None = None
        self._is_told = False

    def judge(self, *, sees: bool, unknown: Recent, bands: Bands | None, now: float) -> None:
        """Take in what is known at a moment.

        Args:
            sees: whether any of the last answers was a part.
            unknown: measures of the frames that were not recognised, each beside its best candidate.
            bands: what is expected; None where that is not known.
            now: seconds of a clock that never goes back.
        """
        if self._seeing_at is None or sees:
            self._seeing_at = now
        if sees and self._is_told:
            self._is_told = False
            extra = {"event": "recognised_again", "camera": self._camera}
            _log.info("camera %s recognises parts again", self._camera, extra=extra)
        elif not sees and not self._is_told and now - self._seeing_at >= NOTHING_S:
            self._is_told = True
            extra = {"event": "nothing_recognised", "camera": self._camera}
            said = "camera %s has recognised nothing for %d s; its frames are %s"
            _log.warning(said, self._camera, now - self._seeing_at, _look(unknown, bands), extra=extra)


def _look(unknown: Recent, bands: Bands | None) -> str:
    medians, found = unknown.medians(), []
    if bands is None or (medians.exposure_ev is None and medians.focus_ratio is None):
        return _NOT_MEASURED
    for (measure, side), said in _SAID.items():
        value, band = getattr(medians, measure), getattr(bands, measure)
        if value is not None and band is not None and band.side_of(value) == side:
            found.append(said.format(value=value))
    return ", and ".join(found) or _AS_EXPECTED
