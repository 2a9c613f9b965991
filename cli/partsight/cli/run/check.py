"""The check of a line before it runs, and the plan that `partsight run --check` prints."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from partsight.cli.run.config import CameraConfig, LineConfig
from partsight.cli.run.conflicts import check_devices, check_targets, differences
from partsight.cli.run.page import check_page, page_warnings, read_page_settings
from partsight.runtime import PackageError
from partsight.runtime.cameras import CameraOptions, without_credentials
from partsight.runtime.cameras import check_address as check_camera
from partsight.runtime.inference import EngineSettings, ModelSettings, find_cores, is_remote
from partsight.runtime.line import Policy
from partsight.runtime.package import ModelPackage
from partsight.runtime.recognition import check_provider, threshold_warning
from partsight.runtime.sinks import check_address as check_sink
from partsight.runtime.sinks import name_of


def check_addresses(config: LineConfig) -> None:
    """Refuse addresses that can never be opened: the line would wait for them without end.

    Raises:
        CameraError: A camera is unknown, does not support an option, or has the address of another one.
        SinkError: A sink is unknown, has a wrong option, or writes to the file or port of another one.
        PageError: The page has the port of the metrics, or its data folder is in that of a camera or a sink.
    """
    for camera in config.cameras.values():
        check_camera(camera.address, camera.options)
    for address in config.sinks:
        check_sink(address)
    check_devices(config)
    check_targets(config)
    check_page(config)


def print_plan(config: LineConfig) -> None:
    """Check the line without opening a camera, a sink or a network connection, and print the plan.

    Raises:
        PartsightError: The package, an address, the provider or the precision does not suit the line.
    """
    check_addresses(config)
    for device in config.device or (None,):
        engine = EngineSettings(config.threads, cache=config.cache, device=device)
        check_provider(config.provider, ModelSettings(config.precision, engine=engine), config.top)
        find_cores(config.provider, device)
    package = _read_package(config)
    facts = [("package", _package(config, package)), *_facts(config, package)]
    if package is not None:
        facts += [("warning", text) for text in differences(config, package.manifest)]
    width = max(len(name) for name, _ in facts)
    for name, text in facts:
        print(f"{name:<{width}}  {text}")


def _read_package(config: LineConfig) -> ModelPackage | None:
    """Return the package after a check of all its files; None for a model alone."""
    path = Path(config.package)
    if path.suffix == ".onnx":
        if not os.path.isfile(path):  # noqa: PTH113 (Path.is_file raises if access is denied)
            raise PackageError(f"{path}: no such file; expected the folder of a package, or an .onnx file from one")
        return None
    package = ModelPackage.read(path, config.trusted_keys or None)
    package.model("fp32" if config.precision == "bf16" else config.precision)
    package.check_hashes()
    return package


def _package(config: LineConfig, package: ModelPackage | None) -> str:
    if package is None:
        return f"{config.package}: a model alone: without a manifest there is nothing to check"
    signed = f", signed by key {', '.join(package.signed_by)}" if package.signed_by else ""
    return f"{package.path}: {len(package.manifest.labels)} parts, id {package.package_id}{signed}"


def _facts(config: LineConfig, package: ModelPackage | None) -> Iterator[tuple[str, str]]:
    threads = f", {config.threads} threads" if config.threads else ""
    precision = "" if is_remote(config.provider) else f", {config.precision}"  # a server decides it
    devices = f", on {_devices(config.device)}" if config.device else ""
    yield "network", f"{config.provider}{precision}, batches of {config.batch}{threads}{devices}"
    yield from (("warning", text) for text in config.warnings)
    if config.threshold is not None:
        yield from _threshold(config.threshold, package)
    if config.images:
        yield "images", f"{len(config.images)} files"
    for name, camera in config.cameras.items():
        yield f"camera {name}", _camera(camera)
    for address in config.sinks:
        yield "sink", name_of(address)
    policies = {name: _policy(policy) for name, policy in config.policies.items()}
    yield from _of_cameras("policy", policies, len(policies))
    deadlines = {name: f"{deadline:g} ms" for name, deadline in config.deadlines_ms.items()}
    yield from _of_cameras("deadline", deadlines, len(policies))
    if config.watch:
        yield "watch", config.package
    if config.metrics is not None:
        yield "metrics", config.metrics
    if config.page is not None:
        yield "page", _page(config.page, config.sinks)
        yield from (("warning", warning.text) for warning in page_warnings(config))
    yield "log", config.log


def _devices(numbers: tuple[int, ...]) -> str:
    return f"device {numbers[0]}" if len(numbers) == 1 else f"devices {', '.join(map(str, numbers))} at once"


def _page(address: str, sinks: tuple[str, ...]) -> str:
    settings = read_page_settings(address, sinks)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    frames = f", frames to review in {settings.feedback}" if settings.feedback else ""
    return f"{'https' if settings.cert else 'http'}://{host}:{settings.port}/, data in {settings.data}{frames}"


def _threshold(threshold: float, package: ModelPackage | None) -> Iterator[tuple[str, str]]:
    if package is None:
        yield "threshold", f"{threshold:g}"
        return
    decision = (package.manifest.matching or package.manifest).decision
    yield "threshold", f"{threshold:g}; the package's own is {decision.threshold:.3g}"
    if warning := threshold_warning(decision, threshold):
        yield "warning", warning


def _policy(policy: Policy) -> str:
    return policy.name if policy.name == "latest" else f"{policy.name}, {policy.bound} frames of each camera"


def _of_cameras(setting: str, values: Mapping[str, str], cameras: int) -> Iterator[tuple[str, str]]:
    """Yield one row if all cameras have the same value, else a row for each camera that has one."""
    if len(values) == cameras and len(set(values.values())) == 1:
        yield setting, next(iter(values.values()))
    else:
        yield from ((f"{setting} {name}", text) for name, text in values.items())


def _camera(camera: CameraConfig) -> str:
    usual = asdict(CameraOptions())
    changed = [f"{name}={value}" for name, value in asdict(camera.options).items() if value != usual[name]]
    return " ".join([without_credentials(camera.address), *changed])
