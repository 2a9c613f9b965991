"""Settings: how a replica answers for a package, and how many replicas there are."""

import re
from dataclasses import dataclass, field

from partsight.runtime.core import RemoteError
from partsight.runtime.inference import Arithmetic
from partsight.runtime.signing import PublicKey

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names of models: each is a part of a URL, and the name of an application of Ray Serve."""


@dataclass(frozen=True)
class Limits:
    """Limits of a replica, so that no client can stop it for others.

    Attributes:
        request_bytes: Largest body of a request.
        frames: Most frames of a request.
        answer_s: Longest time for an answer, in seconds; then the request fails.
        health_s: Longest time for the answer to a golden image; a replica that is slower three times is replaced.
    """

    request_bytes: int = 64 * 2**20
    frames: int = 64
    answer_s: float = 30.0
    health_s: float = 10.0


@dataclass(frozen=True)
class Replicas:
    """The replicas of a package.

    Attributes:
        count: Number of replicas.
        cpus: CPU cores that Ray reserves for each.
        gpus: Share of a GPU that Ray reserves for each. With at most 0.5, a swap fits the new replica next to the old.
    """

    count: int = 1
    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ServedPackage:
    """A package to serve, and how a replica runs it.

    Attributes:
        name: Name of the model in URLs.
        path: Folder of the package on each node that runs a replica.
        provider, precision, batch_size: As for `Recognizer`.
        threads: CPU threads of the network; None for one a core.
        max_wait_ms: Most milliseconds that a frame waits for frames of other clients.
        trusted_keys: Keys, one of which must have signed the package; None if only the machine's setting counts.
        token_digests: SHA-256 of each token that clients may send; empty if they need none.
        limits: Limits of a replica.
        replicas: Number of replicas, and the share of the machines for each.
    """

    name: str
    path: str
    provider: str = "cpu"
    precision: Arithmetic = "fp32"
    batch_size: int = 16
    threads: int | None = None
    max_wait_ms: float = 5.0
    trusted_keys: tuple[PublicKey, ...] | None = None
    token_digests: tuple[bytes, ...] = ()
    limits: Limits = field(default_factory=Limits)
    replicas: Replicas = field(default_factory=Replicas)

    def __post_init__(self) -> None:
        """Refuse a name that cannot be a part of a URL.

        Raises:
            RemoteError: The name has other characters, or none.
        """
        if not NAME.fullmatch(self.name):
            raise RemoteError(
                f"received the name {self.name!r}; expected 1 to 64 letters, digits, dots, dashes and underscores: "
                "write NAME=PACKAGE"
            )

    @property
    def max_ongoing(self) -> int:
        """Most requests that a replica works on: while it answers one batch, requests for the next one gather."""
        return 2 * self.batch_size

    @property
    def max_queued(self) -> int:
        """Most requests that wait for a replica; clients of more get the status 503, and ask again."""
        return 4 * self.batch_size
