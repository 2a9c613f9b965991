"""Comparing the sides of a line that must fit each other: package, cameras, sinks and their places."""

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from partsight.cli.line_config import IMAGES, CameraConfig, LineConfig
from partsight.runtime.cameras import Camera, FileCamera, open_camera
from partsight.runtime.core import CameraError, FrameError, ImageError, SinkError
from partsight.runtime.images import PreprocessSpec, check_frame, check_size
from partsight.runtime.line import describe_stretch
from partsight.runtime.package import Manifest
from partsight.runtime.sinks import SINKS, Address, check_line, name_of, parse

_FILES = frozenset({"csv", "images", "jsonl", "sqlite"})
_SERVERS = frozenset({"modbus", "opcua"})
_FOLDER = "folder:"
_DEVICES = ("basler:", "genicam:", "gige:", "usb:")
"""Cameras that one program opens once."""


def check_devices(config: LineConfig) -> None:
    """Refuse two cameras of one device, the second of which would wait for ever.

    Raises:
        CameraError: it is so.
    """
    names: dict[str, str] = {}
    for name, camera in config.cameras.items():
        if camera.address.startswith(_DEVICES) and names.setdefault(camera.address, name) != name:
            raise CameraError(
                f"cameras {names[camera.address]} and {name} have the same address, {camera.address}; give each its own"
            )


def check_places(config: LineConfig) -> None:
    """Refuse two sinks of one file, two servers of one port, and pictures that are kept where a camera reads.

    Raises:
        SinkError: it is so.
    """
    taken = _taken_by_metrics(config)
    folders = [camera.address.removeprefix(_FOLDER) for camera in config.cameras.values() if _is_folder(camera)]
    for address in config.sinks:
        name, place = name_of(address), _place(parse(address))
        if place in taken:
            raise SinkError(f"{taken[place]} and {name} have the same place, {place}; give each a place of its own")
        if place:
            taken[place] = name
        for folder in folders if address.startswith("images:") else ():
            if Path(place).is_relative_to(os.path.realpath(folder)):
                raise SinkError(
                    f"sink {name} keeps pictures in {folder}, and a camera reads that folder: the next run would take "
                    "them for frames; name a folder outside it"
                )


def _taken_by_metrics(config: LineConfig) -> dict[str, str]:
    if config.metrics is None:
        return {}
    from partsight.runtime.line.metrics.server import parse_listen_address  # here: a line waits for each import

    return {_port(*parse_listen_address(config.metrics)): "metrics"}


def _place(address: Address) -> str:
    """Return the file or the port that a sink has for itself; empty where it has none."""
    if address.scheme in _SERVERS:
        return _port(*address.host_and_port(import_module(SINKS[address.scheme]).PORT))
    path = address.place if address.scheme in _FILES else address.options.get("spool", "")
    return path if path in ("", "-") else os.path.realpath(path)


def _port(host: str, port: int) -> str:
    return f"port {port} of {host}"


def differences(config: LineConfig, manifest: Manifest) -> Iterator[str]:
    """Yield in words how sinks and frames differ from a package, as far as files and settings show it.

    Raises:
        SinkError: a sink would be of no use on this line.
        FrameError: the package cannot answer the frames of a camera.
        CameraError: a camera's folder is not there, or holds no image.
    """
    names = tuple(config.cameras) or (IMAGES,)
    for address in config.sinks:
        for text in check_line(address, manifest.labels, names):
            yield f"sink {name_of(address)}: {text}"
    if config.images:
        yield from _first_image(IMAGES, FileCamera(config.images[:1]), manifest.preprocess)
    for name, camera in config.cameras.items():
        if _is_folder(camera):
            yield from _first_image(name, open_camera(camera.address), manifest.preprocess)
        elif camera.options.region is not None:
            yield from _live(name, camera.options.region[:1:-1], manifest.preprocess)


def _is_folder(camera: CameraConfig) -> bool:
    return camera.address.startswith(_FOLDER)


def _first_image(name: str, camera: Camera, spec: PreprocessSpec) -> Iterator[str]:
    """Compare the first image of a camera, which stands for the others."""
    try:
        with camera:
            frame = camera.read()
    except ImageError as error:  # of one file, which does not stop the line
        yield f"camera {name}: {error}"
        return
    if frame is None:
        return
    try:
        check_frame(frame.image, spec)
    except FrameError as error:
        raise FrameError(f"camera {name}: {frame.source}: {error}") from error
    yield from _stretched(name, frame.image.shape[:2], spec)


def _live(name: str, size_hw: tuple[int, ...], spec: PreprocessSpec) -> Iterator[str]:
    """Compare the size that is set at a camera; a warning, as the camera may round it by a few pixels."""
    try:
        check_size(size_hw, spec)
    except FrameError as error:
        yield f"camera {name}: {error}"
    yield from _stretched(name, size_hw, spec)


def _stretched(name: str, size_hw: tuple[int, ...], spec: PreprocessSpec) -> Iterator[str]:
    if text := describe_stretch(size_hw, spec):
        yield f"camera {name}: {text}"
