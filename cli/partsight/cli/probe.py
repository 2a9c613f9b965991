"""A tiny real model, to find out whether an execution provider works."""

import base64
from collections.abc import Callable
from dataclasses import dataclass

SIDE_PX = 8

# An ONNX model (opset 17, IR 8) of partsight's contract, of operators that a real one has too, among them the
# convolution that makes a GPU load cuDNN. Made with onnx.helper and stored so that the line needs no `onnx`:
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
    """Whether an execution provider answers here.

    Attributes:
        name: what users write.
        usable: a model was loaded on it and gave the right answer.
        reason: why not; empty if it does.
        mend: the command that may change that; empty if none is needed.
    """

    name: str
    usable: bool
    reason: str = ""
    mend: str = ""


def probe_model() -> bytes:
    """Return the ONNX file's bytes."""
    return base64.b64decode(_MODEL_BASE64)


def check_providers() -> tuple[ProviderCheck, ...]:
    """Load and run the model on each provider that partsight knows, by the strict rules of the line.

    Raises:
        ImportError: the runtime cannot be imported.
    """
    from partsight.runtime.inference import PROVIDERS

    return tuple(_check(name, provider.install, run_probe) for name, provider in PROVIDERS.items())


def run_probe(provider: str) -> str:
    """Run the model on a provider.

    Returns:
        What is wrong with the answer; empty if it is right.
    """
    import numpy as np

    from partsight.runtime.inference import Session

    batch = np.full((2, SIDE_PX, SIDE_PX, 3), 10, np.uint8)
    inference = Session(probe_model(), provider).run(batch)
    expected = np.full((2, 2), 30, np.float32)  # 3 channels × 10 × 0.5, twice
    wrong = not np.allclose(inference.score, expected, rtol=1e-2)
    return f"it answers {inference.score.tolist()} where {expected.tolist()} is right" if wrong else ""


def _check(name: str, mend: str, probe: Callable[[str], str]) -> ProviderCheck:
    try:
        reason = probe(name)
    except Exception as error:  # noqa: BLE001 (whatever a driver raises is what the doctor is here to tell)
        # The command stands in a field of its own.
        reason = str(error).partition("; mend it with")[0]
    return ProviderCheck(name, usable=not reason, reason=reason, mend=mend if reason else "")
