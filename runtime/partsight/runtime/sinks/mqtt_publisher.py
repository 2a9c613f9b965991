"""The publisher: a thread that sends the results of a spool to an MQTT broker."""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from partsight.runtime.core import SinkError
from partsight.runtime.sinks.address import shown
from partsight.runtime.sinks.spool import Spool

if TYPE_CHECKING:
    from paho.mqtt.client import Client

WINDOW = 100
"""Results on their way at a time, at most. A broker that allows fewer says so in its answer to the connection."""

PAUSE_S = 5.0
"""Seconds of pause after the broker refused a result, the disk failed, or a certificate could not be read."""

STALL_S = 30.0
"""Seconds without connection or acknowledgement, while results wait, after which the publisher creates a new client."""

_NO_SUBSCRIBER = 0x10  # MQTT 5, PUBACK "No matching subscribers"

_log = logging.getLogger("partsight.sinks")


class Publisher:
    """Sends the results of a spool, oldest first, and removes those that the broker acknowledged."""

    def __init__(
        self, spool: Spool, topic: str, make: Callable[[], "Client"], *, needs_subscriber: bool, name: str = "mqtt"
    ) -> None:
        """Start.

        Args:
            spool: The spool; the caller closes it.
            topic: Topic to publish to.
            make: Function that returns a client with broker and credentials, not connected.
            needs_subscriber: True to keep results for which the broker has no subscriber.
            name: Name of the broker, for messages.
        """
        self._name = name
        self._spool, self._topic, self._make, self._needs = spool, topic, make, needs_subscriber
        self._changed = threading.Condition()  # guards the following
        self._connected = self._closing = self._added = False
        self._window = WINDOW
        self._answers: deque[tuple[int, int, str]] = deque()  # no longer than the window
        self._logged: set[str] = set()
        self._trouble = "the broker did not answer in time"
        self._was_reached = False
        self.failure: Exception | None = None
        # The rest is the thread's own.
        self._sent: dict[int, int] = {}  # ids of messages on their way, and of their rows
        self._removable: list[int] = []
        self._cursor = 0
        self._resume = 0.0
        self._alive = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="partsight-mqtt", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Reason why results wait for the broker, in words."""
        with self._changed:
            return self._trouble.partition("; ")[0]

    def wake(self) -> None:
        """Announce a new result in the spool."""
        with self._changed:
            self._added = True
            self._changed.notify()

    def close(self, wait_s: float) -> None:
        """Send waiting results for at most `wait_s` seconds, then stop; the others stay in the spool."""
        with self._changed:
            self._changed.wait_for(lambda: self.failure is not None or not len(self._spool), wait_s)
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        client: Client | None = None
        try:
            try:
                client = self._work(client)
                while self._wait():
                    client = self._work(client)
            finally:
                if client is not None:
                    self._stop(client)
        except Exception as error:  # noqa: BLE001 (`write` raises it: the line must know that nothing is sent any more)
            with self._changed:
                self.failure = error
                self._changed.notify_all()

    def _work(self, client: "Client | None") -> "Client | None":
        """Send and remove results, and return the client: a new one if the broker was silent for too long.

        If the spool's disk fails or a certificate is missing, as during its renewal, it tries again later.
        """
        try:
            if client is not None and time.monotonic() - self._alive > STALL_S:
                self._log_trouble(f"nothing came from the broker for {STALL_S:g} s; reconnecting")
                self._stop(client)
                client = None
            if client is None:
                client = self._start()
            self._take_answers()
            self._send(client)
        except SinkError as error:
            self._alive = time.monotonic()  # the broker is not the cause
            self._retry_later(f"{error}; results stay in the spool; partsight tries again")
        return client

    def _wait(self) -> bool:
        """Wait for work; return False to end."""
        with self._changed:
            pause = self._resume - time.monotonic()
            if pause > 0:
                self._changed.wait_for(lambda: self._closing, pause)
            else:
                self._changed.wait_for(lambda: self._closing or self._answers or self._can_send(), STALL_S / 2)
            if not len(self._spool):
                self._alive = time.monotonic()  # nothing waits, so nothing stalls
            return not self._closing or bool(self._answers)

    def _can_send(self) -> bool:
        return self._connected and self._added and len(self._sent) < self._window

    def _take_answers(self) -> None:
        with self._changed:
            answers = list(self._answers)
            self._answers.clear()
        for mid, code, reason in answers:
            self._alive = time.monotonic()
            row = self._sent.pop(mid, None)
            if row is None:  # an earlier client sent it
                continue
            if code < 0x80 and not (self._needs and code == _NO_SUBSCRIBER):
                self._removable.append(row)
            else:
                why = f"the broker answered {reason!r} to a result on topic {shown(self._topic)!r}"
                self._retry_later(f"{why}; it stays in the spool; partsight sends it again")
        if self._removable:
            try:
                self._spool.remove(self._removable)
                self._removable.clear()
                self._log_recovery()
            except SinkError as error:
                self._retry_later(
                    f"acknowledged results cannot be removed from the spool: {error}; partsight tries again"
                )
            with self._changed:
                self._changed.notify_all()

    def _retry_later(self, trouble: str) -> None:
        """Log a trouble and pause, then send again every result that the broker has not acknowledged."""
        self._log_trouble(f"{trouble} every {PAUSE_S:g} s")
        self._resume = time.monotonic() + PAUSE_S
        self._cursor = 0
        self._added = True

    def _log_trouble(self, trouble: str) -> None:
        """Log a trouble once, until a result is acknowledged: an outage may last for days."""
        with self._changed:
            self._trouble = trouble
            if trouble in self._logged:
                return
            self._logged.add(trouble)
        _log.warning("%s: %s", self._name, trouble, extra={"event": "broker_trouble", "sink": self._name})

    def _log_recovery(self) -> None:
        with self._changed:
            self._trouble = "the broker did not answer in time"
            if not self._logged:
                return
            self._logged.clear()
        waiting = len(self._spool)
        extra = {"event": "broker_recovered", "waiting": waiting, "sink": self._name}
        _log.warning("%s: results are acknowledged again; %d wait in the spool", self._name, waiting, extra=extra)

    def _send(self, client: "Client") -> None:
        with self._changed:
            if not self._can_send() or self._closing or self._resume > time.monotonic():
                return
            room = self._window - len(self._sent)
            self._added = False
        known = {*self._sent.values(), *self._removable}
        rows = self._spool.after(self._cursor, room + len(known))
        for row, payload in rows:
            if len(self._sent) >= self._window:
                break
            self._cursor = row
            if row not in known:
                self._sent[client.publish(self._topic, payload, qos=1).mid] = row
        if rows:
            with self._changed:
                self._added = True  # perhaps there are more

    def _start(self) -> "Client":
        client = self._make()
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail = self._on_connect_fail
        client.on_publish = self._on_publish
        self._sent.clear()
        self._cursor, self._added = 0, True
        self._alive = time.monotonic()
        client.loop_start()
        return client

    def _stop(self, client: "Client") -> None:
        client.on_connect = client.on_connect_fail = client.on_disconnect = client.on_publish = None
        client.disconnect()
        client.loop_stop()
        with self._changed:
            self._connected = False
            self._answers.clear()

    def _on_connect(self, _client: "Client", _data: object, _flags: object, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._log_trouble(f"the broker refuses the connection: {reason}; results wait in the spool")
            return
        allowed = getattr(properties, "ReceiveMaximum", WINDOW)
        with self._changed:
            self._connected, self._window = True, min(WINDOW, allowed)
            self._was_reached = True
            self._alive = time.monotonic()
            self._changed.notify_all()

    def _on_connect_fail(self, _client: "Client", _data: object) -> None:
        # paho calls this while it handles the error, and does not pass the error.
        never = "cannot be reached any more" if self._was_reached else "was never reached"
        self._log_trouble(f"the broker {never} ({sys.exc_info()[1]}); results wait in the spool")

    def _on_disconnect(self, _client: "Client", _data: object, _flags: object, reason: Any, _properties: Any) -> None:
        self._log_trouble(f"the connection to the broker is lost: {reason}; results wait in the spool")
        with self._changed:
            self._connected = False

    def _on_publish(self, _client: "Client", _data: object, mid: int, reason: Any, _properties: Any) -> None:
        with self._changed:
            self._answers.append((mid, reason.value, str(reason)))
            self._changed.notify_all()
