"""Facts about this machine, as far as they matter to partsight. Imports nothing heavy, and never TensorFlow."""

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from partsight.cli.probe import ProviderCheck, check_providers

LIBRARIES = (
    *("msgspec", "numpy", "opencv-contrib-python", "opencv-contrib-python-headless", "opencv-python"),
    *("opencv-python-headless", "pillow", "tqdm", "onnxruntime", "onnxruntime-directml", "onnxruntime-gpu"),
    *("onnxruntime-openvino", "onnxruntime-qnn", "onnxruntime-training", "openvino", "tensorrt"),
    *("tensorflow", "keras", "tf2onnx", "onnx", "matplotlib", "jinja2"),
)
"""Distributions that `doctor` looks for."""

# Distributions that write the same files. `pip check` says nothing, and the one installed last wins.
_RIVALS = {
    "onnxruntime": "pip install --force-reinstall 'partsight[cpu]' (or 'partsight[gpu]' for an NVIDIA GPU)",
    "opencv": "pip install --force-reinstall opencv-python-headless",
}

TRAIN_LIBRARIES = ("jinja2", "matplotlib", "onnx", "tensorflow", "tf2onnx")
"""What the extra `train` installs."""

# Name, flags in /proc/cpuinfo of which one is enough, name in cv2.getCPUFeaturesLine, what it is good for.
_X86_FEATURES = (
    ("AVX2", ("avx2",), "AVX2", "fast FP32; the least for INT8"),
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
    """Whether the processor has an instruction set; `present` is None where that cannot be seen."""

    name: str
    present: bool | None
    use: str


@dataclass(frozen=True)
class Cpu:
    """The processor: its name, logical cores, how many of them this process may use, and instruction sets."""

    name: str
    cores: int
    usable_cores: int
    features: tuple[CpuFeature, ...]


@dataclass(frozen=True)
class Clash:
    """Distributions that must not be installed together, and the commands that mend it."""

    distributions: tuple[str, ...]
    mend: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """Something that people do with partsight, what is missing for it, and the command that installs that."""

    name: str
    missing: tuple[str, ...]
    mend: str


@dataclass(frozen=True)
class Facts:
    """All that `doctor` knows.

    Attributes:
        libraries: version by distribution; None for one that is not installed.
        providers: empty if the runtime cannot be imported.
        runtime_error: why it cannot; empty if it can.
    """

    partsight: str
    python: str
    platform: str
    libraries: dict[str, str | None]
    cpu: Cpu
    providers: tuple[ProviderCheck, ...]
    runtime_error: str
    clashes: tuple[Clash, ...]
    jobs: tuple[Job, ...]

    @property
    def is_well(self) -> bool:
        """Whether the line can run here."""
        return any(provider.usable for provider in self.providers) and not self.clashes


def gather() -> Facts:
    """Look at this machine. Takes about a second: each execution provider is really tried."""
    libraries = {name: _version(name) for name in LIBRARIES}
    installed = [name for name, version in libraries.items() if version is not None]
    providers, runtime_error = _try_providers()
    return Facts(
        partsight=_version("partsight") or "not installed",
        python=platform.python_version(),
        platform=platform.platform(),
        libraries=libraries,
        cpu=_cpu(),
        providers=providers,
        runtime_error=runtime_error,
        clashes=find_clashes(installed),
        jobs=find_jobs(installed),
    )


def find_clashes(installed: Iterable[str]) -> tuple[Clash, ...]:
    """Return which of the installed distributions overwrite each other."""
    clashes = []
    for family, install in _RIVALS.items():
        rivals = tuple(name for name in installed if name.startswith(family))
        if len(rivals) > 1:
            clashes.append(Clash(rivals, (f"pip uninstall --yes {' '.join(rivals)}", install)))
    return tuple(clashes)


def find_jobs(installed: Iterable[str]) -> tuple[Job, ...]:
    """Return what is missing for which job."""
    has = set(installed)
    has_engine = any(name.startswith(("onnxruntime", "openvino")) for name in has)
    on_the_line = () if has_engine else ("onnxruntime",)
    enrolling = () if "onnx" in has else ("onnx",)
    training = tuple(name for name in TRAIN_LIBRARIES if name not in has)
    return (
        Job(
            "run on the line",
            on_the_line,
            "pip install 'partsight[cpu]' (or 'partsight[gpu]' for an NVIDIA GPU, never both)" if on_the_line else "",
        ),
        Job("enroll", enrolling, "pip install 'partsight[enroll]'" if enrolling else ""),
        Job("train and export", training, "pip install 'partsight[train]'" if training else ""),
    )


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _try_providers() -> tuple[tuple[ProviderCheck, ...], str]:
    try:
        return check_providers(), ""
    except ImportError as error:
        return (), f"the runtime cannot be imported ({error}); install partsight and its libraries again"


def _cpu() -> Cpu:
    info = _linux_cpuinfo()
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    name = info.get("model name") or platform.processor() or platform.machine()
    flags = (info.get("flags") or info.get("Features") or "").split()
    return Cpu(name, cores, usable, _features_of_linux(flags) if flags else _features_of_opencv())


def _linux_cpuinfo() -> dict[str, str]:
    """Return the first processor's lines of /proc/cpuinfo, by what stands before the colon."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _features_of_linux(flags: Iterable[str]) -> tuple[CpuFeature, ...]:
    has = set(flags)
    return tuple(CpuFeature(name, not has.isdisjoint(names), use) for name, names, _, use in _FEATURES)


def _features_of_opencv() -> tuple[CpuFeature, ...]:
    """Ask OpenCV, which names what it was built for: `*` before a name says optional, `?` after it not here."""
    try:
        import cv2

        tokens = cv2.getCPUFeaturesLine().replace("*", "").split()
    except ImportError:
        tokens = []
    present = {token.rstrip("?"): not token.endswith("?") for token in tokens}
    return tuple(CpuFeature(name, present.get(token), use) for name, _, token, use in _FEATURES)
