"""A tiny real model that tests whether an execution provider works."""

import base64
from collections.abc import Callable
from dataclasses import dataclass

SIDE_PX = 8

# An ONNX model (opset 17, IR 8) with the inputs, outputs and operators of a real one. Its convolution makes a GPU load
# cuDNN. It was made with onnx.helper, and is stored here so that the line needs no `onnx`:
#   image_bgr uint8 (batch, 8, 8, 3) -> Cast FLOAT -> Transpose (0, 3, 1, 2) -> Conv with kernel (2, 3, 1, 1) of 0.5
#   -> GlobalAveragePool -> Flatten = embedding (batch, 2) -> MatMul with ones (2, 2) = score (batch, 2)
_MODEL_BASE64 = """
CAg6mgMKJAoJaW1hZ2VfYmdyEgZwaXhlbHMiBENhc3QqCQoCdG8YAaABAgouCgZwaXhlbHMSBnBsYW5lcyIJVHJhbnNwb3NlKhEK
BHBlcm1AAEADQAFAAqABBwocCgZwbGFuZXMKBmtlcm5lbBIEbWFwcyIEQ29udgogCgRtYXBzEgVtZWFucyIRR2xvYmFsQXZlcmFn
ZVBvb2wKGwoFbWVhbnMSCWVtYmVkZGluZyIHRmxhdHRlbgojCgllbWJlZGRpbmcKB3dlaWdodHMSBXNjb3JlIgZNYXRNdWwSBXBy
b2JlKiwIAggDCAEIARABQgZrZXJuZWxKGAAAAD8AAAA/AAAAPwAAAD8AAAA/AAAAPyohCAIIAhABQgd3ZWlnaHRzShAAAIA/AACA
PwAAgD8AAIA/WigKCWltYWdlX2JnchIbChkIAhIVCgcSBWJhdGNoCgIICAoCCAgKAggDYhwKBXNjb3JlEhMKEQgBEg0KBxIFYmF0
Y2gKAggCYiAKCWVtYmVkZGluZxITChEIARINCgcSBWJhdGNoCgIIAkIECgAQEQ==
"""


@dataclass(frozen=True)
class ProviderCheck:
    """Whether an execution provider works here.

    Attributes:
        name: Name of the provider, as users write it.
        usable: Whether a model loaded on it and gave the right answer.
        reason: Reason if it does not work; else empty.
        fix: Command that may fix it; empty if it works.
    """

    name: str
    usable: bool
    reason: str = ""
    fix: str = ""


def probe_model() -> bytes:
    """Return the ONNX file's bytes."""
    return base64.b64decode(_MODEL_BASE64)


def check_providers() -> tuple[ProviderCheck, ...]:
    """Load and run the model on each provider that partsight knows, as strictly as the line does.

    Raises:
        ImportError: The runtime cannot be imported.
    """
    from partsight.runtime.inference import PROVIDERS

    return tuple(_check(name, provider.install, run_probe) for name, provider in PROVIDERS.items())


def run_probe(provider: str) -> str:
    """Run the model on a provider.

    Returns:
        The difference from the right answer, in words; empty if the answer is right.
    """
    import numpy as np

    from partsight.runtime.inference import Session

    batch = np.full((2, SIDE_PX, SIDE_PX, 3), 10, np.uint8)
    inference = Session(probe_model(), provider).run(batch)
    expected = np.full((2, 2), 30, np.float32)  # 3 channels × 10 × 0.5, twice
    wrong = not np.allclose(inference.score, expected, rtol=1e-2)
    return f"it answers {inference.score.tolist()} where {expected.tolist()} is right" if wrong else ""


def _check(name: str, fix: str, probe: Callable[[str], str]) -> ProviderCheck:
    from partsight.runtime.inference import without_remedy

    try:
        reason = probe(name)
    except Exception as error:  # noqa: BLE001 (doctor reports any error of a driver)
        reason = without_remedy(error)  # the command has a field of its own
    return ProviderCheck(name, usable=not reason, reason=reason, fix=fix if reason else "")
