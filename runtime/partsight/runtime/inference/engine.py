"""What every engine is: one loaded model that answers batches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from partsight.runtime.core import FloatArray, Pixels

INPUT_NAME = "image_bgr"
SCORE_NAME = "score"
BOUND_NAME = "bound"
"""In place of the score, of a model whose package searches for it: see `search.PrototypeSearch`."""
EMBEDDING_NAME = "embedding"


Arithmetic = Literal["fp32", "bf16", "fp16", "int8"]
"""What the network is computed in. There is no file for bf16: the fp32 one is computed so."""


@dataclass(frozen=True)
class Tensor:
    """What goes in or comes out: NumPy's name of its type, and its shape; None for any size."""

    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.dtype} ({', '.join('?' if size is None else str(size) for size in self.shape)})"


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives, by name, and the texts that its file brings."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    def __str__(self) -> str:
        inputs, outputs = (
            ", ".join(f"{name} {tensor}" for name, tensor in tensors.items()) or "none"
            for tensors in (self.inputs, self.outputs)
        )
        return f"inputs {inputs} and outputs {outputs}"


@dataclass(frozen=True)
class GpuSettings:
    """Steps towards the speed of the card; each can be switched off, to see what it gains.

    Attributes:
        io_binding: buffers on the card for each size of batch, made once and updated in place.
        cuda_graphs: record each size's work once and start it as a whole; needs `io_binding`.
        nhwc: channels last, as tensor cores want them.
        exhaustive_search: try all of cuDNN's ways to compute a convolution, once for each size of batch, in warm-up.
        tf32: let FP32 convolutions round to 10 bits of fraction.
        memory_limit_bytes: of the card; None for all of it.
    """

    io_binding: bool = True
    cuda_graphs: bool = True
    nhwc: bool = True
    exhaustive_search: bool = True
    tf32: bool = True
    memory_limit_bytes: int | None = None


@dataclass(frozen=True)
class Settings:
    """How a model is run.

    Attributes:
        arithmetic: what it is computed in.
        threads: of the CPU; None for one a physical core.
        spinning: whether the CPU's threads spin for a moment while they wait within a run, where the engine leaves the
            choice.
        batch_sizes: of the batches that will be run. A GPU runs these alone, and fills up what lies between.
        input_hw: (height, width) of the input, for engines that ask before they load; None where it is not known.
        cache: folder for what is compiled, for engines that compile; None for none.
        gpu: of no account elsewhere.
    """

    arithmetic: Arithmetic = "fp32"
    threads: int | None = None
    spinning: bool = True
    batch_sizes: tuple[int, ...] = (1, 16)
    input_hw: tuple[int, int] | None = None
    cache: Path | None = None
    gpu: GpuSettings = field(default_factory=GpuSettings)


class Engine(Protocol):
    """A loaded model. Safe to use from several threads."""

    @property
    def signature(self) -> Signature:
        """What the model takes and gives."""

    def run(self, batch: Pixels) -> tuple[FloatArray, FloatArray]:
        """Return the (batch, classes) scores and (batch, d) embeddings of (batch, height, width, 3) uint8 BGR.

        Of a model that has no scores, their bounds instead. The caller may change both arrays.
        """


def scores_of(signature: Signature) -> str:
    """Return the name of a model's scores, or of their bounds where it has those."""
    return BOUND_NAME if BOUND_NAME in signature.outputs else SCORE_NAME
