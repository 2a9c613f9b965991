"""Choosing a provider: the fastest of those that really work here, and saying which and why."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from partsight.runtime.core import DependencyError, PackageError, ProviderError
from partsight.runtime.inference.engine import Settings
from partsight.runtime.inference.prototype_search import PrototypeSearch
from partsight.runtime.inference.providers import PROVIDERS
from partsight.runtime.inference.session import Session

AUTO = "auto"

_ROUNDS = 3

_log = logging.getLogger("partsight.runtime")


@dataclass(frozen=True)
class Choice:
    """A session, and why it runs where it does.

    Attributes:
        session: on the provider that was taken.
        reason: for people.
    """

    session: Session
    reason: str


def open_session(model: bytes, provider: str, settings: Settings, search: PrototypeSearch | None = None) -> Choice:
    """Load a model on the provider that was named, or, for `auto`, on the fastest that works.

    Each provider that computes in `settings.arithmetic` is really tried: loaded, and timed on the largest batch that
    will be run. That takes as long as a few answers of each.

    Args:
        model: an ONNX file's bytes.
        provider: of `PROVIDERS`, or `auto`.
        settings: how it is run.
        search: for a model that gives bounds of scores.

    Raises:
        ProviderError: the one that was named, or all of them, cannot be had here.
        PackageError: the bytes are not a model of partsight's contract, as the one that was named, or one of all,
            says; of all, only if none works.
        DependencyError: the library of the one that was named is not installed.
    """
    if provider != AUTO:
        return Choice(Session(model, provider, settings, search), "it was asked for")
    best: Session | None = None  # of several, no more than two are ever in memory
    least_ms = math.inf
    said: list[str] = []
    refusal: PackageError | None = None
    for name, candidate in PROVIDERS.items():
        if settings.arithmetic not in candidate.arithmetic:
            continue
        try:
            session = Session(model, name, settings, search)
            frame_ms = _time(session, max(settings.batch_sizes))
        except (ProviderError, DependencyError, PackageError) as error:
            if refusal is None and isinstance(error, PackageError):
                refusal = error
            said.append(f"{name} cannot be had ({_briefly(error)})")
            continue
        if frame_ms < least_ms:
            best, least_ms = session, frame_ms
        said.append(f"{name} {frame_ms:.1f} ms a frame")
    if best is None and refusal is not None:  # no provider can mend it
        raise refusal
    if best is None:
        raise ProviderError(
            f"no provider works here that computes in {settings.arithmetic}: {'; '.join(said)}. `partsight doctor` "
            "shows what is missing"
        )
    reason = f"{best.provider.name}, the fastest of: {'; '.join(said)}; in batches of {max(settings.batch_sizes)}"
    _log.info("provider auto took %s", reason, extra={"event": "provider_taken"})
    return Choice(best, reason)


def _time(session: Session, size: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the milliseconds that a frame of a batch takes, at best: what else the machine does is not its fault."""
    batch = np.zeros((size, *session.input_hw, 3), np.uint8)
    session.run(batch)
    times = []
    for _ in range(_ROUNDS):
        started = clock()
        session.run(batch)
        times.append(clock() - started)
    return min(times) * 1000 / size


def _briefly(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text.partition("; mend it with")[0].partition("; install it with")[0]
