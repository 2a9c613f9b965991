"""Settings: how an engine uses the machine, and how it runs one model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from partsight.runtime.core import check_positive

Arithmetic = Literal["fp32", "bf16", "fp16", "int8"]
"""The number format in which an engine computes. There is no file for bf16: the engine computes the fp32 file so."""


@dataclass(frozen=True)
class GpuSettings:
    """Steps towards the speed of the card. Each can be switched off to measure its gain.

    Attributes:
        io_binding: Buffers on the card for each size of batch, made once and updated in place.
        cuda_graphs: Recording of each size's work, which the card then starts as a whole; needs `io_binding`.
        nhwc: Channels last, as tensor cores need them.
        exhaustive_search: Trial of all of cuDNN's convolution algorithms, once for each size of batch, in warm-up.
        tf32: Rounding of FP32 convolutions to 10 bits of fraction.
        memory_limit_bytes: Bytes of the card's memory that ONNX Runtime may take; None for all of them.
    """

    io_binding: bool = True
    cuda_graphs: bool = True
    nhwc: bool = True
    exhaustive_search: bool = True
    tf32: bool = True
    memory_limit_bytes: int | None = None


@dataclass(frozen=True)
class EngineSettings:
    """How an engine uses the machine. The defaults are the fastest.

    Attributes:
        threads: Number of CPU threads for the network; None for one a physical core.
        spinning: Whether ONNX Runtime's threads spin for a moment while they wait within a run. False spares some CPU
            time, and a batch of one takes a tenth longer.
        cache: Folder in which OpenVINO and TensorRT keep compiled models, for a faster start; None for none.
        gpu: Steps towards the speed of the card. Other providers ignore them.
        device: Number of the card for `cuda` and `tensorrt`, of the NUMA node for `cpu` and `openvino`: the network and
            partsight's own threads then run on that node's cores. None for the first card, or for all cores.
    """

    threads: int | None = None
    spinning: bool = True
    cache: str | Path | None = None
    gpu: GpuSettings = field(default_factory=GpuSettings)
    device: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that no engine can have.

        Raises:
            ValueError: `threads` is not a whole number of at least 1, or `device` not one of at least 0.
        """
        if self.device is not None and (type(self.device) is not int or self.device < 0):
            raise ValueError(f"device is {self.device!r}; expected a whole number of at least 0")
        if self.threads is not None:
            check_positive("threads", self.threads)

    @property
    def cache_folder(self) -> Path | None:
        """The folder of compiled models as a path; None for none."""
        return None if self.cache is None else Path(self.cache)


@dataclass(frozen=True)
class ModelSettings:
    """How an engine runs one model.

    Attributes:
        arithmetic: Number format of the computation.
        batch_sizes: Sizes of the batches that will be run. A GPU runs these alone, and fills up smaller batches.
        input_hw: (height, width) of the input in pixels, for engines that ask before they load; None if not known.
        engine: How the engine uses the machine.
    """

    arithmetic: Arithmetic = "fp32"
    batch_sizes: tuple[int, ...] = (1, 16)
    input_hw: tuple[int, int] | None = None
    engine: EngineSettings = field(default_factory=EngineSettings)
