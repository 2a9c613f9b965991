"""The cache of compiled models: what lies there is used only if it is, to the bit, what was written.

OpenVINO loads a compiled model in which a page was lost (a power cut, a failing disk) without a word, and gives other
scores. So each has a seal beside it, its SHA-256, and one that does not match its seal is removed and compiled again.
"""

import hashlib
import logging
from pathlib import Path

from partsight.runtime.errors import OutputError
from partsight.runtime.storage import write_file

_MODELS = "*.blob"
_SEAL = ".sha256"

_log = logging.getLogger("partsight.runtime")


def open_cache(folder: Path) -> Path | None:
    """Return the folder, made if it was not there, with whole models alone.

    Returns:
        None, with a warning, if it cannot be written to: a line whose disk is full still starts, only later.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for model in folder.glob(_MODELS):
            if not _is_whole(model):
                model.unlink(missing_ok=True)
    except OSError as error:
        extra = {"event": "cache_unusable", "path": str(folder)}
        _log.warning("%s: compiled models cannot be kept there (%s); each start compiles", folder, error, extra=extra)
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
