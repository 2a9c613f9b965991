"""A recogniser on one NUMA node: the network's threads and partsight's own."""

import os
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnxruntime
import pytest

from partsight.runtime import EngineSettings, ModelPackage, ProviderError, Recognizer
from partsight.runtime.inference import ModelSettings
from partsight.runtime.matching import GraphMatcher, graph_matcher
from partsight.runtime.matching.bank import FIELDS
from partsight.runtime.recognition import load_bank
from tests.tiny import COLOURS_BGR, solid
from tests.tiny_nodes import needs_affinity, write_nodes

pytestmark = needs_affinity
LABELS = list(COLOURS_BGR)


def test_all_threads_of_a_recogniser_stay_on_its_node(
    matching_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes, mine = write_nodes(tmp_path / "node", monkeypatch), os.sched_getaffinity(0)
    before = set(threading.enumerate())
    frames = [solid(label, 480, 640) for label in LABELS]  # so large that threads share them
    with Recognizer(matching_package, batch_size=4, engine=EngineSettings(device=1)) as recognizer:
        recognizer.preload()
        for results in (recognizer.recognize_batch(frames), recognizer.start_batch(frames[:4]).wait()):
            assert [result.label for result in results] == LABELS[: len(results)]
        started = {thread.name.rpartition("_")[0]: thread for thread in set(threading.enumerate()) - before}
        assert {"partsight", "partsight-compare", "partsight-match"} <= set(started)
        for thread in started.values():
            assert os.sched_getaffinity(thread.native_id or 0) == nodes[1]
    assert os.sched_getaffinity(0) == mine  # the caller's own thread is free again


def test_a_recogniser_on_a_node_that_is_not_there(tiny_package: Path) -> None:
    with pytest.raises(ProviderError, match="node 64"):
        Recognizer(tiny_package, engine=EngineSettings(device=64))


def test_the_bank_of_the_matching_graph_is_on_the_networks_card(
    matching_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[tuple[Any, ...]] = []

    def from_numpy(array: np.ndarray, *place: Any) -> Mock:
        places.append(place)
        return Mock(name=str(array.dtype))

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_numpy", from_numpy)
    create_session = Mock()
    monkeypatch.setattr(graph_matcher, "create_session", create_session)
    package = ModelPackage.read(matching_package)
    assert package.manifest.matching is not None
    settings = ModelSettings(engine=EngineSettings(device=2))
    GraphMatcher(b"", load_bank(package), package.manifest.matching.spec, "cuda", settings)
    assert places == [("cuda", 2)] * len(FIELDS)
    assert create_session.call_args.args[2].engine.device == 2
