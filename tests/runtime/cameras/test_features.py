from typing import Any

import pytest

from partsight.runtime.cameras import CameraOptions
from partsight.runtime.cameras.features import apply_options
from partsight.runtime.core.errors import CameraError


class Quiet:
    """Features of a camera that takes every value and keeps some of its own, as no camera at hand does."""

    def __init__(self, **stubborn: str) -> None:
        self.stubborn, self.values = stubborn, {"ExposureTime": "1", "Width": "1", "Height": "1", "Gain": "0"}

    def has(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str) -> str:
        return self.stubborn.get(name, self.values[name])

    def set(self, name: str, value: str) -> None:
        self.values[name] = value


@pytest.mark.parametrize(
    ("stubborn", "options", "data"),
    [
        ({"ExposureTime": "900.0"}, {"exposure_us": 1000.0}, "exposure_us.*ExposureTime.*900.0.*1000"),
        ({"Gain": "5.0"}, {"gain_db": 6.0}, "gain_db.*Gain.*5.0.*6"),
        ({"Width": "639"}, {"region": (0, 0, 640, 480)}, "region.*Width.*639.*640"),
    ],
)
def test_a_value_that_was_not_taken(stubborn: dict[str, str], options: dict[str, Any], data: str) -> None:
    with pytest.raises(CameraError, match=data):
        apply_options(Quiet(**stubborn), CameraOptions(**options), "camera")


def test_a_value_that_was_rounded() -> None:
    apply_options(Quiet(ExposureTime="1003.2"), CameraOptions(exposure_us=1000), "camera")
