"""A Modbus TCP server of one register table: framing, six functions, one request of a connection at a time.

Source: MODBUS Application Protocol V1.1b3, MODBUS Messaging on TCP/IP V1.0b. All numbers are big-endian.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Protocol

from partsight.runtime.sinks.allow import MAX_CONNECTIONS, AllowList, host_of

_HEAD = struct.Struct(">HHH")  # transaction, protocol (0), bytes that follow
_SIZES = range(2, 255)  # of what follows: the unit and a request of 1 to 253 bytes
_TWO_WORDS = struct.Struct(">HH")  # an address, then a count or a value
_BUFFER_BYTES = 1024  # of requests that wait; the rest stays with the peer

_READ_COILS, _READ_INPUTS, _READ_HOLDING, _READ_REGISTERS, _WRITE_COIL, _WRITE_COILS = 1, 2, 3, 4, 5, 15
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 1, 2, 3

_BITS = 16
"""Coils and discrete inputs; all but the first are 0."""

_MAX_BITS, _MAX_REGISTERS = 2000, 125
"""Limits of one request, by the protocol."""


class RegisterTable(Protocol):
    """Values that peers read, and the one coil that they clear."""

    def read_registers(self) -> list[int]:
        """Return all registers, 16 bits each."""

    def read_coil(self) -> bool:
        """Return coil 0."""

    def clear_coil(self) -> None:
        """Set coil 0 to 0."""


class _RefusedRequestError(Exception):
    """A request that is answered by an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class ModbusServer:
    """Answers peers; belongs to the thread of its event loop."""

    def __init__(self, table: RegisterTable, allow: AllowList, idle_s: float) -> None:
        """Take the table and the rules.

        Args:
            table: The values to serve.
            allow: Hosts that may connect.
            idle_s: Seconds without a whole request after which a connection ends.
        """
        self._table, self._allow, self._idle_s = table, allow, idle_s
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self, addresses: list[str], port: int) -> None:
        """Listen.

        Raises:
            OSError: the server cannot listen there.
        """
        self._server = await asyncio.start_server(self._serve, addresses, port, limit=_BUFFER_BYTES)

    async def stop(self) -> None:
        """Stop listening and end all connections."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        if self._server is not None:
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until it ends."""
        host = host_of(writer.transport)
        try:
            if self._admits(host):
                self._open.add(writer)
                while True:
                    await self._answer_next(reader, writer)
        except ValueError as error:
            self._allow.refuse(host, str(error))
        except (OSError, asyncio.IncompleteReadError):  # the peer has gone, or was silent for too long
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()  # `close` would wait for a peer that reads nothing

    def _admits(self, host: str) -> bool:
        if len(self._open) < MAX_CONNECTIONS:
            return self._allow.admits(host)
        self._allow.refuse(host, f"{MAX_CONNECTIONS} connections are open")
        return False

    async def _answer_next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and send its answer, which waits for a peer that reads none.

        Raises:
            ValueError: the bytes are no Modbus request.
            TimeoutError: there was no whole request, or no room for the answer, within `idle_s`.
        """
        async with asyncio.timeout(self._idle_s):
            transaction, protocol, size = _HEAD.unpack(await reader.readexactly(_HEAD.size))
            if protocol != 0 or size not in _SIZES:
                raise ValueError("it sends no Modbus request")
            unit, *request = await reader.readexactly(size)
            reply = answer(bytes(request), self._table)
            writer.write(_HEAD.pack(transaction, 0, 1 + len(reply)) + bytes([unit]) + reply)
            await writer.drain()
        await asyncio.sleep(0)  # the other connections' turn, even if this peer sends without end


def answer(request: bytes, table: RegisterTable) -> bytes:
    """Return the answer to a request, both without the head and the unit.

    Args:
        request: Function, then its data: 1 to 253 bytes.
        table: The values to read, and the coil to clear.
    """
    function = request[0]
    try:
        if function not in _FUNCTIONS:
            raise _RefusedRequestError(_ILLEGAL_FUNCTION)
        return bytes([function]) + _FUNCTIONS[function](request[1:], table)
    except _RefusedRequestError as error:
        return bytes([function | 0x80, error.code])


def _read_bits(data: bytes, table: RegisterTable) -> bytes:
    start, count = _range(data, _BITS, _MAX_BITS)
    bits = int(table.read_coil()) if start == 0 else 0
    size = (count + 7) // 8
    return bytes([size]) + bits.to_bytes(size, "little")


def _read_registers(data: bytes, table: RegisterTable) -> bytes:
    registers = table.read_registers()
    start, count = _range(data, len(registers), _MAX_REGISTERS)
    return struct.pack(f">B{count}H", 2 * count, *registers[start : start + count])


def _write_coil(data: bytes, table: RegisterTable) -> bytes:
    address, value = _two_words(data)
    if address != 0:
        raise _RefusedRequestError(_ILLEGAL_ADDRESS)
    if value != 0:
        raise _RefusedRequestError(_ILLEGAL_VALUE)
    table.clear_coil()
    return data


def _write_coils(data: bytes, table: RegisterTable) -> bytes:
    address, count = _two_words(data[:4])
    size, values = data[4:5], data[5:]
    if len(values) < 1 or size != bytes([len(values)]):
        raise _RefusedRequestError(_ILLEGAL_VALUE)
    if (address, count) != (0, 1):
        raise _RefusedRequestError(_ILLEGAL_ADDRESS)
    if values[0] & 1:
        raise _RefusedRequestError(_ILLEGAL_VALUE)
    table.clear_coil()
    return data[:4]


def _range(data: bytes, size: int, most: int) -> tuple[int, int]:
    """Return the start and the count of a request that reads from `size` values."""
    start, count = _two_words(data)
    if not 1 <= count <= most:
        raise _RefusedRequestError(_ILLEGAL_VALUE)
    if start + count > size:
        raise _RefusedRequestError(_ILLEGAL_ADDRESS)
    return start, count


def _two_words(data: bytes) -> tuple[int, int]:
    if len(data) != _TWO_WORDS.size:
        raise _RefusedRequestError(_ILLEGAL_VALUE)
    first, second = _TWO_WORDS.unpack(data)
    return int(first), int(second)


_FUNCTIONS: dict[int, Callable[[bytes, RegisterTable], bytes]] = {
    _READ_COILS: _read_bits,
    _READ_INPUTS: _read_bits,
    _READ_HOLDING: _read_registers,
    _READ_REGISTERS: _read_registers,
    _WRITE_COIL: _write_coil,
    _WRITE_COILS: _write_coils,
}
