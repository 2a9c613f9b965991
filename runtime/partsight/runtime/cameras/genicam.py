"""A GenICam camera through the maker's GenTL producer: `genicam:CTI_PATH#DEVICE_ID` or `genicam:DEVICE_ID`."""

import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from partsight.runtime.cameras.camera import CameraOptions, Frame
from partsight.runtime.cameras.features import apply_options, runs_freely
from partsight.runtime.cameras.pixels import check_format, to_frame
from partsight.runtime.cameras.polled import FrameIds, PolledCamera
from partsight.runtime.core import CameraError, CameraLostError, DependencyError, PartialFrameError

if TYPE_CHECKING:
    from harvesters.core import Harvester

VARIABLE = "GENICAM_GENTL64_PATH"

NO_WAIT_S = 0.0005
"""Shortest wait for a frame; harvesters waits for ever at 0."""

BUFFERS = 8
"""Buffers for frames that wait; with fewer, frames get lost if several cameras send at once."""


def open_address(place: str, options: CameraOptions) -> "GenicamCamera":
    """Open a camera by the id that its producer names; without an id, the only camera.

    Raises:
        CameraError: there is no producer or no such device, or the camera did not take an option.
        DependencyError: harvesters is not installed.
    """
    try:
        from harvesters.core import Harvester  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise DependencyError(
            f"genicam: needs the library harvesters ({error}); pip install 'partsight[genicam]'"
        ) from error
    producer, separator, device = place.rpartition("#")
    harvester = Harvester()
    try:
        for path in _producers(producer if separator else ""):
            harvester.add_file(str(path), check_existence=True, check_validity=True)
        harvester.update()
        return GenicamCamera(f"genicam:{place}", harvester, _choose(harvester, device, place), options)
    except BaseException as error:
        harvester.reset()
        if isinstance(error, CameraError) or not isinstance(error, Exception):
            raise
        raise CameraError(
            f"genicam:{place}: cannot be opened ({type(error).__name__}: {error}); is it in use elsewhere?"
        ) from error


class GenicamCamera(PolledCamera):
    """Delivers frames of a GenTL producer.

    A camera that runs freely delivers the newest frame; one with a hardware trigger delivers each in turn.
    """

    def __init__(self, source: str, harvester: "Harvester", device: dict[str, str], options: CameraOptions) -> None:
        """Open the device, set its options and start it."""
        super().__init__(source, options.timeout_s)
        from genicam import gentl  # noqa: PLC0415 (optional)

        self._gentl = gentl
        self._harvester = harvester
        self._ids = FrameIds()
        self._by_software = options.trigger == "software"
        self._acquirer = harvester.create(device)
        with ExitStack() as undo:
            undo.callback(self._acquirer.destroy)
            self._nodes = self._acquirer.remote_device.node_map
            features = GenApiFeatures(self._nodes)
            apply_options(features, options, source)
            check_format(features.get("PixelFormat"), source)
            self._is_free = runs_freely(features)
            self._acquirer.num_buffers = max(BUFFERS, self._acquirer.min_num_buffers)
            self._acquirer.start()
            undo.pop_all()

    def _begin(self) -> None:
        if self._by_software:
            try:
                while (late := self._acquirer.try_fetch(timeout=NO_WAIT_S)) is not None:
                    late.queue()  # the frame of an earlier trigger, whose `read` timed out
                self._nodes.get_node("TriggerSoftware").execute()
            except Exception as error:
                raise CameraLostError(f"{self.source}: does not take its trigger ({error}); open it again") from error

    def _wait(self, seconds: float) -> Frame | None:
        try:
            buffer = self._acquirer.fetch(timeout=seconds)
            if self._is_free:
                buffer = self._newest(buffer)
        except self._gentl.TimeoutException:
            return None
        except self._gentl.GenericException as error:
            raise CameraLostError(f"{self.source}: is gone ({error}); open it again") from error
        if buffer is None:  # harvesters has found it incomplete, and requeued it
            raise PartialFrameError(
                f"{self.source}: a frame came incomplete; check the network, cables and packet size"
            )
        try:
            return self._frame(buffer)
        finally:
            buffer.queue()

    def _newest(self, buffer: Any) -> Any:
        """Return the newest of the frames that wait; None if that frame is incomplete.

        If all buffers were full, the device had none to write to and even the newest frame is old: this drops them
        all. A frame after as many as there are buffers arrived during the search and is new; to go on would never end
        on a busy machine, where frames come as fast as this takes them.
        """
        waiting, most = 1, self._acquirer.num_buffers
        while (
            buffer is not None
            and waiting <= most
            and (newer := self._acquirer.try_fetch(timeout=NO_WAIT_S)) is not None
        ):
            buffer.queue()
            buffer, waiting = newer, waiting + 1
        if buffer is not None and waiting == most:
            buffer.queue()
            raise self._gentl.TimeoutException
        return buffer

    def _frame(self, buffer: Any) -> Frame:
        arrived = time.time()
        sequence = self._ids.number(buffer.frame_id)
        if not buffer.payload.components:
            raise PartialFrameError(f"{self.source}: a frame came without a picture; check its feature ComponentEnable")
        part = buffer.payload.components[0]
        image = to_frame(part.data, (part.width, part.height), part.x_padding, part.data_format, self.source)
        return Frame(image, self.source, sequence, arrived)

    def _release(self) -> None:
        try:
            self._acquirer.destroy()
        finally:
            self._harvester.reset()


class GenApiFeatures:
    """GenApi's nodes as features."""

    def __init__(self, nodes: Any) -> None:
        """Take a node map of the `genicam` package."""
        self._nodes = nodes

    def has(self, name: str) -> bool:
        """Return whether the feature exists and can be written now."""
        from genicam import genapi  # noqa: PLC0415 (optional)

        return bool(self._nodes.has_node(name)) and self._nodes.get_node(name).get_access_mode() in (
            genapi.EAccessMode.RW,
            genapi.EAccessMode.WO,
        )

    def get(self, name: str) -> str:
        """Return the value as text."""
        return str(self._nodes.get_node(name).to_string())

    def set(self, name: str, value: str) -> None:
        """Set the value from text."""
        self._nodes.get_node(name).from_string(value)


def _producers(named: str) -> list[Path]:
    """Return the producers to load: the named one, or all in the folders of the standard's variable."""
    if named:
        if not Path(named).is_file():
            raise CameraError(
                f"{named}: there is no such file; expected the camera maker's GenTL producer, a .cti file"
            )
        return [Path(named)]
    folders = [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
    found = sorted(path for folder in folders for path in Path(folder).glob("*.cti"))
    if not found:
        raise CameraError(
            f"no GenTL producer: {VARIABLE} names {', '.join(folders) or 'no folder'}, which holds no .cti file; "
            "install the camera maker's, or name one: genicam:CTI_PATH#DEVICE_ID"
        )
    return found


def _choose(harvester: "Harvester", device: str, place: str) -> dict[str, str]:
    """Return the key of the device that the address means."""
    found = [info.property_dict for info in harvester.device_info_list]
    matching = [info for info in found if device in ("", info["id_"], info["serial_number"])]
    if len(matching) != 1:
        names = ", ".join(info["id_"] for info in found) or "no device"
        raise CameraError(
            f"genicam:{place}: the address means {len(matching)} devices; found {names}: name one of them"
        )
    return {"id_": matching[0]["id_"]}
