"""asyncua's server with bounds of its memory, for whoever connects. Imported when the first such sink is opened."""

from asyncua import Server
from asyncua.common.connection import TransportLimits
from asyncua.server.binary_server_asyncio import BinaryServer, OPCUAProtocol

LARGEST_MESSAGE = 2**20
"""Bytes of a request. Those of a client that reads or subscribes have a few hundred."""

MOST_CONNECTIONS = 64
MOST_WAITING = 50
"""Requests of a connection that may wait, each of a chunk (64 kB) at most."""


class BoundedServer(Server):
    """Serves; a client that sends too much is hung up on."""

    async def init(self) -> None:
        """Prepare to start."""
        await super().init()
        self.limits = TransportLimits(max_chunk_count=LARGEST_MESSAGE // 2**16, max_message_size=LARGEST_MESSAGE)
        self.iserver.max_connections = MOST_CONNECTIONS
        self.iserver.max_pending_messages_per_connection = MOST_WAITING

    async def start(self) -> None:
        """Listen; as asyncua's own does, with another listener.

        Raises:
            OSError: the port cannot be had.
        """
        await self._setup_server_nodes()
        await self.iserver.start()
        self.bserver = _Listener(self.iserver, *self._get_bind_socket_info(), self.limits)
        self.bserver.set_policies(self._policies)
        await self.bserver.start()


class _Listener(BinaryServer):
    def _make_protocol(self) -> OPCUAProtocol:
        return _Connection(self.iserver, self._policies, self.clients, self.closing_tasks, self.limits)


class _Connection(OPCUAProtocol):
    _buffer: bytes

    def data_received(self, data: bytes) -> None:
        """Take what came. asyncua itself waits for the 4 GB that a header may promise, and copies them at each part."""
        if len(self._buffer) + len(data) > LARGEST_MESSAGE and self.transport is not None:
            self._buffer = b""
            self.transport.close()
            return
        super().data_received(data)
