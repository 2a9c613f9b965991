"""What a line is to do: one description, whether it came from options or from a file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from partsight.runtime import PartsightError, Recognizer
from partsight.runtime.cameras import SCHEMES, CameraOptions, without_credentials
from partsight.runtime.images import describe_mistake
from partsight.runtime.inference import Arithmetic
from partsight.runtime.line import Policy
from partsight.runtime.sinks import shown

IMAGES = "files"
"""The name of the camera that image files are, which were named one by one."""

STDOUT = "jsonl:-"

_ENDING = frozenset({"folder", "video"})


class ConfigError(PartsightError):
    """A line's description cannot be used."""


@dataclass(frozen=True)
class CameraConfig:
    """A camera of the line.

    Attributes:
        address: as `open_camera` takes it; may hold a password.
        options: what to set at it.
        policy: its own, in place of the line's; see `LineConfig`.
        takt_ms: its own, in place of the line's.
    """

    address: str
    options: CameraOptions = field(default_factory=CameraOptions)
    policy: str | None = None
    takt_ms: float | None = None

    @property
    def ends(self) -> bool:
        """Whether it comes to an end, as files do."""
        return self.address.partition(":")[0] in _ENDING


@dataclass(frozen=True, kw_only=True)
class LineConfig:
    """What a line is to do. Each attribute is the option of `partsight run` of the same name.

    Attributes:
        package: a package's folder, or an `.onnx` file alone.
        images: image files, answered in this order; instead of cameras.
        cameras: by name.
        sinks: addresses, each once.
        provider, precision, batch, cache, threads, threshold, top: see `Recognizer`.
        comparers: Deprecated. It has no effect; the line warns of it.
        trusted_keys: files of public keys, one of which must have signed each package; none where only this machine's
            setting counts.
        policy: `latest`, `queue:N` or `block`, of cameras that have none of their own; None for `latest` of live
            cameras and `block` of files, which loses nothing. In a line with live cameras it does not hold for files.
        takt_ms: a frame whose turn comes later than this after it came is not answered. It holds for the same cameras.
        watch: put a new package at `package` in place of the old.
        log: `text` or `json`.
        metrics: `HOST:PORT` at which metrics are served; None for none.
    """

    package: str
    images: tuple[str, ...] = ()
    cameras: Mapping[str, CameraConfig] = field(default_factory=dict)
    sinks: tuple[str, ...] = (STDOUT,)
    provider: str = "cpu"
    precision: Arithmetic = "fp32"
    batch: int = 16
    cache: str | None = None
    threads: int | None = None
    comparers: int | None = None
    threshold: float | None = None
    top: int = 5
    trusted_keys: tuple[str, ...] = ()
    policy: str | None = None
    takt_ms: float | None = None
    watch: bool = False
    log: str = "text"
    metrics: str | None = None

    def __post_init__(self) -> None:
        if not self.package:
            raise ConfigError("no package is named; expected PACKAGE, or package = in the file of --config")
        if bool(self.images) == bool(self.cameras):
            received = "both" if self.images else "neither"
            raise ConfigError(f"received {received}; expected either IMAGE ... or --camera folder:PATH")
        for image in self.images:
            _check_image(image)
        if self.watch and Path(self.package).suffix == ".onnx":
            raise ConfigError("--watch looks at a package's folder, and not at an .onnx file alone")
        if not self.sinks or len(set(self.sinks)) < len(self.sinks):
            names = ", ".join(map(shown, self.sinks)) or "none"
            raise ConfigError(f"sinks are {names}; expected at least one, and each once")
        if self.metrics is not None:
            _check_listen_address(self.metrics)

    @property
    def ends(self) -> bool:
        """Whether it comes to an end, as files do."""
        return all(camera.ends for camera in self.cameras.values())

    @property
    def policies(self) -> Mapping[str, Policy]:
        """What happens to each camera's frames while the network is busy, by its name."""
        if self.images:
            return {IMAGES: self._policy(None, ends=True)}
        return {name: self._policy(camera.policy, ends=camera.ends) for name, camera in self.cameras.items()}

    def _policy(self, own: str | None, *, ends: bool) -> Policy:
        of_line = self.policy if self._is_for(ends=ends) else None
        name, _, bound = (own or of_line or ("block" if ends else "latest")).partition(":")
        usual = 1 if name == "latest" else 2 * self.batch
        return Policy(cast(Any, name), int(bound or usual))

    @property
    def takts_ms(self) -> Mapping[str, float]:
        """How long an answer is of use, of each camera that has a takt, by its name."""
        if self.images:
            return {} if self.takt_ms is None else {IMAGES: self.takt_ms}
        of_line = {name: self.takt_ms for name, camera in self.cameras.items() if self._is_for(ends=camera.ends)}
        takts = {name: camera.takt_ms or of_line.get(name) for name, camera in self.cameras.items()}
        return {name: takt for name, takt in takts.items() if takt is not None}

    def _is_for(self, *, ends: bool) -> bool:
        """Tell whether policy and takt of the line hold for a camera: files next to a live camera lose nothing."""
        return self.ends or not ends

    def load(self, package: str | Path) -> Recognizer:
        """Load a package as this line is to use it.

        Raises:
            PartsightError: see `Recognizer`.
        """
        return Recognizer(
            package,
            provider=self.provider,
            precision=self.precision,
            batch_size=self.batch,
            top=self.top,
            threshold=self.threshold,
            threads=self.threads,
            cache=self.cache,
            trusted_keys=self.trusted_keys or None,
        )


def _check_image(image: str) -> None:
    """Refuse a folder, and an address that `--camera` takes; a file that is not there is a failed frame."""
    if os.path.isdir(image):  # noqa: PTH112 (Path.is_dir raises where it may not look)
        mistake = describe_mistake(Path(image), "image") or "is a folder"
        raise ConfigError(f"{image} {mistake}; expected image files, or --camera folder:{image}")
    if image.partition(":")[0] in SCHEMES and not os.path.exists(image):  # noqa: PTH110
        shown = without_credentials(image)
        raise ConfigError(f"{shown} is the address of a camera; expected image files, or --camera {shown}")


def _check_listen_address(text: str) -> None:
    from partsight.runtime.line.metrics.server import parse_listen_address

    try:
        parse_listen_address(text)
    except ValueError as error:
        raise ConfigError(f"metrics: {error}") from error
