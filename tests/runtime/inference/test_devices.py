"""Cards and NUMA nodes: which there are, and the threads that stay on a node's cores."""

import ctypes
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnxruntime
import pytest

from partsight.runtime.core import ProviderError
from partsight.runtime.inference import (
    Cores,
    EngineSettings,
    GpuSettings,
    ModelSettings,
    Session,
    cards,
    create_session,
    devices,
    find_cores,
    list_cores,
    numa_nodes,
    provider_options,
)
from partsight.runtime.inference.io_binding import BoundRuns
from partsight.runtime.inference.providers import PROVIDERS
from tests.tiny import SIDE_PX, tiny_model
from tests.tiny_nodes import needs_affinity, write_nodes

pytestmark = needs_affinity


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, frozenset[int]]:
    """Two NUMA nodes that share the cores of this process; on one core, both have it."""
    return write_nodes(tmp_path / "node", monkeypatch)


def on_device(number: int, **options: Any) -> ModelSettings:
    return ModelSettings(engine=EngineSettings(device=number, **options))


def test_the_nodes_of_this_machine(nodes: dict[int, frozenset[int]]) -> None:
    assert numa_nodes() == nodes


def test_this_machines_own_nodes_hold_all_its_cores() -> None:
    found = numa_nodes()
    if found:  # not each container shows them
        assert frozenset().union(*found.values()) == os.sched_getaffinity(0)


def test_a_node_without_cores_that_the_process_may_use_is_none(
    nodes: dict[int, frozenset[int]], tmp_path: Path
) -> None:
    for number, cores in ((2, ""), (3, "1000-1003,1010")):  # memory alone, and the cores of another container
        (tmp_path / "node" / f"node{number}").mkdir()
        (tmp_path / "node" / f"node{number}" / "cpulist").write_text(f"{cores}\n", "ascii")
    assert numa_nodes() == nodes


@pytest.mark.parametrize(
    ("text", "numbers"), [("", ()), ("3", (3,)), ("0-3,8", (0, 1, 2, 3, 8)), ("0,2,4-5", (0, 2, 4, 5))]
)
def test_a_list_of_cores_is_written_as_it_is_read(text: str, numbers: tuple[int, ...]) -> None:
    assert devices._numbers(f"{text}\n") == frozenset(numbers)
    assert list_cores(frozenset(numbers)) == text


def test_two_threads_of_a_physical_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for core, siblings in ((0, "0,2"), (1, "1,3"), (2, "0,2"), (3, "1,3")):
        (tmp_path / f"cpu{core}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{core}" / "topology" / "thread_siblings_list").write_text(f"{siblings}\n", "ascii")
    monkeypatch.setattr(devices, "_CORES", tmp_path)
    assert Cores(frozenset({0, 1, 2, 3})).physical == 2
    assert Cores(frozenset({0, 2, 7})).physical == 2  # nothing is known of core 7
    assert Cores().physical == 0


def test_no_device_is_all_cores() -> None:
    for provider in ("cpu", "cuda", "auto", "kserve://server/line3"):
        assert find_cores(provider, None) == Cores()


def test_a_thread_is_pinned_for_a_while_and_so_are_the_threads_that_it_starts(nodes: dict[int, frozenset[int]]) -> None:
    before = os.sched_getaffinity(0)
    inherited: list[set[int]] = []
    with pytest.raises(RuntimeError, match="ours"), find_cores("cpu", 1).pinned():
        assert os.sched_getaffinity(0) == nodes[1]
        thread = threading.Thread(target=lambda: inherited.append(os.sched_getaffinity(0)))
        thread.start()
        thread.join()
        raise RuntimeError("ours")
    assert inherited == [nodes[1]]
    assert os.sched_getaffinity(0) == before


def test_cores_that_were_taken_away_meanwhile() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(ProviderError, match="1000-1001"), Cores(frozenset({1000, 1001})).pinned():
        pass
    assert os.sched_getaffinity(0) == before


def test_a_node_that_is_not_there(nodes: dict[int, frozenset[int]]) -> None:
    for call in (lambda: find_cores("cpu", 7), lambda: Session(tiny_model(), "cpu", on_device(7))):
        with pytest.raises(ProviderError, match=rf"node 7\b.*0 \(cores {list_cores(nodes[0])}\), 1 \(cores"):
            call()


def test_a_system_that_does_not_show_its_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_NODES", tmp_path / "nothing")
    with pytest.raises(ProviderError, match="node 0;"):
        find_cores("cpu", 0)


def test_a_system_without_affinities_has_no_nodes(
    nodes: dict[int, frozenset[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")  # as on Windows
    assert numa_nodes() == {}
    with pytest.raises(ProviderError, match="start /NODE"):
        find_cores("cpu", 0)


@pytest.mark.parametrize("provider", ["auto", "kserve://server/line3?token=secret", "kserve+https://server/line3"])
def test_a_device_needs_a_provider_of_this_machine(provider: str) -> None:
    with pytest.raises(ProviderError) as caught:
        find_cores(provider, 0)
    assert "secret" not in str(caught.value)


def test_openvino_runs_on_a_node_if_the_process_does(nodes: dict[int, frozenset[int]]) -> None:
    if len(nodes) > 1 and nodes[0] != nodes[1]:
        with pytest.raises(ProviderError, match="numactl --cpunodebind=1"):
            find_cores("openvino", 1)
    with find_cores("cpu", 1).pinned():  # as numactl does it for the process
        assert find_cores("openvino", 1).numbers == nodes[1]


def test_openvino_refuses_a_node_before_it_loads(nodes: dict[int, frozenset[int]]) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(ProviderError, match="node 9"):
        Session(tiny_model(), "openvino", on_device(9))


def test_the_networks_threads_stay_on_the_node(nodes: dict[int, frozenset[int]]) -> None:
    before = set(Path("/proc/self/task").iterdir())
    session = Session(tiny_model(), "cpu", on_device(1, threads=3))
    session.run(np.zeros((16, SIDE_PX, SIDE_PX, 3), np.uint8))
    started = {int(thread.name) for thread in set(Path("/proc/self/task").iterdir()) - before}
    assert len(started) == 2  # the third is the caller's
    assert all(os.sched_getaffinity(thread) == nodes[1] for thread in started)


def test_the_caller_computes_on_the_node(nodes: dict[int, frozenset[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []
    run = onnxruntime.InferenceSession.run

    def note(session: Any, *args: Any) -> Any:
        seen.append(os.sched_getaffinity(0))
        return run(session, *args)

    session = Session(tiny_model(), "cpu", on_device(1))
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", note)
    session.run(np.zeros((1, SIDE_PX, SIDE_PX, 3), np.uint8))
    assert seen == [nodes[1]]


def test_a_node_has_a_thread_for_each_of_its_physical_cores(nodes: dict[int, frozenset[int]]) -> None:
    options = create_session(tiny_model(), PROVIDERS["cpu"], on_device(1)).get_session_options()
    assert options.intra_op_num_threads == Cores(nodes[1]).physical
    options = create_session(tiny_model(), PROVIDERS["cpu"], ModelSettings()).get_session_options()
    assert options.intra_op_num_threads == 0


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_card_is_an_option_of_onnx_runtime(provider: str) -> None:
    gpu = GpuSettings(memory_limit_bytes=2**30)
    options = provider_options(PROVIDERS[provider], on_device(1, gpu=gpu))
    assert options["device_id"] == "1"
    assert options.get("gpu_mem_limit") == (str(2**30) if provider == "cuda" else None)
    assert "device_id" not in provider_options(PROVIDERS[provider], ModelSettings())


def test_all_buffers_are_on_the_sessions_card(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[tuple[Any, ...]] = []
    make, allocate = onnxruntime.OrtValue.ortvalue_from_numpy, onnxruntime.OrtValue.ortvalue_from_shape_and_type

    def from_numpy(array: np.ndarray, *place: Any) -> Any:
        places.append(place)
        return make(array)

    def from_shape(shape: Any, kind: Any, *place: Any) -> Any:
        places.append(place)
        return allocate(shape, kind)

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_numpy", from_numpy)
    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_shape_and_type", from_shape)
    session = onnxruntime.InferenceSession(tiny_model(), providers=["CPUExecutionProvider"])
    BoundRuns(session, [1, 4], "cuda", 3)
    assert places == [("cuda", 3)] * 6  # the frames, the scores and the embeddings of two sizes


def test_a_card_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cards", lambda: ("H200", "L4"))
    assert find_cores("tensorrt", 1) == Cores()
    with pytest.raises(ProviderError, match=r"card 2 .*0 \(H200\), 1 \(L4\)"):
        find_cores("cuda", 2)


def test_without_a_driver_there_are_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime names the missing library better."""
    monkeypatch.setattr(ctypes, "CDLL", Mock(side_effect=OSError))
    assert cards() == ()
    assert find_cores("cuda", 2) == Cores()


_DRIVER = """
static int is_started;
int cuInit(unsigned flags) { is_started = flags == 0; return !is_started; }
int cuDeviceGetCount(int *count) { *count = 3; return !is_started; }
int cuDeviceGet(int *card, int number) { *card = 10 + number; return number >= 3; }
int cuDeviceGetName(char *name, int size, int card) {
    const char *text = card == 10 ? "NVIDIA H200" : "NVIDIA L4";
    int index = 0;
    while (index < size - 1 && text[index]) { name[index] = text[index]; index++; }
    name[index] = 0;
    return card == 12;
}
"""


def test_the_driver_names_the_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = shutil.which("cc") or shutil.which("g++")
    if compiler is None:
        pytest.skip("needs a C compiler, for a library in the driver's place")
    (tmp_path / "driver.c").write_text(_DRIVER, "ascii")
    subprocess.run(
        [compiler, "-x", "c", "-shared", "-fPIC", "-o", tmp_path / "driver.so", tmp_path / "driver.c"], check=True
    )
    monkeypatch.setattr(devices, "_DRIVER", str(tmp_path / "driver.so"))
    assert cards() == ("NVIDIA H200", "NVIDIA L4", "unknown")


@pytest.mark.parametrize("device", [-1, 1.0, "0", True])
def test_a_device_that_cannot_be(device: Any) -> None:
    with pytest.raises(ValueError, match=f"device is {device!r};"):
        EngineSettings(device=device)
