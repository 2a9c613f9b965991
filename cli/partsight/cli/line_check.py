"""Checking a line before it runs: `partsight run --check`."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from partsight.cli.line_config import CameraConfig, LineConfig
from partsight.runtime import PackageError
from partsight.runtime.cameras import CameraOptions
from partsight.runtime.cameras import check_address as check_camera
from partsight.runtime.cameras.address import without_credentials
from partsight.runtime.choice import AUTO
from partsight.runtime.engines.providers import find_provider
from partsight.runtime.package import ModelPackage
from partsight.runtime.recognizer import COMPARERS_TEXT
from partsight.runtime.sinks import check_address as check_sink
from partsight.runtime.sinks.address import name_of


def check_addresses(config: LineConfig) -> None:
    """Refuse addresses that nothing can be opened at, which the line would wait for.

    Raises:
        CameraError: a camera is not known, or cannot do as told.
        SinkError: a sink is not known, or an option of it is wrong.
    """
    for camera in config.cameras.values():
        check_camera(camera.address, camera.options)
    for address in config.sinks:
        check_sink(address)


def print_plan(config: LineConfig) -> None:
    """Check what can be checked without a camera, a sink or a network, and print what would run.

    Raises:
        PartsightError: the package, an address, or provider and precision are not as the line needs them.
    """
    check_addresses(config)
    if config.provider != AUTO:
        find_provider(config.provider, config.precision)
    facts = [("package", _package(config)), *_facts(config)]
    width = max(len(name) for name, _ in facts)
    for name, text in facts:
        print(f"{name:<{width}}  {text}")


def _package(config: LineConfig) -> str:
    path = Path(config.package)
    if path.suffix == ".onnx":
        if not os.path.isfile(path):  # noqa: PTH113 (Path.is_file raises where it may not look)
            raise PackageError(f"{path}: there is no such file; expected a package's folder, or an .onnx file of one")
        return f"{path}: a model alone, which is looked into when it runs"
    package = ModelPackage.read(path, config.trusted_keys or None)
    package.model("fp32" if config.precision == "bf16" else config.precision)
    package.verify()
    signed = f", signed by key {', '.join(package.signed_by)}" if package.signed_by else ""
    return f"{path}: {len(package.manifest.labels)} parts, id {package.package_id}{signed}"


def _facts(config: LineConfig) -> Iterator[tuple[str, str]]:
    threads = f", {config.threads} threads" if config.threads else ""
    yield "network", f"{config.provider}, {config.precision}, batches of {config.batch}{threads}"
    if config.comparers is not None:
        yield "warning", COMPARERS_TEXT
    if config.threshold is not None:
        yield "threshold", f"{config.threshold:g}"
    if config.images:
        yield "images", f"{len(config.images)} files"
    for name, camera in config.cameras.items():
        yield f"camera {name}", _camera(camera)
    for address in config.sinks:
        yield "sink", name_of(address)
    policy = config.named_policy
    yield "policy", policy.name if policy.name == "latest" else f"{policy.name}, {policy.bound} frames of each camera"
    if config.takt_ms is not None:
        yield "takt", f"{config.takt_ms:g} ms"
    if config.watch:
        yield "watch", config.package
    if config.metrics is not None:
        yield "metrics", config.metrics
    yield "log", config.log


def _camera(camera: CameraConfig) -> str:
    usual = asdict(CameraOptions())
    changed = [f"{name}={value}" for name, value in asdict(camera.options).items() if value != usual[name]]
    return " ".join([without_credentials(camera.address), *changed])
