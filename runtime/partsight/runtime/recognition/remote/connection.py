"""The contract of a connection to a server, by either protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import numpy as np

from partsight.runtime.core import Pixels


class LostError(Exception):
    """An attempt failed, and the next one may succeed: the server is away, busy or too slow."""


class TensorFacts(msgspec.Struct, frozen=True):
    """An input or output as the server describes it; -1 in a shape for any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelFacts(msgspec.Struct, frozen=True):
    """A model as the server describes it: fields of the protocol, others are ignored."""

    name: str = ""
    versions: list[str] = []
    inputs: list[TensorFacts] = []
    outputs: list[TensorFacts] = []


@dataclass(frozen=True)
class Request:
    """A request for answers.

    Attributes:
        id: Id of this attempt, which the answer must repeat.
        version: Version of the model; empty for the server's choice.
        batch: Prepared frames, (n, height, width, 3) uint8 BGR.
        outputs: Names of the outputs to return.
    """

    id: str
    version: str
    batch: Pixels
    outputs: Sequence[str]


@dataclass(frozen=True)
class Response:
    """An answer as it came: the request's id, and the outputs by name. Nothing of it is checked."""

    id: str
    tensors: Mapping[str, np.ndarray] = field(default_factory=dict)


class Connection(Protocol):
    """A connection to one model of a server. Used by one thread at a time.

    Each method raises LostError if the next attempt may succeed, and RemoteError if the server refuses the request or
    answers with something else. No call takes much longer than its `limit_s`.

    Attributes:
        token: Bearer token that it sends; empty for none.
    """

    token: str

    def check_ready(self, limit_s: float) -> None:
        """Ask whether the server takes requests; raises LostError if not."""

    def describe(self, version: str, limit_s: float) -> ModelFacts:
        """Ask for the model's metadata; `version` may be empty."""

    def infer(self, request: Request, limit_s: float) -> Response:
        """Ask for answers."""

    def close(self) -> None:
        """Free the connection."""
