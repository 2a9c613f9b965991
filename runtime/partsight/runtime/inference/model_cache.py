"""The cache of compiled models: an engine uses a model from it only if no bit has changed since it was written.

OpenVINO loads a damaged compiled model (a power cut, a failing disk) without a warning, and gives other scores. So each
model has a seal next to it, its SHA-256. partsight removes a model that does not match its seal, and compiles it again.
"""

import contextlib
import hashlib
import logging
from pathlib import Path

from partsight.runtime.core import OutputError, write_file

_MODELS = "*.blob"
_SEAL = ".sha256"

_MAX_KEPT = 8
"""Number of models to keep, the newest: a start reads all of them. OpenVINO does not say which of them are in use. If
one in use was removed, OpenVINO compiles it again, and it is then the newest."""

_log = logging.getLogger("partsight.runtime")


def make_cache(folder: Path) -> Path | None:
    """Make the folder if it is missing: for its owner alone, whatever the umask is.

    Others must not write to it, nor to its files, whose rights the engine sets: partsight loads no signed package with
    such a cache (`trust.check_cache`).

    Returns:
        The folder. None, with a warning, if it cannot be made or read: a line whose disk is full still starts, later.
    """
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(0o700 if path == folder else 0o755, exist_ok=True)
        next(folder.iterdir(), None)  # OpenVINO ends the process if it may not list the folder
    except OSError as error:
        _warn(folder, error)
        return None
    return folder


def open_cache(folder: Path) -> Path | None:
    """Make the folder if it is missing, and remove damaged and old models from it.

    Returns:
        The folder. None, with a warning, if it cannot be read or written to; see `make_cache`.
    """
    if make_cache(folder) is None:
        return None
    try:
        for model in _keep_newest(folder):
            if not _is_whole(model):
                _remove(model)
    except OSError as error:
        _warn(folder, error)
        return None
    return folder


def seal(folder: Path) -> None:
    """Seal the models compiled since `open_cache`. The next start compiles a model again if it has no seal."""
    for model in folder.glob(_MODELS):
        if not _seal_of(model).exists():
            try:
                write_file(_seal_of(model), _digest(model))
            except (OSError, OutputError) as error:
                extra = {"event": "cache_unusable", "path": str(folder)}
                _log.warning("%s: cannot be kept (%s); the next start compiles", model, error, extra=extra)


def _warn(folder: Path, error: OSError) -> None:
    extra = {"event": "cache_unusable", "path": str(folder)}
    _log.warning("%s: compiled models cannot be kept there (%s); each start compiles", folder, error, extra=extra)


def _keep_newest(folder: Path) -> list[Path]:
    """Remove all models but the newest; return the models that remain."""
    models = sorted(folder.glob(_MODELS), key=_written_at, reverse=True)
    return models[:_MAX_KEPT] + [model for model in models[_MAX_KEPT:] if not _is_removed(model)]


def _written_at(model: Path) -> float:
    try:
        return model.stat().st_mtime
    except OSError:  # another process removed it meanwhile
        return 0.0


def _remove(model: Path) -> None:
    with contextlib.suppress(OSError):  # another user owns it, or another process removed it
        model.chmod(0o600)  # OpenVINO makes it read-only, and Windows removes no read-only file
    model.unlink(missing_ok=True)


def _is_removed(model: Path) -> bool:
    try:
        _remove(model)
    except OSError:  # Windows removes no file that another process uses
        return False
    _seal_of(model).unlink(missing_ok=True)
    return True


def _is_whole(model: Path) -> bool:
    try:
        whole = _seal_of(model).read_bytes() == _digest(model)
    except OSError:
        whole = False
    if not whole:
        _seal_of(model).unlink(missing_ok=True)
    return whole


def _seal_of(model: Path) -> Path:
    return model.with_name(model.name + _SEAL)


def _digest(model: Path) -> bytes:
    with model.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().encode()
