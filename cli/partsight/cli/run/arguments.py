"""The arguments of `partsight run`, and the file of --config, as the configuration of a line."""

import argparse
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from partsight.cli.options import renamed
from partsight.cli.run.config import CameraConfig, ConfigError, LineConfig
from partsight.cli.run.toml_file import read_line_file
from partsight.runtime.cameras import CameraOptions
from partsight.runtime.core import CameraError

_SAME = (
    "provider",
    "precision",
    "batch",
    "cache",
    "device",
    "threads",
    "threshold",
    "top",
    "watch",
    "log",
    "metrics",
    "page",
)
"""Options that are attributes of `LineConfig` with the same name."""


def describe(args: argparse.Namespace) -> LineConfig:
    """Return the configuration: the keys of the file, each replaced by the option if there is one.

    Cameras and sinks of the command replace all cameras and sinks of the file. Options of cameras apply to each camera.
    A policy or a deadline with a camera's name applies to that camera, without a name to the line.

    Raises:
        ConfigError: The file cannot be used, or the line cannot run as described.
    """
    values = read_line_file(args.config) if args.config is not None else {}
    if args.takt_ms:
        values["warnings"] = (*values.get("warnings", ()), renamed("--takt-ms", "--deadline-ms"))
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
    own = {"policy": args.policy or [], "deadline_ms": [*(args.deadline_ms or []), *(args.takt_ms or [])]}
    for setting, given in own.items():
        named = _by_camera(setting, given, cameras)
        if "" in named:
            values[setting] = named.pop("")
        cameras |= {name: replace(cameras[name], **{setting: value}) for name, value in named.items()}
    if images and _options(args):
        raise ConfigError(f"image files have no {', '.join(_options(args))}; expected --camera ADDRESS instead of them")
    return LineConfig(**{"package": ""} | values | {"images": images, "cameras": cameras})


def _by_camera(setting: str, named: list[tuple[str, Any]], cameras: Mapping[str, CameraConfig]) -> dict[str, Any]:
    """Return the values by the camera's name; the name of the line's own value is empty."""
    option = f"--{setting.replace('_', '-')}"
    values = dict(named)
    if len(values) < len(named):
        raise ConfigError(f"{option} is given twice for the same cameras; expected it once for each")
    for name in values:
        if name and name not in cameras:
            known = f"one of {', '.join(cameras)}" if cameras else "no name: image files are no camera"
            raise ConfigError(f"{option} names camera {name!r}; expected {known}")
    return values


def _cameras(texts: list[str]) -> dict[str, CameraConfig]:
    named = dict(_named(index, text) for index, text in enumerate(texts))
    if len(named) < len(texts):
        raise ConfigError("two cameras have the same name; expected --camera NAME=ADDRESS with another name for each")
    return {name: CameraConfig(address) for name, address in named.items()}


def _named(index: int, text: str) -> tuple[str, str]:
    """Split NAME=ADDRESS. An address alone gets its index as a name, since the address may hold a password."""
    name, equals, address = text.partition("=")
    is_named = equals and name.replace("-", "").replace("_", "").isalnum()
    return (name, address) if is_named else (f"camera{index}", text)


def _with_options(camera: CameraConfig, args: argparse.Namespace) -> CameraConfig:
    try:
        return replace(camera, options=replace(camera.options, **_options(args)))
    except CameraError as error:
        raise ConfigError(str(error)) from error


def _options(args: argparse.Namespace) -> Mapping[str, Any]:
    """Return the options of cameras that the user gave."""
    options = {field.name: getattr(args, field.name) for field in fields(CameraOptions)}
    return {name: value for name, value in options.items() if value is not None}
