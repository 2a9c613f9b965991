"""The application: a package as Ray Serve deploys it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from partsight.runtime.cluster.serve.access import read_token_digests
from partsight.runtime.cluster.serve.directory import DEPLOYMENT
from partsight.runtime.cluster.serve.replica import Replica
from partsight.runtime.cluster.serve.settings import Limits, Replicas, ServedPackage
from partsight.runtime.core import RemoteError, import_extra
from partsight.runtime.inference import Arithmetic
from partsight.runtime.signing import read_keys

HEALTH_PERIOD_S = 5.0
"""Seconds between two health checks of a replica."""

_MIN_RAY = (2, 60)  # the first with `max_surge_percent`: a swap starts the new replica before it stops the old one

_Number = Annotated[int, msgspec.Meta(ge=1)]


class _Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of `serve run`; see `app`."""

    package: str
    name: str = ""
    provider: str = "cpu"
    precision: Arithmetic = "fp32"
    batch: _Number = 16
    max_wait_ms: float = 5.0
    replicas: _Number = 1
    cpus: float = 2.0
    gpus: float = 0.0
    token_file: str = ""
    trusted_key: str = ""


def application(settings: ServedPackage, replica: type[Replica] = Replica) -> Any:
    """Return the application of Ray Serve for a package.

    Args:
        settings: Package, and how to run it.
        replica: Class of its replicas.

    Raises:
        DependencyError: Ray is not installed.
        RemoteError: Ray is too old.
    """
    serve = import_extra("ray.serve", "ray")
    _check_version(import_extra("ray", "ray").__version__)
    limits, replicas = settings.limits, settings.replicas
    deployment = serve.deployment(
        name=DEPLOYMENT,
        num_replicas=replicas.count,
        ray_actor_options={"num_cpus": replicas.cpus, "num_gpus": replicas.gpus},
        max_ongoing_requests=settings.max_ongoing,
        max_queued_requests=settings.max_queued,
        max_surge_percent=100,
        max_constructor_retry_count=2,
        health_check_period_s=min(HEALTH_PERIOD_S, limits.health_s),
        health_check_timeout_s=2 * limits.health_s,  # ours ends first, and names the fault
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=limits.answer_s,
        logging_config={"enable_access_log": False},
    )
    return deployment(replica).bind(settings)


def app(arguments: Mapping[str, Any]) -> Any:
    """Return the application for `serve run partsight.runtime.cluster:app package=PACKAGE`.

    Args:
        arguments: `package`, its folder on each node; `name` of the model, else the folder's stem; `provider`,
            `precision`, `batch`, `max_wait_ms`, `replicas`, `cpus` and `gpus` a replica, `token_file` and
            `trusted_key`, as the options of `partsight serve`.

    Raises:
        RemoteError: An argument is missing, unknown or of another kind.
        KeyFileError: The file of tokens, or the key, cannot be used.
    """
    try:
        given = msgspec.convert(dict(arguments), _Arguments, strict=False)
    except msgspec.ValidationError as error:
        raise RemoteError(
            f"partsight.runtime.cluster:app: {error}; expected package=FOLDER and, if needed, some of "
            f"{', '.join(name for name in _Arguments.__struct_fields__ if name != 'package')}"
        ) from error
    return application(
        ServedPackage(
            name=given.name or Path(given.package).stem,
            path=given.package,
            provider=given.provider,
            precision=given.precision,
            batch_size=given.batch,
            threads=max(1, int(given.cpus)),
            max_wait_ms=given.max_wait_ms,
            trusted_keys=read_keys([given.trusted_key]) if given.trusted_key else None,
            token_digests=read_token_digests(Path(given.token_file)) if given.token_file else (),
            limits=Limits(),
            replicas=Replicas(given.replicas, given.cpus, given.gpus),
        )
    )


def _check_version(text: str) -> None:
    version = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if version < _MIN_RAY:
        raise RemoteError(
            f"Ray {text} is installed; expected at least {_MIN_RAY[0]}.{_MIN_RAY[1]}: run "
            "`pip install --upgrade 'partsight[ray]'`"
        )
