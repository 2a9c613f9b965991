"""The directory: the models of the whole server, as Ray Serve knows them."""

import asyncio
import time
from collections.abc import Mapping

from partsight.runtime.core import RemoteError, import_extra

DEPLOYMENT = "partsight"
"""Name of the deployment in each application of ours."""

_FRESH_S = 1.0
_LIMIT_S = 5.0


def served_models() -> dict[str, bool]:
    """Return the names of all served models, each with whether a replica of it can answer.

    Raises:
        DependencyError: Ray is not installed.
    """
    serve = import_extra("ray.serve", "ray")
    return {
        name: application.deployments[DEPLOYMENT].replica_states.get("RUNNING", 0) > 0
        for name, application in sorted(serve.status().applications.items())
        if DEPLOYMENT in application.deployments
    }


class CachedDirectory:
    """Asks Ray Serve for all models, at most once a second: anybody may ask whether the server is ready."""

    def __init__(self) -> None:
        self._models: Mapping[str, bool] = {}
        self._asked_at = -_FRESH_S
        self._lock = asyncio.Lock()

    async def __call__(self) -> Mapping[str, bool]:
        """Return the names of all served models, each with whether it can answer.

        Raises:
            RemoteError: Ray Serve does not answer in time.
        """
        async with self._lock:
            if time.monotonic() - self._asked_at >= _FRESH_S:
                try:
                    self._models = await asyncio.wait_for(asyncio.to_thread(served_models), _LIMIT_S)
                except TimeoutError as error:
                    raise RemoteError(f"Ray Serve's controller did not answer within {_LIMIT_S:g} s") from error
                self._asked_at = time.monotonic()
            return self._models
