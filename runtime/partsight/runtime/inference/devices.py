"""The devices of this machine: NVIDIA cards, and NUMA nodes with the cores on which a network's threads run."""

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from partsight.runtime.core import ProviderError
from partsight.runtime.inference.providers import AUTO, find_provider, is_remote

_NODES = Path("/sys/devices/system/node")
_CORES = Path("/sys/devices/system/cpu")
_DRIVER = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"
_NAME_BYTES = 100


@dataclass(frozen=True)
class Cores:
    """Cores for threads.

    Attributes:
        numbers: Numbers of logical cores; empty for all that the process may use.
    """

    numbers: frozenset[int] = frozenset()

    @property
    def physical(self) -> int:
        """Number of physical cores; a physical core with two threads counts once."""
        return len({_siblings(core) for core in self.numbers})

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Let the calling thread run on these cores alone; a thread that it starts meanwhile stays on them.

        Raises:
            ProviderError: The process may use none of them any more.
        """
        if not self.numbers:
            yield
            return
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, self.numbers)
        except OSError as error:
            raise ProviderError(
                f"a thread cannot run on the cores {list_cores(self.numbers)} ({error}); start the process again with "
                "another device, or let it use these cores"
            ) from error
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


def find_cores(provider: str, device: int | None) -> Cores:
    """Return the cores for the threads of a network, after a check of its device.

    Args:
        provider: Name of a provider.
        device: Number of a card for a provider on cards, else of a NUMA node; None for no choice.

    Raises:
        ProviderError: The device is not there, or the provider cannot be bound to one. No provider has that name.
    """
    if device is None:
        return Cores()
    if provider == AUTO or is_remote(provider):
        name = provider.partition("?")[0]  # the rest may hold a secret
        raise ProviderError(
            f"received device {device} for provider {name}; expected a provider of this machine by its name, such as "
            "cpu or cuda, or no device"
        )
    found = find_provider(provider)
    if found.on_card:
        _check_card(device)
        return Cores()
    cores = _cores_of_node(device)
    if not found.ort_name and os.sched_getaffinity(0) - cores.numbers:
        # OpenVINO has no option for it, and all its models in a process share their threads.
        raise ProviderError(
            f"provider {provider!r} cannot bind its threads to NUMA node {device}, but a process can: start it with "
            f"`numactl --cpunodebind={device} --membind={device} partsight ...`, or choose provider cpu"
        )
    return cores


def numa_nodes() -> Mapping[int, frozenset[int]]:
    """Return the cores that this thread may use by NUMA node; empty if the system does not show its nodes."""
    if not hasattr(os, "sched_getaffinity"):
        return {}
    usable, nodes = os.sched_getaffinity(0), {}
    for folder in _NODES.glob("node[0-9]*"):
        if cores := _numbers(_read(folder / "cpulist")) & usable:
            nodes[int(folder.name.removeprefix("node"))] = cores
    return dict(sorted(nodes.items()))


def cards() -> tuple[str, ...]:
    """Return the names of the NVIDIA cards in CUDA's order; empty if there is none or no driver."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    return tuple(_name_of_card(driver, number) for number in range(count.value))


def list_cores(cores: frozenset[int]) -> str:
    """Return a list such as `0-3,8` of numbers."""
    ordered, texts = sorted(cores), []
    starts = [core for core in ordered if core - 1 not in cores]
    ends = [core for core in ordered if core + 1 not in cores]
    for start, end in zip(starts, ends, strict=True):
        texts.append(str(start) if start == end else f"{start}-{end}")
    return ",".join(texts)


def _name_of_card(driver: ctypes.CDLL, number: int) -> str:
    card, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    if driver.cuDeviceGet(ctypes.byref(card), number) or driver.cuDeviceGetName(name, _NAME_BYTES, card):
        return "unknown"
    return name.value.decode("utf-8", "replace")


def _check_card(device: int) -> None:
    """Refuse a card that is not there; without a driver, ONNX Runtime names the missing library."""
    names = cards()
    if names and device >= len(names):
        listed = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
        raise ProviderError(
            f"card {device} is not there; expected one of {listed}. If one is missing, check CUDA_VISIBLE_DEVICES and "
            "run `nvidia-smi`"
        )


def _cores_of_node(device: int) -> Cores:
    nodes = numa_nodes()
    if not nodes:
        raise ProviderError(
            f"this system does not show its NUMA nodes, so that partsight cannot choose node {device}; leave out the "
            "device and start the process on the node (Windows: `start /NODE N partsight ...`)"
        )
    if device not in nodes:
        listed = ", ".join(f"{number} (cores {list_cores(cores)})" for number, cores in nodes.items())
        raise ProviderError(
            f"NUMA node {device} is not there, or this process may use none of its cores; expected one of {listed}"
        )
    return Cores(nodes[device])


def _siblings(core: int) -> frozenset[int]:
    """Return the logical cores that share a physical core with this one."""
    return _numbers(_read(_CORES / f"cpu{core}" / "topology" / "thread_siblings_list")) or frozenset({core})


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError:
        return ""


def _numbers(text: str) -> frozenset[int]:
    """Return the numbers of a list such as `0-3,8`."""
    ranges = (part.partition("-") for part in text.strip().split(",") if part)
    return frozenset(number for first, _, last in ranges for number in range(int(first), int(last or first) + 1))
