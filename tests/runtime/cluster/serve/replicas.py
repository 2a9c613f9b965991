"""Replicas that tests can stop or delay: Ray imports them in its own processes."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from partsight.runtime.cluster.serve.replica import Replica
from partsight.runtime.cluster.serve.settings import ServedPackage
from tests.waiting import wait_until


class WeakReplica(Replica):
    """A replica that names its process, and that stalls on demand, while its event loop goes on."""

    async def pid(self) -> int:
        return os.getpid()

    async def stall(self) -> int:
        def never(frames: Sequence[Any]) -> Any:
            threading.Event().wait()

        self._model._recognizer.recognize_batch = never  # type: ignore[method-assign]
        return os.getpid()


class SlowReplica(Replica):
    """A replica that says that it starts, by a file next to its package, and loads the package only when it may."""

    def __init__(self, settings: ServedPackage) -> None:
        package = Path(settings.path)
        package.with_suffix(".starts").touch()
        wait_until(package.with_suffix(".may_load").exists)
        super().__init__(settings)
