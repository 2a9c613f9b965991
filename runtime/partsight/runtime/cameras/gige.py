"""A GigE Vision camera through Aravis: `gige:IP_OR_ID`."""

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from threading import Event
from typing import Any

import numpy as np

from partsight.runtime.cameras.camera import CameraOptions, Frame
from partsight.runtime.cameras.features import apply_options, runs_freely
from partsight.runtime.cameras.pixels import check_format, format_of_code, to_frame
from partsight.runtime.cameras.polled import FrameIds, PolledCamera
from partsight.runtime.core import CameraError, CameraLostError, CameraTimeoutError, DependencyError, PartialFrameError

BUFFERS = 10
MAX_CLOSE_S = 1.0
"""Longest wait of `close`: control calls on a dead camera take 2.5 to 7.5 s, and go on in their thread."""


def open_address(place: str, options: CameraOptions) -> "GigeCamera":
    """Open a camera by its IP address, or by the id that `arv-tool-0.8` lists.

    Raises:
        CameraError: no such camera, it is in use elsewhere, or it did not take an option.
        DependencyError: Aravis is not installed.
    """
    try:
        import gi  # noqa: PLC0415 (optional)

        gi.require_version("Aravis", "0.8")
        from gi.repository import Aravis, GLib  # noqa: PLC0415
    except (ImportError, ValueError) as error:
        raise DependencyError(
            f"gige: needs Aravis 0.8 with its Python binding ({error}); on Debian and Ubuntu: apt install "
            "gir1.2-aravis-0.8 python3-gi, and a virtual environment made with --system-site-packages"
        ) from error
    source = f"gige:{place}"
    try:
        camera = Aravis.Camera.new(place)
    except GLib.Error as error:
        raise CameraError(
            f"{source}: cannot be opened ({error.message}); found {_found(Aravis)}: check power, cable, and that both "
            "ends are in one network, or whether it is in use elsewhere"
        ) from error
    try:
        return GigeCamera(source, camera, options)
    except GLib.Error as error:
        raise CameraError(f"{source}: cannot be started ({error.message})") from error


def _found(aravis: Any) -> str:
    aravis.update_device_list()
    indices = range(aravis.get_n_devices())
    devices = [f"{aravis.get_device_id(index)} at {aravis.get_device_address(index)}" for index in indices]
    return ", ".join(devices) or "no camera"


class GigeCamera(PolledCamera):
    """Delivers frames of Aravis.

    A camera that runs freely delivers the newest frame; one with a trigger delivers each in turn. After the start, a
    thread of its own makes the control calls: with a dead camera such a call hangs for seconds.
    """

    def __init__(self, source: str, camera: Any, options: CameraOptions) -> None:
        """Set the options and start the camera."""
        super().__init__(source, options.timeout_s)
        from gi.repository import Aravis  # noqa: PLC0415 (optional)

        self._success = Aravis.BufferStatus.SUCCESS
        self._camera, self._device = camera, camera.get_device()
        self._ids, self._lost = FrameIds(), Event()
        features = DeviceFeatures(self._device)
        apply_options(features, options, source)
        check_format(features.get("PixelFormat"), source)
        self._is_free, self._by_software = runs_freely(features), options.trigger == "software"
        self._stream = camera.create_stream(None, None)
        payload = camera.get_payload()
        for _ in range(BUFFERS):
            self._stream.push_buffer(Aravis.Buffer.new_allocate(payload))
        lost = self._lost
        self._handler = self._device.connect("control-lost", lambda *_: lost.set())  # in a thread of Aravis
        self._control = ThreadPoolExecutor(1, f"partsight-{source}")
        self._triggered: Future[None] | None = None
        camera.start_acquisition()

    def _begin(self) -> None:
        if not self._by_software:
            return
        if self._triggered is not None and not self._triggered.done():
            raise CameraTimeoutError(f"{self.source}: has not answered its last trigger yet")
        while (late := self._stream.try_pop_buffer()) is not None:
            self._stream.push_buffer(late)  # the frame of an earlier trigger, whose `read` timed out
        self._triggered = self._control.submit(self._device.execute_command, "TriggerSoftware")

    def _wait(self, seconds: float) -> Frame | None:
        buffer = self._stream.timeout_pop_buffer(round(seconds * 1_000_000))
        if buffer is not None and self._is_free:
            buffer = self._newest(buffer)
        if buffer is None:
            self._check_alive()
            return None
        try:
            return self._frame(buffer)
        finally:
            self._stream.push_buffer(buffer)

    def _newest(self, buffer: Any) -> Any:
        """Return the newest of the frames that wait; None if it is too old.

        If all buffers were full, the camera had none to send to and even the newest frame is old: this drops them
        all. A frame after as many as there are buffers arrived during the search and is new; to go on would never end
        on a busy machine, where frames come as fast as this takes them.
        """
        waiting = 1
        while waiting <= BUFFERS and (newer := self._stream.try_pop_buffer()) is not None:
            self._stream.push_buffer(buffer)
            buffer, waiting = newer, waiting + 1
        if waiting != BUFFERS:
            return buffer
        self._stream.push_buffer(buffer)
        return None

    def _check_alive(self) -> None:
        if self._lost.is_set():
            raise CameraLostError(f"{self.source}: is gone; check power and cable, and open it again")
        if self._triggered is not None and self._triggered.done() and (error := self._triggered.exception()):
            raise CameraLostError(f"{self.source}: does not take its trigger ({error}); open it again") from error

    def _frame(self, buffer: Any) -> Frame:
        arrived = time.time()
        sequence = self._ids.number(buffer.get_frame_id())
        status = buffer.get_status()
        if status != self._success:
            raise PartialFrameError(
                f"{self.source}: a frame came incomplete ({status.value_nick}); check cables, jumbo frames (MTU 9000) "
                "and the delay between packets"
            )
        shape = (buffer.get_image_width(), buffer.get_image_height())
        name = format_of_code(buffer.get_image_pixel_format())
        data = np.frombuffer(buffer.get_data(), np.uint8)
        return Frame(
            to_frame(data, shape, buffer.get_image_padding()[0], name, self.source), self.source, sequence, arrived
        )

    def _release(self) -> None:
        held = [self._device, self._stream, self._camera]
        del self._device, self._stream, self._camera  # the last holder waits for the camera
        released = self._control.submit(_let_go, held, self._handler, self._lost.is_set())
        wait([released], MAX_CLOSE_S)
        self._control.shutdown(wait=False)


def _let_go(held: list[Any], handler: int, is_lost: bool) -> None:
    from gi.repository import GLib  # noqa: PLC0415 (optional)

    device, _, camera = held
    device.disconnect(handler)
    if not is_lost:
        with suppress(GLib.Error):  # the camera is gone, and nobody needs it any more
            camera.stop_acquisition()
    held.clear()


class DeviceFeatures:
    """Aravis' features."""

    def __init__(self, device: Any) -> None:
        """Take a device of Aravis."""
        self._device = device

    def has(self, name: str) -> bool:
        """Return whether the feature exists and can be written now."""
        node = self._device.get_feature(name)
        return node is not None and self._device.is_feature_available(name) and not node.is_locked()

    def get(self, name: str) -> str:
        """Return the value as text."""
        return str(self._device.get_feature(name).get_value_as_string())

    def set(self, name: str, value: str) -> None:
        """Set the value from text."""
        self._device.get_feature(name).set_value_from_string(value)
