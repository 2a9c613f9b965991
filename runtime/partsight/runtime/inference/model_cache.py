"""The cache of compiled models: what lies there is used only if it is, to the bit, what was written.

OpenVINO loads a compiled model in which a page was lost (a power cut, a failing disk) without a word, and gives other
scores. So each has a seal beside it, its SHA-256, and one that does not match its seal is removed and compiled again.
"""

import contextlib
import hashlib
import logging
from pathlib import Path

from partsight.runtime.core import OutputError, write_file

_MODELS = "*.blob"
_SEAL = ".sha256"

_MAX_KEPT = 8
"""Models, those written last: a start reads all of them. Which are used, OpenVINO does not tell; one that still is, and
was removed, is compiled again and is then the newest."""

_log = logging.getLogger("partsight.runtime")


def make_cache(folder: Path) -> Path | None:
    """Return the folder, made if it was not there: for its owner alone, whatever the umask is.

    A signed package is not loaded with a cache that others may write to (`trust.check_cache`), nor may they write to
    the files in it, whose rights are as the engine makes them.

    Returns:
        None, with a warning, if it cannot be had: a line whose disk is full still starts, only later.
    """
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(0o700 if path == folder else 0o755, exist_ok=True)
        next(folder.iterdir(), None)  # in one that it may not look into, OpenVINO ends the process
    except OSError as error:
        _warn(folder, error)
        return None
    return folder


def open_cache(folder: Path) -> Path | None:
    """Return the folder, made if it was not there, with whole models alone, and the newest of them.

    Returns:
        None, with a warning, if it cannot be had or written to; see `make_cache`.
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
    """Seal what was compiled since `open_cache`; what cannot be sealed is compiled again next time."""
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
    """Remove all models but the newest; return those that are there."""
    models = sorted(folder.glob(_MODELS), key=_written_at, reverse=True)
    return models[:_MAX_KEPT] + [model for model in models[_MAX_KEPT:] if not _is_removed(model)]


def _written_at(model: Path) -> float:
    try:
        return model.stat().st_mtime
    except OSError:  # another process removed it meanwhile
        return 0.0


def _remove(model: Path) -> None:
    with contextlib.suppress(OSError):  # it may be another's, or gone
        model.chmod(0o600)  # OpenVINO makes it read-only, and Windows removes no such file
    model.unlink(missing_ok=True)


def _is_removed(model: Path) -> bool:
    try:
        _remove(model)
    except OSError:  # Windows removes none that another process uses, either
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
