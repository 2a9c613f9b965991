"""Compatibility: whether package, sinks and cameras of a line fit each other, before they work together."""

import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from reprlib import repr as shortened

from partsight.runtime.core import PackageError, SignatureError, check_recognizer
from partsight.runtime.recognition import Recognizer
from partsight.runtime.signing import PublicKey
from partsight.runtime.sinks import CheckLine, Sink

_log = logging.getLogger("partsight.line")


def check_parts(recognizer: object, cameras: object, sinks: object, on_result: object) -> None:
    """Refuse parts that would only fail in a thread, once for each frame.

    Raises:
        TypeError: a part is of another kind.
        ValueError: there is no camera.
        PartsightError: the recogniser is closed, or was made in another process.
    """
    check_recognizer(recognizer)
    for name, opener in _by_name("cameras", cameras, "lambda: open_camera(ADDRESS)").items():
        if not callable(opener):
            raise TypeError(
                f"camera {name!r} is {shortened(opener)}; expected a function: lambda: open_camera(ADDRESS)"
            )
    if not cameras:
        raise ValueError("the line has no camera; expected at least one")
    for name, sink in _by_name("sinks", sinks, "open_sink(ADDRESS)").items():
        if isinstance(sink, type | io.IOBase) or not hasattr(sink, "write"):  # a file takes text, and no results
            raise TypeError(f"sink {name!r} is {shortened(sink)}; expected open_sink(ADDRESS)")
    if on_result is not None and not callable(on_result):
        raise TypeError(f"on_result is {shortened(on_result)}; expected a function that takes a result")


def _by_name(what: str, parts: object, example: str) -> Mapping[str, object]:
    if not isinstance(parts, Mapping) or not all(isinstance(name, str) for name in parts):
        raise TypeError(f"{what} is {shortened(parts)}; expected a dictionary by name: {{'NAME': {example}}}")
    return parts


def check_sinks(recognizer: Recognizer, sinks: Mapping[str, Sink], cameras: Iterable[str]) -> None:
    """Log once how each sink's settings differ from the package's labels and the names of cameras.

    Raises:
        SinkError: a sink would be of no use, see `Sink`.
    """
    names = tuple(cameras)
    for name, sink in sinks.items():
        check: CheckLine | None = getattr(sink, "check_line", None)
        for difference in check(recognizer.labels, names) if check else ():
            _log.warning("sink %s: %s", name, difference, extra={"event": "sink_differs", "sink": name})


def check_swap(before: Recognizer, new: Recognizer, trusted: Sequence[PublicKey] | None) -> None:
    """Compare a package with the one that it shall replace.

    Raises:
        SignatureError: none of the line's trusted keys has signed it.
        PackageError: it was taught colour images and the other grey ones, or the reverse.
    """
    if trusted is not None and {key.key_id for key in trusted}.isdisjoint(new.signed_by):
        raise SignatureError(
            f"package {new.package_id} was loaded without the line's trusted keys; load it with "
            "Recognizer(..., trusted_keys=...) of the same keys"
        )
    color_before, color = before.manifest.preprocess.color, new.manifest.preprocess.color
    if color_before != color:
        raise PackageError(
            f"package {new.package_id} was taught {color} images and the line's cameras send {color_before}; stop the "
            "line to change the cameras, or train on images as they send them"
        )
