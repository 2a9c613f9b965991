"""A Basler camera through pylon: `basler:SERIAL`."""

import time
from contextlib import ExitStack
from typing import Any

import numpy as np

from partsight.runtime.cameras.camera import CameraOptions, Frame
from partsight.runtime.cameras.features import apply_options, runs_freely
from partsight.runtime.cameras.pixels import check_format, format_of_code, to_frame
from partsight.runtime.cameras.polled import SLICE_S, FrameIds, PolledCamera
from partsight.runtime.core import CameraError, CameraLostError, DependencyError, PartialFrameError

NO_BLOCK_ID = 2**64 - 1


def open_address(serial: str, options: CameraOptions) -> "BaslerCamera":
    """Open a camera by the serial number on its housing.

    Raises:
        CameraError: no such camera, it is in use elsewhere, or it did not take an option.
        DependencyError: pypylon is not installed.
    """
    try:
        from pypylon import genicam, pylon  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise DependencyError(
            f"basler: needs the library pypylon ({error}); pip install 'partsight[basler]'"
        ) from error
    source = f"basler:{serial}"
    try:
        factory = pylon.TlFactory.GetInstance()
        found = {info.GetSerialNumber(): info for info in factory.EnumerateDevices()}
        if serial not in found:
            names = ", ".join(sorted(found)) or "no camera"
            raise CameraError(
                f"{source}: no such camera; found {names}: check power, cable and, for GigE, its IP address"
            )
        with ExitStack() as undo:
            camera = pylon.InstantCamera(factory.CreateDevice(found[serial]))
            undo.callback(camera.Close)
            opened = BaslerCamera(source, camera, options)
            undo.pop_all()
            return opened
    except genicam.GenericException as error:
        raise CameraError(f"{source}: cannot be opened ({error}); is it in use elsewhere?") from error


class BaslerCamera(PolledCamera):
    """Delivers frames of pylon.

    A camera that runs freely delivers the newest frame; one with a trigger delivers each in turn.
    """

    def __init__(self, source: str, camera: Any, options: CameraOptions) -> None:
        """Open the device, set its options and start it."""
        super().__init__(source, options.timeout_s)
        from pypylon import genicam, pylon  # noqa: PLC0415 (optional)

        self._genicam, self._pylon, self._camera = genicam, pylon, camera
        self._ids = FrameIds()
        self._by_software = options.trigger == "software"
        # Replaces pylon's own configuration, which would switch off a trigger that the camera is set up with.
        nothing = pylon.ConfigurationEventHandler()
        camera.RegisterConfiguration(nothing, pylon.RegistrationMode_ReplaceAll, pylon.Cleanup_Delete)
        camera.Open()
        features = PylonFeatures(camera.GetNodeMap())
        apply_options(features, options, source)
        self._check_format(features)
        newest, each = pylon.GrabStrategy_LatestImageOnly, pylon.GrabStrategy_OneByOne
        camera.StartGrabbing(newest if runs_freely(features) else each)

    def _check_format(self, features: "PylonFeatures") -> None:
        name = features.get("PixelFormat").removesuffix("Packed")  # its older name
        check_format({"RGBA8": "RGBa8", "BGRA8": "BGRa8"}.get(name, name), self.source)

    def _begin(self) -> None:
        if not self._by_software:
            return
        try:
            while (late := self._retrieve(0)).IsValid():
                late.Release()  # the frame of an earlier trigger, whose `read` timed out
            if self._camera.CanWaitForFrameTriggerReady():  # the camera ignores a trigger that comes too soon
                self._camera.WaitForFrameTriggerReady(round(SLICE_S * 1000), self._pylon.TimeoutHandling_Return)
            self._camera.GetNodeMap().GetNode("TriggerSoftware").Execute()
        except self._genicam.GenericException as error:
            raise CameraLostError(f"{self.source}: does not take its trigger ({error}); open it again") from error

    def _wait(self, seconds: float) -> Frame | None:
        try:
            result = self._retrieve(max(1, round(seconds * 1000)))
            if not result.IsValid():
                if self._camera.IsCameraDeviceRemoved() or not self._camera.IsGrabbing():
                    raise CameraLostError(f"{self.source}: is gone; check power and cable, and open it again")
                return None
        except self._genicam.GenericException as error:
            raise CameraLostError(f"{self.source}: is gone ({error}); open it again") from error
        try:
            return self._frame(result)
        finally:
            result.Release()

    def _retrieve(self, timeout_ms: int) -> Any:
        return self._camera.RetrieveResult(timeout_ms, self._pylon.TimeoutHandling_Return)

    def _frame(self, result: Any) -> Frame:
        arrived = time.time()
        block = result.BlockID
        sequence = self._ids.number(result.ImageNumber if block == NO_BLOCK_ID else block)
        if not result.GrabSucceeded():  # only the flag is sure: the error code of an incomplete frame may be 0
            raise PartialFrameError(
                f"{self.source}: a frame came incomplete ({result.ErrorDescription or result.ErrorCode}); check "
                "cables, and for GigE the packet size and the delay between packets"
            )
        data = np.frombuffer(result.GetBuffer(), np.uint8)
        name = format_of_code(result.PixelType)
        image = to_frame(data, (result.Width, result.Height), result.PaddingX, name, self.source)
        return Frame(image, self.source, sequence, arrived)

    def _release(self) -> None:
        try:
            self._camera.StopGrabbing()
        finally:
            self._camera.Close()


class PylonFeatures:
    """pylon's nodes as features."""

    def __init__(self, nodes: Any) -> None:
        """Take a camera's node map."""
        self._nodes = nodes

    def has(self, name: str) -> bool:
        """Return whether the feature exists and can be written now."""
        from pypylon import genicam  # noqa: PLC0415 (optional)

        node = self._nodes.GetNode(name)
        return node is not None and bool(genicam.IsWritable(node))

    def get(self, name: str) -> str:
        """Return the value as text."""
        return str(self._nodes.GetNode(name).ToString())

    def set(self, name: str, value: str) -> None:
        """Set the value from text."""
        self._nodes.GetNode(name).FromString(value)
