"""Facts about this machine that matter to partsight. The module imports nothing heavy, and never TensorFlow."""

import importlib.metadata
import os
import platform
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from partsight.cli.probe import ProviderCheck, check_providers

LIBRARIES = (
    *("jinja2", "msgspec", "numpy", "opencv-contrib-python", "opencv-contrib-python-headless", "opencv-python"),
    *("opencv-python-headless", "pillow", "tqdm", "onnxruntime", "onnxruntime-directml", "onnxruntime-gpu"),
    *("onnxruntime-openvino", "onnxruntime-qnn", "onnxruntime-training", "openvino", "tensorrt"),
    *("tensorflow", "keras", "tf2onnx", "onnx", "matplotlib", "argon2-cffi", "starlette", "uvicorn"),
    *("ray", "tritonclient"),
)
"""Distributions whose versions `doctor` shows."""

# Prefixes of distributions that write the same files. `pip check` does not notice it, and the last install wins.
_RIVALS = {
    "onnxruntime": "pip install --force-reinstall 'partsight[cpu]' (or 'partsight[gpu]' for an NVIDIA GPU)",
    "opencv": "pip install --force-reinstall opencv-python-headless",
}

TRAIN_LIBRARIES = ("matplotlib", "onnx", "tensorflow", "tf2onnx")
"""Libraries of the extra `train`."""

PAGE_LIBRARIES = ("argon2-cffi", "starlette", "uvicorn")
"""Libraries of the extra `page`."""

# Name, flags in /proc/cpuinfo (one is enough), name in cv2.getCPUFeaturesLine, use.
_X86_FEATURES = (
    ("AVX2", ("avx2",), "AVX2", "fast FP32; needed for INT8"),
    ("AVX-512", ("avx512bw",), "AVX512-SKX", "faster FP32"),
    ("VNNI", ("avx512_vnni", "avx_vnni"), "", "fast INT8"),
    ("BF16", ("avx512_bf16",), "", "BF16 arithmetic"),
    ("AMX", ("amx_int8",), "", "fastest INT8"),
)
_ARM_FEATURES = (
    ("NEON", ("asimd", "neon"), "NEON", "fast FP32"),
    ("dot product", ("asimddp",), "NEON_DOTPROD", "fast INT8"),
    ("BF16", ("bf16",), "NEON_BF16", "BF16 arithmetic"),
)
_FEATURES = _ARM_FEATURES if platform.machine().lower().startswith(("aarch64", "arm")) else _X86_FEATURES


@dataclass(frozen=True)
class CpuFeature:
    """Whether the processor has an instruction set; `present` is None if the system does not show it."""

    name: str
    present: bool | None
    use: str


@dataclass(frozen=True)
class Cpu:
    """The processor: name, logical cores, the number of cores that this process may use, and instruction sets."""

    name: str
    cores: int
    usable_cores: int
    features: tuple[CpuFeature, ...]


@dataclass(frozen=True)
class Clash:
    """Distributions that overwrite each other's files, and the commands that fix it."""

    distributions: tuple[str, ...]
    fix: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A task of a user, the libraries that are missing for it, and the command that installs them."""

    name: str
    missing: tuple[str, ...]
    fix: str


@dataclass(frozen=True)
class MachineFacts:
    """All facts of `doctor`.

    Attributes:
        libraries: Version by distribution; None if it is not installed.
        devices: Cores or name of each NUMA node and card, by its number as `--device` takes it.
        providers: Checks of the providers; empty if the runtime cannot be imported.
        runtime_error: Reason why the runtime cannot be imported; else empty.
    """

    partsight: str
    python: str
    platform: str
    libraries: dict[str, str | None]
    cpu: Cpu
    devices: dict[str, str]
    providers: tuple[ProviderCheck, ...]
    runtime_error: str
    clashes: tuple[Clash, ...]
    jobs: tuple[Job, ...]

    @property
    def is_well(self) -> bool:
        """Whether a line can run here."""
        return any(provider.usable for provider in self.providers) and not self.clashes


def gather() -> MachineFacts:
    """Gather the facts. It takes about a second, since it runs a model on each execution provider."""
    libraries = {name: version_of(name) for name in LIBRARIES}
    installed = [name for name, version in libraries.items() if version is not None]
    providers, runtime_error = _try_providers()
    return MachineFacts(
        partsight=version_of("partsight") or "not installed",
        python=platform.python_version(),
        platform=platform.platform(),
        libraries=libraries,
        cpu=read_cpu(),
        devices=find_devices(),
        providers=providers,
        runtime_error=runtime_error,
        clashes=find_clashes(installed),
        jobs=find_jobs(installed),
    )


def find_devices() -> dict[str, str]:
    """Return the NUMA nodes with their cores, and the cards with their names; nothing if the runtime has a fault."""
    try:
        from partsight.runtime.inference import cards, list_cores, numa_nodes
    except ImportError:
        return {}
    nodes = {f"NUMA node {number}": f"cores {list_cores(cores)}" for number, cores in numa_nodes().items()}
    return nodes | {f"card {number}": name for number, name in enumerate(cards())}


def find_clashes(installed: Iterable[str]) -> tuple[Clash, ...]:
    """Return the installed distributions that overwrite each other's files."""
    clashes = []
    for family, install in _RIVALS.items():
        rivals = tuple(name for name in installed if name.startswith(family))
        if len(rivals) > 1:
            clashes.append(Clash(rivals, (f"pip uninstall --yes {' '.join(rivals)}", install)))
    return tuple(clashes)


def find_jobs(installed: Iterable[str]) -> tuple[Job, ...]:
    """Return each job with the libraries that are missing for it."""
    has = set(installed)
    has_engine = any(name.startswith(("onnxruntime", "openvino")) for name in has)
    on_the_line = () if has_engine else ("onnxruntime",)
    of_extras = [
        ("serve the page", "page", PAGE_LIBRARIES),
        ("use a server, write for Triton", "triton", ("tritonclient",)),
        ("serve and batch with Ray", "ray", ("ray", "tritonclient")),
        ("enroll", "enroll", ("onnx",)),
        ("train and export", "train", TRAIN_LIBRARIES),
    ]
    return (
        Job(
            "run on the line",
            on_the_line,
            "pip install 'partsight[cpu]' (or 'partsight[gpu]' for an NVIDIA GPU, never both)" if on_the_line else "",
        ),
        *(_job_of_extra(name, extra, libraries, has) for name, extra, libraries in of_extras),
    )


def _job_of_extra(name: str, extra: str, libraries: Iterable[str], has: Collection[str]) -> Job:
    missing = tuple(library for library in libraries if library not in has)
    return Job(name, missing, f"pip install 'partsight[{extra}]'" if missing else "")


def version_of(distribution: str) -> str | None:
    """Return the installed version of a distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _try_providers() -> tuple[tuple[ProviderCheck, ...], str]:
    try:
        return check_providers(), ""
    except ImportError as error:
        return (), f"the runtime cannot be imported ({error}). Run `pip install --force-reinstall partsight`"


def read_cpu() -> Cpu:
    """Return the processor of this machine."""
    info = linux_cpuinfo()
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    name = info.get("model name") or platform.processor() or platform.machine()
    flags = (info.get("flags") or info.get("Features") or "").split()
    return Cpu(name, cores, usable, features_of_linux(flags) if flags else features_of_opencv())


def linux_cpuinfo() -> dict[str, str]:
    """Return the facts of the first core in /proc/cpuinfo; nothing on other systems than Linux."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def features_of_linux(flags: Iterable[str]) -> tuple[CpuFeature, ...]:
    """Return the instruction sets by the flags of /proc/cpuinfo."""
    has = set(flags)
    return tuple(CpuFeature(name, not has.isdisjoint(names), use) for name, names, _, use in _FEATURES)


def features_of_opencv() -> tuple[CpuFeature, ...]:
    """Return the instruction sets by OpenCV, which marks a missing one with `?` after its name."""
    try:
        import cv2

        tokens = cv2.getCPUFeaturesLine().replace("*", "").split()
    except ImportError:
        tokens = []
    present = {token.rstrip("?"): not token.endswith("?") for token in tokens}
    return tuple(CpuFeature(name, present.get(token), use) for name, _, token, use in _FEATURES)
