"""Conflicts within a line: cameras of one device, servers of one port, sinks of one file, frames that do not fit."""

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from partsight.cli.run.config import IMAGES, CameraConfig, LineConfig
from partsight.cli.run.page import read_page_settings
from partsight.runtime.cameras import Camera, FileCamera, open_camera
from partsight.runtime.core import CameraError, FrameError, ImageError, PageError, SinkError
from partsight.runtime.images import PreprocessSpec, check_frame, check_size
from partsight.runtime.line import describe_stretch
from partsight.runtime.package import Manifest
from partsight.runtime.sinks import SINKS, Address, check_line, name_of, parse, parse_listen_address

_FILES = frozenset({"csv", "images", "jsonl", "sqlite"})
_SERVERS = frozenset({"modbus", "opcua"})
_FOLDER = "folder:"
_DEVICES = ("basler:", "genicam:", "gige:", "usb:")
"""Cameras whose device only one program can open, and only once."""


def check_devices(config: LineConfig) -> None:
    """Refuse two cameras of one device: the second one would wait for ever.

    Raises:
        CameraError: Two cameras have the same device.
    """
    names: dict[str, str] = {}
    for name, camera in config.cameras.items():
        if camera.address.startswith(_DEVICES) and names.setdefault(camera.address, name) != name:
            raise CameraError(
                f"cameras {names[camera.address]} and {name} have the same address, {camera.address}; expected two"
            )


def check_targets(config: LineConfig) -> None:
    """Refuse two sinks of one file, two servers of one port, and pictures in a folder that a camera reads.

    Raises:
        SinkError: Two sinks share a file or a port, or a sink keeps pictures in the folder of a camera.
        PageError: The page has the port of the metrics.
    """
    taken = _taken_by_servers(config)
    folders = [camera.address.removeprefix(_FOLDER) for camera in config.cameras.values() if _is_folder(camera)]
    for address in config.sinks:
        name, target = name_of(address), _target(parse(address))
        if target in taken:
            raise SinkError(f"{taken[target]} and {name} both use {target}; give each another one")
        if target:
            taken[target] = name
        for folder in folders if address.startswith("images:") else ():
            if Path(target).is_relative_to(os.path.realpath(folder)):
                raise SinkError(
                    f"sink {name} keeps pictures in {folder}, and a camera reads that folder: the next run would read "
                    "them as frames; name a folder outside it"
                )


def _taken_by_servers(config: LineConfig) -> dict[str, str]:
    """Return the ports of metrics and page; 0 is any free one, and shared by nobody."""
    metrics = {} if config.metrics is None else {_port(*parse_listen_address(config.metrics)): "metrics"}
    settings = read_page_settings(config.page) if config.page is not None else None
    if settings is None or settings.port == 0:
        return metrics
    port = _port(settings.host, settings.port)
    if port in metrics:
        raise PageError(f"metrics and page both use {port}; give each another one")
    return metrics | {port: "page"}


def _target(address: Address) -> str:
    """Return the file or the port that only this sink may use; empty if there is none."""
    if address.scheme in _SERVERS:
        return _port(*address.host_and_port(import_module(SINKS[address.scheme]).PORT))
    path = address.place if address.scheme in _FILES else address.options.get("spool", "")
    return path if path in ("", "-") else os.path.realpath(path)


def _port(host: str, port: int) -> str:
    return f"port {port} of {host}"


def differences(config: LineConfig, manifest: Manifest) -> Iterator[str]:
    """Yield a warning for each sink and camera that does not fit the package, as far as files and settings show it.

    Raises:
        SinkError: A sink cannot work on this line.
        FrameError: The package cannot answer the frames of a camera.
        CameraError: The folder of a camera is missing, or holds no image.
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
    """Check the first image of a camera, as an example of all its images."""
    try:
        with camera:
            frame = camera.read()
    except ImageError as error:  # one bad file does not stop the line
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
    """Check the size that is set at a camera. A wrong size is a warning: the camera may round it by a few pixels."""
    try:
        check_size(size_hw, spec)
    except FrameError as error:
        yield f"camera {name}: {error}"
    yield from _stretched(name, size_hw, spec)


def _stretched(name: str, size_hw: tuple[int, ...], spec: PreprocessSpec) -> Iterator[str]:
    if text := describe_stretch(size_hw, spec):
        yield f"camera {name}: {text}"
