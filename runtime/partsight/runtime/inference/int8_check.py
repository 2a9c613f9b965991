"""The INT8 check: whether this processor adds INT8 products without overflow.

Without VNNI, x86-64 adds two products of 8-bit numbers in 16 bits (`vpmaddubsw`), and 2 × 255 × 127 does not fit.
ONNX Runtime can avoid it ("session.x64quantprecision"), which on a processor with VNNI would cost half of the speed.
OpenVINO cannot, and gives no warning. A small model with the largest possible sums shows how a processor adds.
"""

import base64
import functools
import logging
import zlib
from types import ModuleType

import numpy as np
import numpy.typing as npt

# An ONNX model (opset 17, IR 8), made with onnx.helper and stored so that the line needs no `onnx`: pixels, uint8
# (1, 3, 16, 16) of scale 1 -> Conv with an INT8 kernel (32, 3, 3, 3) of 127 -> maps, uint8 with a step of 4096.
_MODEL = """
eNrtVMFKxDAQTdq0himWGES8KGVvRvYHBBGqXooXr95aGKHYbWvTLute3B/w4B/4af6Ed5NuV1hY8CRe+sILCW9meHOY4fziPYAp+HW+wEKDW5UIbIlN
Jf15WnSoJ+IGn7u0bPMl3uUlpg1cgv+ETYkFMBOuwbPxWu495kWLzY4MFQBLF7k+Jh/UgRMYSsMmQzLdzfSEXVflHM6g/5m7xXrw4mUvrbES3m8bOYe1
sBXLZmm9w4P06qbKUO0LGtsuE0bI6koFwon7vIQSFRqtL9WLt+rL5xF37RFuPPScfPqvI0aM+DOoN8ojO4p2uyQragf1P6mmxo4br9dcEpFf8BBt1qk8
gkPuSAEOp4auoX2L7BT6LdXr9EePDEPLmAERB98n1S0I
"""
_OVERFLOWS = (
    "this processor has no VNNI, and OpenVINO's INT8 sums overflow on it: the network's scores differ from those that "
    "export measured. Choose provider cpu, whose INT8 is exact, or fp32. Run `partsight bench` to compare the labels"
)
_RIGHT = 3 * 3 * 3 * 255 * 127
_STEP = 4096
_LARGEST = np.full((1, 3, 16, 16), 255, np.uint8)

_log = logging.getLogger("partsight.runtime")


def model() -> bytes:
    """Return the bytes of the ONNX file with the largest possible INT8 sums."""
    return zlib.decompress(base64.b64decode(_MODEL))


@functools.cache
def onnx_runtime_overflows(onnxruntime: ModuleType) -> bool:
    """Return whether ONNX Runtime's sums overflow by default; the first call takes about a millisecond.

    Args:
        onnxruntime: The imported library.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model(), options, providers=["CPUExecutionProvider"])
    (maps,) = session.run(["maps"], {"pixels": _LARGEST})
    return _are_wrong(maps)


@functools.cache
def warn_of_overflow(openvino: ModuleType) -> None:
    """Log a warning, once, if OpenVINO's sums overflow.

    Args:
        openvino: The imported library.
    """
    if openvino_overflows(openvino):
        _log.warning(_OVERFLOWS, extra={"event": "int8_overflows"})


def openvino_overflows(openvino: ModuleType) -> bool:
    """Return whether OpenVINO's sums overflow; takes about 50 ms.

    Args:
        openvino: The imported library.
    """
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model()), "CPU", {"INFERENCE_NUM_THREADS": 1})
    return _are_wrong(compiled(_LARGEST)[0])


def _are_wrong(maps: npt.ArrayLike) -> bool:
    return bool(np.abs(np.asarray(maps) - _RIGHT).max() > _STEP)
