"""`modbus://host:port`: the last result in registers that a PLC reads, with a coil as handshake."""

import logging
import threading
from collections.abc import Sequence
from typing import Annotated, Literal, Self

import msgspec

from partsight.runtime.core import ProcessBound, SinkError, SinkGoneError
from partsight.runtime.recognition import REASONS
from partsight.runtime.sinks.address import Address, Options
from partsight.runtime.sinks.allow import AllowList, parse_networks
from partsight.runtime.sinks.modbus_server import ModbusServer
from partsight.runtime.sinks.record import FrameEvent, Record
from partsight.runtime.sinks.registers import (
    NO_NUMBER,
    UNLISTED,
    NumberTable,
    compare_cameras,
    compare_labels,
    read_labels,
    scaled,
    two_words,
)
from partsight.runtime.sinks.serving import LoopThread, describe_peers, is_loopback, joined, log_exposed, resolve
from partsight.runtime.sinks.sink import Sink

PORT = 5020
LAYOUT = 1
CODES = {"recognised": 1, "unknown": 2, "failed": 3}
_MISSED_WHEN_OFF = 3  # results in a row

_log = logging.getLogger("partsight.sinks")


class ModbusOptions(Options, frozen=True, kw_only=True):
    """Options of the server.

    Attributes:
        labels: CSV file with columns `number` and `label`: the part numbers that the PLC knows.
        cameras: Names of cameras, separated by commas; the first is camera number 1.
        ack_s: Seconds that a result waits at most for the PLC to clear the coil of the previous one.
        not_cleared: Action after `ack_s`: `overwrite` shows the new result, `error` keeps the old one and refuses the
            new one. The sink counts both.
        allow: Addresses and networks that may connect, separated by commas; empty if every host may.
        idle_s: Seconds without a request after which a connection ends.
    """

    labels: str = ""
    cameras: str = ""
    ack_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.5
    not_cleared: Literal["overwrite", "error"] = "overwrite"
    allow: str = ""
    idle_s: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 60.0

    def __post_init__(self) -> None:
        parse_networks(self.allow)
        self.camera_numbers()

    def part_numbers(self) -> NumberTable:
        """Read the numbers of parts; an empty table if the option `labels` is empty.

        Raises:
            SinkError: see `read_labels`.
        """
        return read_labels(self.labels) if self.labels else NumberTable()

    def camera_numbers(self) -> NumberTable:
        """Return the numbers of cameras.

        Raises:
            ValueError: the option names a camera twice.
        """
        names = [name.strip() for name in self.cameras.split(",")]
        numbers = NumberTable({name: number for number, name in enumerate(names, 1) if name})
        if len(numbers) < sum(map(bool, names)):
            raise ValueError(f"cameras: {self.cameras} names a camera twice; expected each once")
        return numbers

    def check_line(self, labels: Sequence[str], cameras: Sequence[str]) -> list[str]:
        """Compare the table of labels with the package, and the cameras with the line's; see `Sink`.

        Raises:
            SinkError: the table has none of the labels or cannot be read, or the line has no camera of `cameras`.
        """
        return self.differences(self.part_numbers(), labels, cameras)

    def differences(self, numbers: NumberTable, labels: Sequence[str], cameras: Sequence[str]) -> list[str]:
        """Compare as `check_line` does, with a table already read."""
        if self.labels:
            found = compare_labels(self.labels, numbers, labels)
        else:
            found = [f"no table of labels is named: the PLC gets {UNLISTED} for every part; add labels=FILE"]
        return [*found, *compare_cameras(self.camera_numbers(), cameras)]


class ModbusSink(ProcessBound, unusable=SinkGoneError):
    """Serves the last result; docs/results.md has the table of registers.

    It is the `RegisterTable` of its server.
    """

    may_lose = True  # a PLC uses the last result, not the earlier ones

    def __init__(self, host: str, port: int, options: ModbusOptions) -> None:
        """Start the server.

        Raises:
            SinkError: the table of labels cannot be used, or the server cannot listen at the port.
        """
        self._options, self._where = options, joined("modbus", host, port)
        self._numbers, self._cameras = options.part_numbers(), options.camera_numbers()
        self._unlisted: set[str] = set()
        self._cleared = threading.Condition()  # guards the following, and the registers
        self._new = False
        self._missed = 0  # results in a row for which the PLC did not clear the coil
        self._counts = dict.fromkeys((*CODES, "missed"), 0)
        self._last: Record | None = None
        self._registers = self._fill()
        self._closed = False
        self._loop = LoopThread("modbus")
        self._server = ModbusServer(self, AllowList(self._where, options.allow), options.idle_s)
        try:
            addresses = resolve(self._where, host, port)
            self._loop.run(self._server.start(addresses, port))
        except SinkError:
            self._loop.close()
            raise
        except OSError as error:
            self._loop.close()
            raise SinkError(
                f"{self._where}: cannot listen ({error}); choose another port, or end the program that has it. "
                "A port below 1024 needs a privilege"
            ) from error
        if not is_loopback(addresses):
            can = "read the last result, and clear coil 0 before the PLC has read it"
            log_exposed(self._where, can, describe_peers(options.allow))

    def check_line(self, labels: Sequence[str], cameras: Sequence[str]) -> list[str]:
        """Read the table of labels again, since a new package may have new parts, and compare; see `Sink`.

        Raises:
            SinkError: see `ModbusOptions.check_line`; the sink keeps the table that it has.
        """
        try:
            numbers = self._options.part_numbers()
            found = self._options.differences(numbers, labels, cameras)
        except SinkError as error:
            raise SinkError(f"{self._where}: {error}") from error
        self._numbers = numbers
        self._unlisted = {label for label in labels if label not in numbers}  # `found` names them
        return found

    def write(self, event: FrameEvent) -> None:
        """Show a result, once the PLC has cleared the coil or `ack_s` is over.

        If the PLC did not clear it three times in a row, it is off. The sink then waits no more until the PLC clears
        the coil again, so that a PLC which comes back finds the last result.

        Raises:
            SinkError: the PLC did not clear it and `not_cleared` is `error`.
        """
        if self._closed:
            raise SinkGoneError(f"{self._where}: this sink is closed; open it again")
        self._loop.check()
        with self._cleared:
            is_off = self._missed >= _MISSED_WHEN_OFF
            if self._cleared.wait_for(lambda: not self._new, 0 if is_off else self._options.ack_s):
                self._note_cleared()
            else:
                self._note_missed()
            self._counts[event.record.outcome] += 1
            self._last = event.record
            self._registers = self._fill()
            self._new = True

    def read_registers(self) -> list[int]:
        """Return the registers, for the server."""
        with self._cleared:
            return self._registers

    def read_coil(self) -> bool:
        """Return whether the PLC has not taken the last result yet, for the server."""
        with self._cleared:
            return self._new

    def clear_coil(self) -> None:
        """Let the next result come, for the server."""
        with self._cleared:
            self._new = False
            self._cleared.notify_all()

    def close(self) -> None:
        """End the server and its connections. May be called twice."""
        if not self._closed:
            self._closed = True
            try:
                self._loop.run(self._server.stop())
            finally:
                self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note_cleared(self) -> None:
        """Log that the PLC clears the coil again."""
        if self._missed:
            text, extra = "%s: the PLC clears coil 0 again; it missed %d results", {"event": "plc_recovered"}
            _log.warning(text, self._where, self._missed, extra=extra)
        self._missed = 0

    def _note_missed(self) -> None:
        """Count a result that the PLC did not take; log the first in a row."""
        self._counts["missed"] += 1
        self._missed += 1
        self._registers = self._fill()
        what = f"{self._where}: the PLC did not clear coil 0 within {self._options.ack_s:g} s"
        if self._options.not_cleared == "error":
            raise SinkError(f"{what}; the old result stays: let the PLC write 0 to coil 0 after it has read it")
        if self._missed == 1:
            _log.warning("%s; new results overwrite old ones until it does", what, extra={"event": "plc_waited_for"})

    def _fill(self) -> list[int]:
        """Return the registers; see docs/results.md, which must say the same."""
        counts = self._counts
        shown, reason = [0, 0, 0, NO_NUMBER, NO_NUMBER, *two_words(0)], 0
        if self._last is not None:
            record = self._last
            shown = [
                CODES[record.outcome],
                self._number(record),
                self._cameras.get(record.camera, 0),
                scaled(record.score),
                scaled(record.margin),
                *two_words(record.sequence),
            ]
            reason = 0 if record.reason is None else 1 + REASONS.index(record.reason)
        results = counts["recognised"] + counts["unknown"] + counts["failed"]
        counters = [results, counts["recognised"], counts["unknown"], counts["failed"], counts["missed"]]
        return [LAYOUT, *shown, *(word for counter in counters for word in two_words(counter)), reason, 0]

    def _number(self, record: Record) -> int:
        if record.label is None:
            return 0
        if record.label not in self._numbers and len(self._unlisted) < 1000 and record.label not in self._unlisted:
            self._unlisted.add(record.label)
            text, extra = "%s: part %r is not in the table of labels; its number is %d", {"event": "part_unlisted"}
            _log.warning(text, self._where, record.label, UNLISTED, extra=extra)
        return self._numbers.get(record.label, UNLISTED)


OPTIONS = ModbusOptions


def open_address(address: Address) -> Sink:
    """Open `modbus://host:port`.

    Raises:
        SinkError: see `ModbusSink`; or an option is wrong.
    """
    options = address.read_options(ModbusOptions)
    host, port = address.host_and_port(PORT)
    return ModbusSink(host, port, options)
