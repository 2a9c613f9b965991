"""`modbus://host:port`: the last result in registers that a PLC reads, with a coil as handshake."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

import msgspec

from partsight.runtime.core import ProcessBound, SinkError, SinkGoneError
from partsight.runtime.sinks.address import Address, Options, need
from partsight.runtime.sinks.guard import Guard, parse_networks
from partsight.runtime.sinks.record import FrameEvent, Record
from partsight.runtime.sinks.registers import (
    NO_NUMBER,
    UNLISTED,
    NumberTable,
    compare_cameras,
    compare_labels,
    read_labels,
    scaled,
    two,
)
from partsight.runtime.sinks.serving import LoopThread, SeldomLog, is_loopback, joined, peers, resolve, tell_exposed
from partsight.runtime.sinks.sink import Sink

if TYPE_CHECKING:
    from pymodbus.constants import ExcCodes

PORT = 5020
LAYOUT = 1
REGISTERS = 20
CODES = {"recognised": 1, "unknown": 2, "failed": 3}
_WRITES_COIL = (5, 15)
_MISSING_WHEN_OFF = 3  # results in a row
_log = logging.getLogger("partsight.sinks")


class ModbusOptions(Options, frozen=True, kw_only=True):
    """Options of the server.

    Attributes:
        labels: CSV file with columns `number` and `label`: the part numbers that the PLC knows.
        cameras: names of cameras, separated by commas; their places, from 1, are the camera numbers.
        ack_s: seconds that a result waits at most for the PLC to clear the coil of the one before.
        not_cleared: what then: `overwrite` shows the new result, `error` keeps the old one and refuses the new one.
            Either is counted.
        allow: addresses and networks that may connect, separated by commas; all where none is named.
        idle_s: seconds without a request after which a connection ends.
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
        """Read the numbers of parts; none where no table is named.

        Raises:
            SinkError: see `read_labels`.
        """
        return read_labels(self.labels) if self.labels else NumberTable()

    def camera_numbers(self) -> NumberTable:
        """Return the numbers of cameras.

        Raises:
            ValueError: a camera is named twice.
        """
        names = [name.strip() for name in self.cameras.split(",")]
        numbers = NumberTable({name: place for place, name in enumerate(names, 1) if name})
        if len(numbers) < sum(map(bool, names)):
            raise ValueError(f"cameras: {self.cameras} names a camera twice; expected each once")
        return numbers

    def check_line(self, labels: Sequence[str], cameras: Sequence[str]) -> list[str]:
        """Compare the table of labels with the package, and the cameras with the line's; see `Sink`.

        Raises:
            SinkError: the table has none of the labels or cannot be read, or no camera is called as in `cameras`.
        """
        return self.differences(self.part_numbers(), labels, cameras)

    def differences(self, numbers: NumberTable, labels: Sequence[str], cameras: Sequence[str]) -> list[str]:
        """Do the same with a table that has been read."""
        if self.labels:
            found = compare_labels(self.labels, numbers, labels)
        else:
            found = [f"no table of labels is named: the PLC gets {UNLISTED} for every part; add labels=FILE"]
        return [*found, *compare_cameras(self.camera_numbers(), cameras)]


class ModbusSink(ProcessBound, unusable=SinkGoneError):
    """Serves the last result; docs/results.md has the table of registers."""

    may_lose = True  # the last result is of use to a PLC, and not those before it

    def __init__(self, host: str, port: int, options: ModbusOptions) -> None:
        """Start the server.

        Raises:
            SinkError: the table of labels cannot be used, or the port cannot be had.
        """
        self._options, self._where = options, joined("modbus", host, port)
        self._numbers, self._cameras = options.part_numbers(), options.camera_numbers()
        self._unlisted: set[str] = set()
        self._cleared = threading.Condition()  # guards the following, and the registers
        self._new = False
        self._missing = 0  # results in a row for which the coil was not cleared
        self._counts = dict.fromkeys((*CODES, "missed"), 0)
        self._last: Record | None = None
        self._registers = self._fill()
        self._closed = False
        addresses = resolve(self._where, host, port)
        self._loop = LoopThread("modbus")
        try:
            self._guard, self._server = self._loop.run(self._serve(addresses, port))
        except (OSError, RuntimeError) as error:
            self._loop.close()
            raise SinkError(
                f"{self._where}: cannot be served ({error}); is the port taken? Below 1024 it needs a privilege"
            ) from error
        self._quiet = SeldomLog("pymodbus")
        if not is_loopback(addresses):
            tell_exposed(
                self._where, "read the last result, and clear coil 0 before the PLC has read it", peers(options.allow)
            )

    @property
    def refused(self) -> int:
        """How many connections were refused, or ended for what they sent."""
        return self._guard.refused

    def check_line(self, labels: Sequence[str], cameras: Sequence[str]) -> list[str]:
        """Read the table of labels again, since a new package may have new parts, and compare; see `Sink`.

        Raises:
            SinkError: see `ModbusOptions.check_line`; the table stays as it was.
        """
        try:
            numbers = self._options.part_numbers()
            found = self._options.differences(numbers, labels, cameras)
        except SinkError as error:
            raise SinkError(f"{self._where}: {error}") from error
        self._numbers = numbers
        self._unlisted = {label for label in labels if label not in numbers}  # they are in what is returned
        return found

    def write(self, event: FrameEvent) -> None:
        """Show a result, once the PLC has cleared the coil or `ack_s` is over.

        A PLC that did not clear it three times in a row is not waited for again until it does: it is off, and what it
        finds when it comes back is to be the last result.

        Raises:
            SinkError: the PLC did not clear it and `not_cleared` is `error`.
        """
        if self._closed:
            raise SinkGoneError(f"{self._where}: this sink is closed; open it again")
        self._loop.run(_nothing())  # that the server is alive
        with self._cleared:
            is_off = self._missing >= _MISSING_WHEN_OFF
            if self._cleared.wait_for(lambda: not self._new, 0 if is_off else self._options.ack_s):
                self._taken()
            else:
                self._miss()
            self._counts[event.record.outcome] += 1
            self._last = event.record
            self._registers = self._fill()
            self._new = True

    def close(self) -> None:
        """End the server and its connections. May be called twice."""
        if not self._closed:
            self._closed = True
            self._quiet.close()
            self._loop.run(self._end())
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _taken(self) -> None:
        """Say that the PLC clears the coil again."""
        if self._missing:
            text, extra = "%s: the PLC clears coil 0 again; %d results waited in vain", {"event": "plc_recovered"}
            _log.warning(text, self._where, self._missing, extra=extra)
        self._missing = 0

    def _miss(self) -> None:
        """Count a result that the PLC did not take; say so of the first in a row."""
        self._counts["missed"] += 1
        self._missing += 1
        self._registers = self._fill()
        what = f"{self._where}: the PLC did not clear coil 0 within {self._options.ack_s:g} s"
        if self._options.not_cleared == "error":
            raise SinkError(f"{what}; the result before stays shown: let the PLC write 0 to it when it has read it")
        if self._missing == 1:
            _log.warning("%s; results before are overwritten until it does", what, extra={"event": "plc_waited_for"})

    def _fill(self) -> list[int]:
        """Return the registers; see docs/results.md, which must say the same."""
        counts = self._counts
        shown = [0, 0, 0, NO_NUMBER, NO_NUMBER, *two(0)]
        if self._last is not None:
            record = self._last
            shown = [
                CODES[record.outcome],
                self._number(record),
                self._cameras.get(record.camera, 0),
                scaled(record.score),
                scaled(record.margin),
                *two(record.sequence),
            ]
        results = counts["recognised"] + counts["unknown"] + counts["failed"]
        counters = [results, counts["recognised"], counts["unknown"], counts["failed"], counts["missed"]]
        return [LAYOUT, *shown, *(half for counter in counters for half in two(counter)), 0, 0]

    def _number(self, record: Record) -> int:
        if record.label is None:
            return 0
        if record.label not in self._numbers and len(self._unlisted) < 1000 and record.label not in self._unlisted:
            self._unlisted.add(record.label)
            text, extra = "%s: part %r is not in the table of labels; its number is %d", {"event": "part_unlisted"}
            _log.warning(text, self._where, record.label, UNLISTED, extra=extra)
        return self._numbers.get(record.label, UNLISTED)

    async def _serve(self, addresses: list[str], port: int) -> tuple[Guard, asyncio.Server]:
        from pymodbus.server import ModbusTcpServer  # noqa: PLC0415 (an extra)
        from pymodbus.simulator import DataType, SimData, SimDevice  # noqa: PLC0415

        from partsight.runtime.sinks.modbus_server import OneByOne, frame_size  # noqa: PLC0415

        bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        words = [SimData(0, count=REGISTERS, values=0, datatype=DataType.REGISTERS)]
        blocks = (bits, bits.copy(), words, words.copy())
        registers = ModbusTcpServer(SimDevice(0, simdata=blocks, action=self._answer))  # which does not listen itself
        guard = Guard(
            self._where,
            frame_size,
            lambda connection: OneByOne(registers, connection),
            parse_networks(self._options.allow),
            self._options.idle_s,
        )
        return guard, await asyncio.get_running_loop().create_server(guard.connection, addresses, port)

    async def _end(self) -> None:
        self._server.close()
        self._guard.close()
        await self._server.wait_closed()

    async def _answer(
        self,
        function: int,
        _start: int,
        address: int,
        _count: int,
        memory: list[int],
        written: list[int] | list[bool] | None,
    ) -> "ExcCodes | None":
        """Answer a request of the PLC: registers are only read; coil 0 is only cleared."""
        from pymodbus.constants import ExcCodes  # noqa: PLC0415

        if written is not None:
            if function not in _WRITES_COIL or address != 0 or len(written) != 1:
                return ExcCodes.ILLEGAL_ADDRESS
            if written[0]:
                return ExcCodes.ILLEGAL_VALUE
        with self._cleared:
            if written is not None:
                self._new = False
                self._cleared.notify_all()
            if function in (3, 4):
                memory[: len(self._registers)] = self._registers
            else:
                memory[0] = int(self._new)
        return None


def open_address(address: Address) -> Sink:
    """Open `modbus://host:port`.

    Raises:
        SinkError: see `ModbusSink`; or an option is wrong.
        DependencyError: pymodbus is not installed.
    """
    options = address.read_options(ModbusOptions)
    host, port = address.host_and_port(PORT)
    need("pymodbus.server", "modbus")
    return ModbusSink(host, port, options)


async def _nothing() -> None:
    """Come to an end at once."""
