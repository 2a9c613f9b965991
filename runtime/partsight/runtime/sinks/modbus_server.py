"""pymodbus' server for one connection, of which a peer gets six functions, one request at a time."""

import struct

from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler

from partsight.runtime.sinks.guard import Connection

WORK_S = 0.0003
"""What a request costs a host of its share."""

_READS = (1, 2, 3, 4)
_WRITES_COIL, _WRITES_COILS = 5, 15
_ILLEGAL_FUNCTION, _ILLEGAL_VALUE = 1, 3
_HEAD_BYTES = 8


def frame_size(head: bytes) -> int:
    """Return how many bytes a request has; 0 where that cannot be told yet.

    Raises:
        ValueError: it is none of Modbus.
    """
    if any(head[2:4]) or (len(head) >= 6 and not 2 <= int.from_bytes(head[4:6], "big") <= 254):
        raise ValueError("what is no Modbus request")
    return 6 + int.from_bytes(head[4:6], "big") if len(head) >= 6 else 0


class OneByOne(ServerRequestHandler):
    """Answers requests that are whole and allowed; the library would log others, or do what they say.

    Its server knows functions that name it, reset its counters or write files and registers, and it forgets a request
    that comes before the last one was answered.
    """

    def __init__(self, server: ModbusTcpServer, connection: Connection) -> None:
        """Take the server whose registers are read, and the connection that requests come by."""
        super().__init__(server, None, None, None)
        self._connection = connection

    def data_received(self, data: bytes) -> None:
        """Answer a request."""
        if error := _error(data):
            self.transport.write(data[:4] + struct.pack(">HBBB", 3, data[6], data[7] & 0x7F | 0x80, error))
            self._connection.answered(WORK_S)
        else:
            super().data_received(data)

    def server_send(self, pdu: object, addr: object) -> None:
        """Send an answer."""
        super().server_send(pdu, addr)
        self._connection.answered(WORK_S)


def _error(frame: bytes) -> int:
    """Return the code of what is wrong with a request; 0 for nothing."""
    function, size = frame[7], len(frame) - _HEAD_BYTES
    if function in (*_READS, _WRITES_COIL):
        return 0 if size == 4 else _ILLEGAL_VALUE
    if function == _WRITES_COILS:
        return 0 if size > 5 and size == 5 + frame[_HEAD_BYTES + 4] else _ILLEGAL_VALUE
    return _ILLEGAL_FUNCTION
