"""The graph matcher: the same algorithm as an ONNX file, for GPUs and for other programs that run ONNX.

On a CPU, NumPy and OpenCV are faster (docs/benchmarks.md): there only export's gate and tests run the graph.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from partsight.runtime.core import FloatArray, Pixels
from partsight.runtime.inference import ModelSettings, compile_model, create_session, find_provider
from partsight.runtime.matching.bank import FIELDS, Bank
from partsight.runtime.matching.matcher import Matches
from partsight.runtime.matching.parallax import Parallax
from partsight.runtime.matching.poses import Poses
from partsight.runtime.matching.spec import MatchingSpec

GRAPH_FILE = "matching.onnx"
"""Its name in a package."""

OUTPUTS = ("classes", "agreement", "references", "poses", "parallax", "lead")


class GraphMatcher:
    """Matches batches by the graph, on any provider; like `matcher.Matcher`, without the methods for calibration."""

    def __init__(
        self, graph: bytes, bank: Bank, spec: MatchingSpec, provider: str, settings: ModelSettings | None = None
    ) -> None:
        """Load the graph and copy the bank to its device.

        Args:
            graph: Bytes of the ONNX file.
            bank: Bank of references.
            spec: Specification of matching.
            provider: Name of a provider, of `providers.PROVIDERS`.
            settings: how it is run; None for defaults.

        Raises:
            ProviderError: the provider cannot be had here.
            PackageError: the bytes are not a model.
            DependencyError: the provider's library is not installed.
        """
        self.bank, self.spec = bank, spec
        arrays = {f"bank.{name}": np.ascontiguousarray(getattr(bank, name)) for name in FIELDS}
        run = _on_openvino if provider == "openvino" else _on_onnx_runtime
        self._run = run(graph, arrays, provider, settings or ModelSettings())

    def match(self, frames: Pixels, score: FloatArray) -> Matches:
        """Compare frames with the golden images that could fit; see `matcher.match`."""
        classes, agreement, references, poses, parallax, lead = self._run(
            np.ascontiguousarray(frames), np.asarray(score, np.float32)
        )
        shifts = Parallax(parallax[:, :, 0], parallax[:, :, 1])
        return Matches(classes, agreement, Poses(*np.moveaxis(poses, -1, 0)), references, shifts, lead)

    def preload(self, max_bytes: int) -> None:
        """Do nothing: `__init__` has copied the bank."""


Run = Callable[[Pixels, FloatArray], tuple[Any, ...]]


def _on_onnx_runtime(graph: bytes, arrays: dict[str, np.ndarray], provider: str, settings: ModelSettings) -> Run:
    import onnxruntime as ort  # noqa: PLC0415 (an optional dependency)

    found = find_provider(provider)
    session = create_session(graph, found, settings)
    place = ("cpu", 0) if found.is_cpu else ("cuda", settings.engine.device or 0)
    # The bank is copied to the device once; later only frames and scores are.
    values = {name: ort.OrtValue.ortvalue_from_numpy(array, *place) for name, array in arrays.items()}

    def run(frames: Pixels, score: FloatArray) -> tuple[Any, ...]:
        binding = session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_cpu_input("frames", frames)
        binding.bind_cpu_input("score", score)
        for name in OUTPUTS:
            binding.bind_output(name)
        session.run_with_iobinding(binding)
        return tuple(binding.copy_outputs_to_cpu())

    return run


def _on_openvino(graph: bytes, arrays: dict[str, np.ndarray], provider: str, settings: ModelSettings) -> Run:  # noqa: ARG001
    compiled, _ = compile_model(graph, settings)

    def run(frames: Pixels, score: FloatArray) -> tuple[Any, ...]:
        request = compiled.create_infer_request()  # one for each call: several threads call at once
        found = request.infer({**arrays, "frames": frames, "score": score}, share_inputs=True)
        return tuple(np.array(found[name]) for name in OUTPUTS)

    return run
