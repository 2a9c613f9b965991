from typing import Any, cast

import cv2
import numpy as np
import pytest

from partsight.runtime.cameras.capture import receiver
from partsight.runtime.core.errors import CameraError, CameraLostError, CameraTimeoutError


@pytest.mark.parametrize(
    ("takes_s", "came", "error"),
    [
        (0, False, CameraLostError),
        (0.2, False, CameraTimeoutError),
        (0.2, True, CameraTimeoutError),  # the decoder's last frames, not a current one
    ],
)
def test_each_failure_has_its_own_error(
    takes_s: float, came: bool, error: type[CameraError], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("partsight.runtime.cameras.capture.time.monotonic", lambda: now[0])

    class Stub:
        def read(self) -> tuple[bool, Any]:
            now[0] += takes_s
            return came, np.zeros((2, 2, 3), np.uint8)

    with pytest.raises(error):
        receiver(cast(cv2.VideoCapture, Stub()), "camera", 0.2)()
