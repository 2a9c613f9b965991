"""The configuration of a model on a Triton server: `config.pbtxt`, a `ModelConfig` of `tritonclient` in text form.

`docs/triton.md` explains each setting.
"""

from pathlib import Path
from typing import Any

from partsight.runtime.core import ExportError, import_extra, write_file
from partsight.runtime.inference import INPUT_NAME
from partsight.runtime.recognition import ANSWER_TENSORS, NETWORK_SCORE

CONFIG_NAME = "config.pbtxt"
DEFAULT_BATCH = 16

PACKAGE_ID, SIGNED_BY = "package_id.", "signed_by."
"""Prefixes of the parameters of each version, before its number."""

_EXTRA = "triton"
_QUEUE_BATCHES = 16
"""Batches that may wait. Triton refuses further requests at once, so an overloaded server does not work on frames that
their lines no longer wait for."""

_TYPES = {"BYTES": "TYPE_STRING", "INT64": "TYPE_INT64", "FP32": "TYPE_FP32", "BOOL": "TYPE_BOOL"}
_CUDA = {"use_tf32": "0"}  # TF32 has too few digits for positions in frames
_CUDA_PARAMETERS = {
    "cudnn_conv_algo_search": "1",  # heuristic: a search by trial stalls at each new size of batch
    "arena_extend_strategy": "1",  # by default the memory doubles with each growth and never shrinks
}


def new_config(name: str, size_hw: tuple[int, int]) -> Any:
    """Return the `ModelConfig` of a model without versions; `set_batch` and `Instances.write` complete it.

    Args:
        name: Name of the model.
        size_hw: Height and width of its input, in pixels.

    Raises:
        DependencyError: `tritonclient` is not installed.
    """
    config = _messages().ModelConfig(name=name, backend="onnxruntime")
    config.version_policy.all.SetInParent()  # old and new versions answer while lines move over
    config.input.add(name=INPUT_NAME, data_type="TYPE_UINT8", dims=(*size_hw, 3))
    for tensor in ANSWER_TENSORS:
        output = config.output.add(name=tensor.name, data_type=_TYPES[tensor.datatype], dims=[tensor.width or 1])
        if tensor.width is None:
            output.reshape.SetInParent()  # Triton has no empty dims: the model returns (batch,), the server (batch, 1)
    config.output.add(name=NETWORK_SCORE, data_type="TYPE_FP32", dims=[-1])  # a retrained package has other parts
    for key, value in _CUDA_PARAMETERS.items():
        config.parameters[key].string_value = value
    cuda = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="cuda")
    cuda.parameters.update(_CUDA)
    return config


def set_batch(config: Any, batch: int) -> None:
    """Set the largest batch: how requests are joined, how many wait, and the sizes of the warm-up.

    Args:
        config: `ModelConfig`.
        batch: Most frames in a batch.
    """
    config.max_batch_size = batch
    # Only the largest: with 1 among the preferred sizes, Triton runs a queue of 15 frames one by one.
    config.dynamic_batching.preferred_batch_size[:] = [batch]
    config.dynamic_batching.default_queue_policy.max_queue_size = _QUEUE_BATCHES * batch
    del config.model_warmup[:]
    for size in warm_up_sizes(batch):
        warm_up = config.model_warmup.add(name=f"batch of {size}", batch_size=size)
        image = warm_up.inputs[INPUT_NAME]
        image.data_type, image.zero_data = config.input[0].data_type, True
        image.dims.extend(config.input[0].dims)
    for accelerator in config.optimization.execution_accelerators.gpu_execution_accelerator:
        if accelerator.name == "tensorrt":
            accelerator.parameters.update(_profile(config))


def set_tensorrt(config: Any, cache: str) -> None:
    """Let cards compute by TensorRT, which keeps its engines in a folder of the server.

    Args:
        config: `ModelConfig` with its batch.
        cache: Folder on the server.
    """
    accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
    others = [item for item in accelerators if item.name != "tensorrt"]
    del accelerators[:]
    accelerator = accelerators.add(name="tensorrt")  # the first has priority; the rest of the graph runs by CUDA
    engine = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": cache}
    timing = {"trt_timing_cache_enable": "1", "trt_timing_cache_path": cache}
    accelerator.parameters.update({"precision_mode": "FP32"} | engine | timing | _profile(config))
    accelerators.extend(others)


def warm_up_sizes(batch: int) -> tuple[int, ...]:
    """Return the sizes of the warm-up requests: powers of two, and the largest batch."""
    return tuple(sorted({*(2**power for power in range(batch.bit_length())), batch}))


def set_version(config: Any, version: int, package_id: str, signed_by: tuple[str, ...]) -> None:
    """Record the package of a version: clients read it to choose the version of their own package."""
    config.parameters[f"{PACKAGE_ID}{version}"].string_value = package_id
    if signed_by:
        config.parameters[f"{SIGNED_BY}{version}"].string_value = ",".join(signed_by)


def recorded_versions(config: Any) -> dict[int, str]:
    """Return the package's id of each version that the configuration names, removed ones included."""
    return {
        int(key.removeprefix(PACKAGE_ID)): value.string_value
        for key, value in config.parameters.items()
        if key.startswith(PACKAGE_ID) and key.removeprefix(PACKAGE_ID).isdecimal()
    }


def forget_versions(config: Any, present: tuple[int, ...]) -> None:
    """Remove the records of versions that are no longer there."""
    for version in recorded_versions(config).keys() - set(present):
        for prefix in (PACKAGE_ID, SIGNED_BY):
            config.parameters.pop(f"{prefix}{version}", None)


def check_config(config: Any, name: str, size_hw: tuple[int, int], source: Path) -> None:
    """Refuse a configuration of another model.

    Args:
        config: `ModelConfig`.
        name: Expected name.
        size_hw: Expected height and width of the input, in pixels.
        source: Path of the file, for messages.

    Raises:
        ExportError: The name, the input or the outputs differ.
    """
    expected = new_config(name, size_hw)
    found_hw = tuple(config.input[0].dims[:2]) if config.input else ()
    if config.name == name and list(config.output) == list(expected.output) and found_hw not in ((), size_hw):
        raise ExportError(
            f"{source}: the model takes frames of {'×'.join(map(str, reversed(found_hw)))} px, the package of "
            f"{size_hw[1]}×{size_hw[0]} px; all versions of a model take the same: add `--name` with another name"
        )
    fields = ("name", "input", "output")
    if any(_list(config, field) != _list(expected, field) for field in fields):
        raise ExportError(
            f"{source}: is not the configuration of a model {name} that `partsight triton` writes; its name, input or "
            "outputs differ: add `--name` with another name, or remove the model's folder"
        )


def read_config(path: Path) -> Any:
    """Return the `ModelConfig` of a file.

    Raises:
        ExportError: The file cannot be read, or is no configuration.
        DependencyError: `tritonclient` is not installed.
    """
    messages, text_format = _messages(), import_extra("google.protobuf.text_format", _EXTRA)
    try:
        return text_format.Parse(path.read_text("utf-8"), messages.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ExportError(
            f"{path}: cannot be read ({error}); expected a file that `partsight triton` wrote: restore it, or remove "
            "the model's folder and write it again"
        ) from error


def write_config(config: Any, path: Path) -> None:
    """Write a `ModelConfig` as text, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    write_file(path, config_text(config).encode())


def config_text(config: Any) -> str:
    """Return a `ModelConfig` as text."""
    text: str = import_extra("google.protobuf.text_format", _EXTRA).MessageToString(config, as_utf8=True)
    return text


def _profile(config: Any) -> dict[str, str]:
    """Return the sizes of all batches to come: for one outside of them TensorRT builds again, for minutes."""
    sizes = {"min": 1, "opt": config.max_batch_size, "max": config.max_batch_size}
    shape = "x".join(str(side) for side in config.input[0].dims)
    return {f"trt_profile_{key}_shapes": f"{INPUT_NAME}:{size}x{shape}" for key, size in sizes.items()}


def _list(config: Any, field: str) -> Any:
    value = getattr(config, field)
    return value if isinstance(value, str) else list(value)


def _messages() -> Any:
    return import_extra("tritonclient.grpc.model_config_pb2", _EXTRA)
