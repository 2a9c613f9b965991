from pathlib import Path
from typing import Any

import pytest

from partsight.runtime.inference.onnx_runtime import create_session, provider_options
from partsight.runtime.inference.providers import PROVIDERS
from partsight.runtime.inference.settings import EngineSettings, GpuSettings, ModelSettings
from tests.tiny import ONE_THREAD, tiny_model

CUDA, TENSORRT, CPU = PROVIDERS["cuda"], PROVIDERS["tensorrt"], PROVIDERS["cpu"]


def test_the_cpu_needs_no_options() -> None:
    assert provider_options(CPU, ModelSettings()) == {}


@pytest.mark.parametrize(
    ("gpu", "option", "value"),
    [
        (GpuSettings(), "enable_cuda_graph", "1"),
        (GpuSettings(cuda_graphs=False), "enable_cuda_graph", "0"),
        (GpuSettings(io_binding=False), "enable_cuda_graph", "0"),  # a graph needs addresses that stay
        (GpuSettings(), "prefer_nhwc", "1"),
        (GpuSettings(nhwc=False), "prefer_nhwc", "0"),
        (GpuSettings(), "cudnn_conv_algo_search", "EXHAUSTIVE"),
        (GpuSettings(exhaustive_search=False), "cudnn_conv_algo_search", "HEURISTIC"),
        (GpuSettings(tf32=False), "use_tf32", "0"),
        (GpuSettings(memory_limit_bytes=2**30), "gpu_mem_limit", "1073741824"),
        (GpuSettings(), "gpu_mem_limit", None),
    ],
)
def test_each_step_on_a_card_is_an_option(gpu: GpuSettings, option: str, value: str | None) -> None:
    assert provider_options(CUDA, ModelSettings(engine=EngineSettings(gpu=gpu))).get(option) == value


def test_tensorrt_gets_the_sizes_of_all_batches() -> None:
    options = provider_options(TENSORRT, ModelSettings("fp16", batch_sizes=(1, 32), input_hw=(150, 160)))
    assert options["trt_profile_min_shapes"] == "image_bgr:1x150x160x3"
    assert options["trt_profile_opt_shapes"] == options["trt_profile_max_shapes"] == "image_bgr:32x150x160x3"
    assert (options["trt_fp16_enable"], options["trt_int8_enable"]) == ("1", "0")
    assert not any("cache" in name for name in options)


def test_tensorrt_keeps_engine_and_timings(tmp_path: Path) -> None:
    options = provider_options(TENSORRT, ModelSettings(engine=EngineSettings(cache=tmp_path)))
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(tmp_path)
    assert not any(name.startswith("trt_profile") for name in options)  # of an input that is not known yet


def test_the_folder_of_tensorrts_cache_is_made(tmp_path: Path) -> None:
    """TensorRT itself would make it with the rights of the umask."""
    folder = tmp_path / "new" / "cache"
    options = provider_options(TENSORRT, ModelSettings(engine=EngineSettings(cache=str(folder))))
    assert options["trt_engine_cache_path"] == str(folder)
    assert folder.is_dir()
    (tmp_path / "file").touch()
    unusable = ModelSettings(engine=EngineSettings(cache=tmp_path / "file"))
    assert not any("cache" in name for name in provider_options(TENSORRT, unusable))


@pytest.mark.parametrize(("spinning", "entry"), [(True, "1"), (False, "0")])
def test_spinning(spinning: bool, entry: str) -> None:
    settings = ModelSettings(engine=EngineSettings(spinning=spinning))
    options = create_session(tiny_model(), CPU, settings).get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == entry
    assert 0 < int(options.get_session_config_entry("session.intra_op.spin_duration_us")) < 1000  # where it does


def test_threads() -> None:
    options = create_session(tiny_model(), CPU, ModelSettings(engine=ONE_THREAD)).get_session_options()
    assert options.intra_op_num_threads == 1


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_a_number_of_threads_that_cannot_be(threads: Any) -> None:
    with pytest.raises(ValueError, match=f"threads is {threads!r};"):
        EngineSettings(threads=threads)
