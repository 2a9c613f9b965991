"""The configuration is one that Triton's own messages hold, and says what the model is."""

from pathlib import Path

import pytest

from partsight.export.triton.config import (
    check_config,
    config_text,
    forget_versions,
    new_config,
    read_config,
    recorded_versions,
    set_batch,
    set_tensorrt,
    set_version,
    warm_up_sizes,
    write_config,
)
from partsight.runtime.core.errors import ExportError
from partsight.runtime.recognition import ANSWER_TENSORS

SIZE_HW = (36, 48)


def test_input_and_outputs_are_the_contract() -> None:
    config = new_config("demo", SIZE_HW)
    (image,) = config.input
    assert (image.name, list(image.dims), config.backend) == ("image_bgr", [36, 48, 3], "onnxruntime")
    assert [output.name for output in config.output] == [*(tensor.name for tensor in ANSWER_TENSORS), "network_score"]
    for output, tensor in zip(config.output, ANSWER_TENSORS, strict=False):
        assert list(output.dims) == [tensor.width or 1]
        assert output.HasField("reshape") is (tensor.width is None)
        assert list(output.reshape.shape) == []


def test_no_size_is_preferred_over_the_largest() -> None:
    """Triton takes any preferred size that the queue reaches at once: with 1 among them, it never joins requests."""
    config = new_config("demo", SIZE_HW)
    set_batch(config, 16)
    set_batch(config, 8)
    assert config.max_batch_size == 8
    assert list(config.dynamic_batching.preferred_batch_size) == [8]
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 128


@pytest.mark.parametrize(
    ("batch", "sizes"), [(1, (1,)), (2, (1, 2)), (16, (1, 2, 4, 8, 16)), (24, (1, 2, 4, 8, 16, 24))]
)
def test_each_size_is_warmed_up(batch: int, sizes: tuple[int, ...]) -> None:
    config = new_config("demo", SIZE_HW)
    set_batch(config, batch)
    assert warm_up_sizes(batch) == sizes == tuple(request.batch_size for request in config.model_warmup)
    for request in config.model_warmup:
        image = request.inputs["image_bgr"]
        assert (image.data_type, list(image.dims), image.zero_data) == (config.input[0].data_type, [36, 48, 3], True)


def test_all_versions_answer() -> None:
    assert new_config("demo", SIZE_HW).version_policy.WhichOneof("policy_choice") == "all"


def test_positions_are_computed_with_all_digits() -> None:
    (cuda,) = new_config("demo", SIZE_HW).optimization.execution_accelerators.gpu_execution_accelerator
    assert (cuda.name, dict(cuda.parameters)) == ("cuda", {"use_tf32": "0"})


def test_tensorrt_keeps_engines_of_all_batches() -> None:
    config = new_config("demo", SIZE_HW)
    set_batch(config, 16)
    set_tensorrt(config, "/old")
    set_tensorrt(config, "/engines")
    set_batch(config, 32)
    tensorrt, cuda = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert (tensorrt.name, cuda.name) == ("tensorrt", "cuda")
    assert tensorrt.parameters["trt_engine_cache_path"] == tensorrt.parameters["trt_timing_cache_path"] == "/engines"
    assert tensorrt.parameters["trt_profile_min_shapes"] == "image_bgr:1x36x48x3"
    assert tensorrt.parameters["trt_profile_max_shapes"] == "image_bgr:32x36x48x3"


def test_versions_are_recorded() -> None:
    config = new_config("demo", SIZE_HW)
    set_version(config, 1, "aa", ())
    set_version(config, 12, "bb", ("k1", "k2"))
    assert recorded_versions(config) == {1: "aa", 12: "bb"}
    assert config.parameters["signed_by.12"].string_value == "k1,k2"
    forget_versions(config, (1,))
    assert recorded_versions(config) == {1: "aa"}
    assert "signed_by.12" not in config.parameters


def test_round_trip(tmp_path: Path) -> None:
    config = new_config("Größe", SIZE_HW)
    set_batch(config, 4)
    write_config(config, tmp_path / "config.pbtxt")
    assert read_config(tmp_path / "config.pbtxt") == config
    assert "Größe" in config_text(config)


@pytest.mark.parametrize("data", [b"name: ", b"\xff", b"nonsense: 3"])
def test_a_broken_file(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_bytes(data)
    with pytest.raises(ExportError, match=r"config\.pbtxt"):
        read_config(tmp_path / "config.pbtxt")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"config\.pbtxt"):
        read_config(tmp_path / "config.pbtxt")


def test_another_size_of_input(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"48×36 px.*60×50 px.*--name"):
        check_config(new_config("demo", SIZE_HW), "demo", (50, 60), tmp_path)


def test_another_model(tmp_path: Path) -> None:
    other = new_config("demo", SIZE_HW)
    del other.output[-1]
    for config in (other, new_config("else", SIZE_HW), type(other)(name="demo")):
        with pytest.raises(ExportError, match="--name"):
            check_config(config, "demo", SIZE_HW, tmp_path)
