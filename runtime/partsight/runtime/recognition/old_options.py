"""Old keywords of `Recognizer`, which work for one more release and warn."""

from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from partsight.runtime.inference import EngineSettings, GpuSettings

NEW_NAMES = {
    "verify": "matching=...",
    "threads": "engine=EngineSettings(threads=...)",
    "spinning": "engine=EngineSettings(spinning=...)",
    "cache": "engine=EngineSettings(cache=...)",
    "gpu": "engine=EngineSettings(gpu=...)",
}
"""New keyword by old keyword."""


class OldOptions(TypedDict, total=False):
    """The old keywords."""

    verify: bool
    threads: int | None
    spinning: bool
    cache: str | Path | None
    gpu: GpuSettings | None


def check_known(options: OldOptions) -> None:
    """Refuse a keyword that `Recognizer` neither has nor had.

    Raises:
        TypeError: A keyword is unknown.
    """
    for name in options:
        if name not in NEW_NAMES:
            raise TypeError(f"Recognizer() got an unexpected keyword argument {name!r}")


def read_engine(options: OldOptions, engine: EngineSettings | None) -> EngineSettings:
    """Return `engine`, or its defaults, with the old keywords in it.

    Raises:
        ValueError: `threads` is not a whole number of at least 1.
    """
    given: dict[str, Any] = {
        name: value for name, value in options.items() if name != "verify" and value is not None
    }  # None is each one's default
    return replace(engine or EngineSettings(), **given)
