"""NUMA nodes for tests, on a machine of any number of cores."""

import os
from pathlib import Path

import pytest

from partsight.runtime.inference import devices, list_cores

needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")


def write_nodes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, frozenset[int]]:
    """Share the cores of this process among two nodes, and let partsight see these in place of the machine's own.

    Returns:
        The cores of each node; on a machine with one core, both nodes have it.
    """
    cores = sorted(os.sched_getaffinity(0))
    nodes = {0: frozenset(cores[: (len(cores) + 1) // 2]), 1: frozenset(cores[len(cores) // 2 :])}
    for number, its_cores in nodes.items():
        (folder / f"node{number}").mkdir(parents=True)
        (folder / f"node{number}" / "cpulist").write_text(f"{list_cores(its_cores)}\n", "ascii")
    monkeypatch.setattr(devices, "_NODES", folder)
    return nodes
