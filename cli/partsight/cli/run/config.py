"""The configuration of a line: the same, whether it comes from options or from a file."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from partsight.cli.run.page import read_page_settings
from partsight.runtime import EngineSettings, PageError, PartsightError, Recognizer
from partsight.runtime.cameras import CameraOptions, camera_schemes, without_credentials
from partsight.runtime.images import describe_mistake
from partsight.runtime.inference import Arithmetic
from partsight.runtime.line import Policy
from partsight.runtime.sinks import parse_listen_address, shown

IMAGES = "files"
"""Name of the camera that stands for image files, which the command names one by one."""

STDOUT = "jsonl:-"

_ENDING = frozenset({"folder", "video"})


class ConfigError(PartsightError):
    """The configuration of a line cannot be used."""


@dataclass(frozen=True)
class CameraConfig:
    """A camera of the line.

    Attributes:
        address: Address as `open_camera` takes it; it may hold a password.
        options: Settings of the camera.
        policy: The camera's own policy, in place of the line's; see `LineConfig`.
        deadline_ms: The camera's own deadline, in place of the line's.
    """

    address: str
    options: CameraOptions = field(default_factory=CameraOptions)
    policy: str | None = None
    deadline_ms: float | None = None

    @property
    def ends(self) -> bool:
        """Whether the camera ends by itself, as files do."""
        return self.address.partition(":")[0] in _ENDING


@dataclass(frozen=True, kw_only=True)
class LineConfig:
    """The configuration of a line. Each attribute is the option of `partsight run` of the same name.

    Attributes:
        package: Folder of a package, or path of an `.onnx` file alone.
        images: Image files, answered in this order; instead of cameras.
        cameras: Cameras by name.
        sinks: Addresses of sinks, each once.
        provider, precision, batch, cache, threads, threshold, top: Options of `Recognizer` and its `EngineSettings`.
        device: Devices, for each of which the line has a recogniser; empty for one recogniser without a device.
        trusted_keys: Files of public keys; one of them must have signed each package. Empty if only the setting of
            this machine counts.
        policy: `latest`, `queue:N` or `block`, for cameras without a policy of their own. None means `latest` for live
            cameras, and `block` for files, which loses no frame. Next to live cameras it does not apply to files.
        deadline_ms: Time in milliseconds from a frame's arrival, after which the line does not answer it any more. It
            applies to the same cameras as `policy`.
        watch: Whether the line loads a new package that appears at `package`, in place of the old one.
        log: `text` or `json`.
        metrics: `HOST:PORT` that serves metrics; None for no metrics.
        page: `[HOST]:PORT?option=value` that serves the page, see `PageSettings`; None for no page.
        warnings: Warnings about old names of options and keys.
    """

    package: str
    images: tuple[str, ...] = ()
    cameras: Mapping[str, CameraConfig] = field(default_factory=dict)
    sinks: tuple[str, ...] = (STDOUT,)
    provider: str = "cpu"
    precision: Arithmetic = "fp32"
    batch: int = 16
    cache: str | None = None
    device: tuple[int, ...] = ()
    threads: int | None = None
    threshold: float | None = None
    top: int = 5
    trusted_keys: tuple[str, ...] = ()
    policy: str | None = None
    deadline_ms: float | None = None
    watch: bool = False
    log: str = "text"
    metrics: str | None = None
    page: str | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.package:
            raise ConfigError("no package is named; expected PACKAGE, or `package` in the file of --config")
        if bool(self.images) == bool(self.cameras):
            received = "both" if self.images else "neither"
            raise ConfigError(f"received {received}; expected either IMAGE ... or --camera folder:PATH")
        for image in self.images:
            _check_image(image)
        if self.watch and Path(self.package).suffix == ".onnx":
            raise ConfigError(f"--watch needs the folder of a package; received {self.package}, an .onnx file alone")
        if not self.sinks or len(set(self.sinks)) < len(self.sinks):
            names = ", ".join(map(shown, self.sinks)) or "none"
            raise ConfigError(f"sinks are {names}; expected at least one, and each once")
        if self.metrics is not None:
            _check_listen_address(self.metrics)
        if self.page is not None:
            _check_page_address(self.page)

    @property
    def ends(self) -> bool:
        """Whether all cameras end by themselves, as files do."""
        return all(camera.ends for camera in self.cameras.values())

    @property
    def policies(self) -> Mapping[str, Policy]:
        """Policy of each camera, by its name."""
        if self.images:
            return {IMAGES: self._policy(None, ends=True)}
        return {name: self._policy(camera.policy, ends=camera.ends) for name, camera in self.cameras.items()}

    def _policy(self, own: str | None, *, ends: bool) -> Policy:
        of_line = self.policy if self._is_for(ends=ends) else None
        name, _, bound = (own or of_line or ("block" if ends else "latest")).partition(":")
        usual = 1 if name == "latest" else 2 * self.batch * max(1, len(self.device))
        return Policy(cast(Any, name), int(bound or usual))

    @property
    def deadlines_ms(self) -> Mapping[str, float]:
        """Deadline of each camera that has one, by its name."""
        if self.images:
            return {} if self.deadline_ms is None else {IMAGES: self.deadline_ms}
        of_line = {name: self.deadline_ms for name, camera in self.cameras.items() if self._is_for(ends=camera.ends)}
        deadlines = {name: camera.deadline_ms or of_line.get(name) for name, camera in self.cameras.items()}
        return {name: deadline for name, deadline in deadlines.items() if deadline is not None}

    def _is_for(self, *, ends: bool) -> bool:
        """Whether policy and deadline of the line apply to a camera: files next to a live camera lose no frame."""
        return self.ends or not ends

    def load(self, package: str | Path) -> list[Recognizer]:
        """Load a package as this line uses it: once for each device.

        Raises:
            PartsightError: see `Recognizer`.
        """
        with ExitStack() as loaded:  # closes the first if the second fails
            recognizers = [loaded.enter_context(self._load(package, device)) for device in self.device or (None,)]
            loaded.pop_all()
        return recognizers

    def _load(self, package: str | Path, device: int | None) -> Recognizer:
        return Recognizer(
            package,
            provider=self.provider,
            precision=self.precision,
            batch_size=self.batch,
            top=self.top,
            threshold=self.threshold,
            engine=EngineSettings(self.threads, cache=self.cache, device=device),
            trusted_keys=self.trusted_keys or None,
        )


def _check_image(image: str) -> None:
    """Refuse a folder and the address of a camera. A missing file is a failed frame later, not an error here."""
    if os.path.isdir(image):  # noqa: PTH112 (Path.is_dir raises if access is denied)
        mistake = describe_mistake(Path(image), "image") or "is a folder"
        raise ConfigError(f"{image} {mistake}; expected image files, or --camera folder:{image}")
    if image.partition(":")[0] in camera_schemes() and not os.path.exists(image):  # noqa: PTH110
        shown = without_credentials(image)
        raise ConfigError(f"{shown} is the address of a camera; expected image files, or --camera {shown}")


def _check_listen_address(text: str) -> None:
    try:
        parse_listen_address(text)
    except ValueError as error:
        raise ConfigError(f"metrics: {error}") from error


def _check_page_address(text: str) -> None:
    try:
        read_page_settings(text)
    except PageError as error:
        raise ConfigError(str(error)) from error
