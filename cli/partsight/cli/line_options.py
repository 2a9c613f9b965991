"""From the options of `partsight run`, and the file that they name, to one description of the line."""

import argparse
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from partsight.cli.line_config import CameraConfig, ConfigError, LineConfig
from partsight.cli.line_file import read_line_file
from partsight.runtime.cameras import CameraOptions
from partsight.runtime.core import CameraError

_SAME = (
    "provider",
    "precision",
    "batch",
    "cache",
    "threads",
    "comparers",
    "threshold",
    "top",
    "watch",
    "log",
    "metrics",
)
"""Options that are attributes of `LineConfig` by the same name."""

_OWN = ("policy", "takt_ms")
"""Options that a camera may have for itself."""


def describe(args: argparse.Namespace) -> LineConfig:
    """Return what the file of `--config` says, with options in place of its keys.

    Cameras and sinks of the command take the place of the file's; options of cameras go to each. A policy and a takt
    go to the camera that they name, else to the line.

    Raises:
        ConfigError: the file cannot be used, or what is asked for cannot be run.
    """
    values = read_line_file(args.config) if args.config is not None else {}
    values |= {name: getattr(args, name) for name in _SAME if getattr(args, name) is not None}
    if args.sink:
        values["sinks"] = tuple(args.sink)
    if args.trusted_keys:
        values["trusted_keys"] = tuple(args.trusted_keys)
    if args.paths:
        values["package"] = args.paths[0]
    images = tuple(args.paths[1:])
    cameras = _cameras(args.camera or []) if args.camera or images else values.get("cameras", {})
    cameras = {name: _with_options(camera, args) for name, camera in cameras.items()}
    for setting in _OWN:
        named = _by_camera(setting, getattr(args, setting) or [], cameras)
        if "" in named:
            values[setting] = named.pop("")
        cameras |= {name: replace(cameras[name], **{setting: value}) for name, value in named.items()}
    if images and _options(args):
        raise ConfigError(f"image files have no {', '.join(_options(args))}; expected a camera that has")
    return LineConfig(**{"package": ""} | values | {"images": images, "cameras": cameras})


def _by_camera(setting: str, named: list[tuple[str, Any]], cameras: Mapping[str, CameraConfig]) -> dict[str, Any]:
    """Return the values by camera, that of the line by an empty name."""
    option = f"--{setting.replace('_', '-')}"
    values = dict(named)
    if len(values) < len(named):
        raise ConfigError(f"{option} is there twice for the same cameras; expected it once for each")
    for name in values:
        if name and name not in cameras:
            known = f"one of {', '.join(cameras)}" if cameras else "no name: image files are no camera"
            raise ConfigError(f"{option} names camera {name!r}; expected {known}")
    return values


def _cameras(texts: list[str]) -> dict[str, CameraConfig]:
    named = dict(_named(place, text) for place, text in enumerate(texts))
    if len(named) < len(texts):
        raise ConfigError(
            "two cameras have the same name; expected --camera NAME=ADDRESS with a name of its own for each"
        )
    return {name: CameraConfig(address) for name, address in named.items()}


def _named(place: int, text: str) -> tuple[str, str]:
    """Split NAME=ADDRESS; an address alone is named by its place, since it may hold what nobody should read."""
    name, equals, address = text.partition("=")
    is_named = equals and name.replace("-", "").replace("_", "").isalnum()
    return (name, address) if is_named else (f"camera{place}", text)


def _with_options(camera: CameraConfig, args: argparse.Namespace) -> CameraConfig:
    try:
        return replace(camera, options=replace(camera.options, **_options(args)))
    except CameraError as error:
        raise ConfigError(str(error)) from error


def _options(args: argparse.Namespace) -> Mapping[str, Any]:
    """Return the options of cameras that the command names."""
    options = {field.name: getattr(args, field.name) for field in fields(CameraOptions)}
    return {name: value for name, value in options.items() if value is not None}
