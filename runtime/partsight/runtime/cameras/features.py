"""Options set through GenICam's standard features (SFNC), and read back."""

import math
from typing import Protocol

from partsight.runtime.cameras.camera import CameraOptions
from partsight.runtime.core import CameraError

TOLERANCE = 0.02
"""Share by which a camera's number may differ from the option: cameras round to their clocks."""

_EXPOSURE = ("ExposureTime", "ExposureTimeAbs")
_GAIN = ("Gain",)  # GainRaw counts in steps of the maker, not in dB
_FPS = ("AcquisitionFrameRate", "AcquisitionFrameRateAbs")
_LINES = ("Line1", "Line0", "Line2", "Line3")


class Features(Protocol):
    """A camera's features by name; values as text, as GenICam has it for features of all kinds."""

    def has(self, name: str) -> bool:
        """Return whether the feature exists and can be written now."""

    def get(self, name: str) -> str:
        """Return the value."""

    def set(self, name: str, value: str) -> None:
        """Set the value; raises an error of the library."""


def apply_options(features: Features, options: CameraOptions, source: str) -> None:
    """Set the options that are not None, and read each back.

    Raises:
        CameraError: the camera has no such feature, refused the value, or has another value afterwards.
    """
    setting = _Setting(features, source)
    setting.set_if_there("AcquisitionMode", "Continuous")  # in SingleFrame it would stop after the first
    if options.trigger is not None:
        setting.set_trigger(options.trigger)
    if options.region is not None:
        setting.set_region(options.region)
    if options.fps is not None:
        setting.set_if_there("AcquisitionFrameRateEnable", "true")
        setting.set_number("fps", _FPS, options.fps)
    if options.exposure_us is not None:
        setting.set_if_there("ExposureAuto", "Off")
        setting.set_number("exposure_us", _EXPOSURE, options.exposure_us)
    if options.gain_db is not None:
        setting.set_if_there("GainAuto", "Off")
        setting.set_number("gain_db", _GAIN, options.gain_db)


def runs_freely(features: Features) -> bool:
    """Return whether the camera exposes by its own clock, and not by a trigger."""
    return not (features.has("TriggerMode") and features.get("TriggerMode") == "On")


class _Setting:
    """Sets features of one camera."""

    def __init__(self, features: Features, source: str) -> None:
        self._features, self._source = features, source

    def set_trigger(self, trigger: str) -> None:
        if trigger == "free" and not self._features.has("TriggerMode"):
            return  # the camera cannot do anything else
        self.set_if_there("TriggerSelector", "FrameStart")
        if trigger == "free":
            self._set("trigger", "TriggerMode", "Off")
            return
        self._require("trigger", ("TriggerMode",))
        self._require("trigger", ("TriggerSource",))
        self._set("trigger", "TriggerMode", "On")
        if trigger == "software":
            self._set("trigger", "TriggerSource", "Software")
        elif not self._features.get("TriggerSource").startswith("Line"):  # keeps a line that was chosen before
            self._set_first_of("trigger", "TriggerSource", _LINES)

    def set_region(self, region: tuple[int, int, int, int]) -> None:
        x, y, width, height = region
        for name in ("OffsetX", "OffsetY"):
            self.set_if_there(name, "0")  # an old offset would limit the new size
        wanted = (("Width", width), ("Height", height), ("OffsetX", x), ("OffsetY", y))
        for name, value in wanted:
            if value or name in ("Width", "Height"):
                self._require("region", (name,))
                self._set("region", name, str(value))

    def set_number(self, option: str, names: tuple[str, ...], value: float) -> None:
        self._set(option, self._require(option, names), f"{value:.12g}")

    def set_if_there(self, name: str, value: str) -> None:
        if self._features.has(name) and not _same(self._features.get(name), value):
            self._set(name, name, value)

    def _require(self, option: str, names: tuple[str, ...]) -> str:
        for name in names:
            if self._features.has(name):
                return name
        raise CameraError(
            f"{self._source}: cannot set {option}: it has no feature {' or '.join(names)} that can be written; leave "
            "out the option, and set it with the maker's tool"
        )

    def _set_first_of(self, option: str, name: str, values: tuple[str, ...]) -> None:
        for value in values[:-1]:
            try:
                return self._set(option, name, value)
            except CameraError:
                continue
        return self._set(option, name, values[-1])

    def _set(self, option: str, name: str, value: str) -> None:
        try:
            self._features.set(name, value)
            got = self._features.get(name)
        except Exception as error:
            raise CameraError(
                f"{self._source}: refused {option}: {name} = {value} ({_first_line(error)}); "
                "set a value that the camera can take"
            ) from error
        if not _same(got, value):
            raise CameraError(
                f"{self._source}: did not take {option}: {name} is {got} after {value} was set; "
                "set a value that the camera can take"
            )


def _same(got: str, wanted: str) -> bool:
    try:
        return math.isclose(float(got), float(wanted), rel_tol=TOLERANCE if "." in f"{got}{wanted}" else 0)
    except ValueError:
        return _plain(got) == _plain(wanted)


def _plain(text: str) -> str:
    return {"1": "true", "0": "false"}.get(text, text.lower())


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
