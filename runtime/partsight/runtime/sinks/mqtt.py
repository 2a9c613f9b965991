"""`mqtt://host:port/topic`: results published at QoS 1, each kept on disk until the broker acknowledges it."""

import ipaddress
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import msgspec

from partsight.runtime.core import (
    KeyFileError,
    ProcessBound,
    SinkError,
    SinkGoneError,
    check_secret,
    import_extra,
    read_key_file,
)
from partsight.runtime.sinks.address import Address, Options, shown
from partsight.runtime.sinks.mqtt_publisher import WINDOW, Publisher
from partsight.runtime.sinks.password import read_password
from partsight.runtime.sinks.record import FrameEvent
from partsight.runtime.sinks.serving import joined
from partsight.runtime.sinks.sink import Sink
from partsight.runtime.sinks.spool import Spool

if TYPE_CHECKING:
    from paho.mqtt.client import Client

CONNECT_S = 3.0
_KEEPALIVE_S = 15
_log = logging.getLogger("partsight.sinks")


class MqttOptions(Options, frozen=True, kw_only=True):
    """Options of the connection.

    Attributes:
        spool: File in which results wait until the broker acknowledges them.
        spool_rows: Limit of waiting results.
        spool_mb: Limit of waiting results in MB (of 1,000,000 bytes); a result beyond either limit is an error.
        protocol: MQTT `5`, in which a broker can refuse a result, or `3.1.1`, in which it cannot.
        needs_subscriber: True to keep and repeat a result for which the broker has no subscriber (MQTT 5).
        client_id: Id of the connection; empty to let the broker choose.
        username: User name at the broker.
        password_file: File whose first line is the password; only its owner may read it.
        password_env: Environment variable of the password, used without `password_file`.
        ca: File of certificates that the broker's is checked against (mqtts); empty for the system's.
        cert, key: Files of the line's own certificate and its key, which only its owner may read (mqtts).
        close_s: Seconds that closing waits at most for acknowledgements.
    """

    spool: str = ""
    spool_rows: Annotated[int, msgspec.Meta(ge=1)] = 1_000_000
    spool_mb: Annotated[float, msgspec.Meta(gt=0)] = 1000.0
    protocol: Literal["5", "3.1.1"] = "5"
    needs_subscriber: bool = False
    client_id: str = ""
    username: str = ""
    password_file: str = ""
    password_env: str = "PARTSIGHT_MQTT_PASSWORD"
    ca: str = ""
    cert: str = ""
    key: str = ""
    close_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 5.0


class MqttSink(ProcessBound, unusable=SinkGoneError):
    """Puts results into the spool; a thread publishes them."""

    def __init__(self, topic: str, options: MqttOptions, make: Callable[[], "Client"], name: str = "mqtt") -> None:
        """Open the spool and start to send its results, even if the broker is down.

        Args:
            topic: Topic to publish to.
            options: Options of the connection.
            make: Function that returns a client with broker and credentials, not connected.
            name: Name of the broker, for messages.

        Raises:
            SinkError: the spool cannot be opened, or another program uses it.
        """
        self._options, self._name, self._closed = options, name, False
        self._spool = Spool(Path(options.spool), options.spool_rows, int(options.spool_mb * 1e6))
        waiting = len(self._spool)
        if waiting:
            text = "%s: %d results of an earlier run wait in %s; partsight sends them first"
            extra = {"event": "spool_sent_first", "waiting": waiting, "sink": name}
            _log.info(text, name, waiting, options.spool, extra=extra)
        self._publisher = Publisher(self._spool, topic, make, needs_subscriber=options.needs_subscriber, name=name)

    @property
    def undelivered(self) -> int:
        """Number of results that the broker has not acknowledged yet, also of earlier runs."""
        return len(self._spool)

    def write(self, event: FrameEvent) -> None:
        """Keep a result on disk for the publisher, without waiting for the broker.

        Raises:
            SinkError: the spool or the disk is full, or the publisher has failed.
        """
        if self._closed:
            raise SinkGoneError(f"{self._options.spool}: this sink is closed; open it again")
        failure = self._publisher.failure
        if failure is not None:
            raise SinkError(f"mqtt: the publisher failed: {failure!r}; open the sink again") from failure
        self._spool.add(event.record.to_json())
        self._publisher.wake()

    def close(self) -> None:
        """Wait at most `close_s` for acknowledgements; results without one stay in the spool."""
        if self._closed:
            return
        self._closed = True
        self._publisher.close(self._options.close_s)
        waiting = len(self._spool)
        if waiting:
            text = "%s: %d results stay in %s, and the next run sends them: %s"
            extra = {"event": "spool_kept", "waiting": waiting, "sink": self._name}
            _log.warning(text, self._name, waiting, self._options.spool, self._publisher.trouble, extra=extra)
        self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


OPTIONS = MqttOptions


def open_address(address: Address) -> Sink:
    """Open `mqtt://host:port/topic?spool=PATH`, or the same with mqtts for TLS.

    Raises:
        SinkError: see `MqttSink`; or the topic, an option, a certificate or the file of the password cannot be used,
            or others may read that file or the private key.
        DependencyError: paho-mqtt is not installed.
    """
    options = address.read_options(MqttOptions)
    tls = address.scheme == "mqtts"
    host, port = address.host_and_port(8883 if tls else 1883)
    topic = address.topic()
    if not topic or set(topic) & set("+#") or not _is_utf8(topic):
        raise SinkError(
            f"sink {address}: topic {shown(topic)!r}; expected {address.scheme}://host:port/TOPIC without + and #"
        )
    if not options.spool:
        raise SinkError(f"sink {address}: names no spool; add ?spool=PATH, a file on disk in which results wait")
    if options.needs_subscriber and options.protocol != "5":
        raise SinkError(f"sink {address}: needs_subscriber needs protocol=5")
    _check_files(address, options, tls)
    password = read_password(address, options.username, options.password_file, options.password_env)
    make = _maker(address, options, (host, port), tls, password)
    make()  # so that an unreadable certificate is an error now
    if password and not tls and not _is_this_machine(host):
        where = joined("mqtt", host, port)
        text = "%s: the password of user %s crosses the network unencrypted, and every host on the way can read it; use mqtts://"
        _log.warning(text, where, options.username, extra={"event": "password_exposed", "sink": where})
    return MqttSink(topic, options, make, joined(address.scheme, host, port))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_files(address: Address, options: MqttOptions, tls: bool) -> None:
    """Refuse TLS files without TLS, and a private key that others may read."""
    if not tls and (options.ca or options.cert or options.key):
        raise SinkError(f"sink {address}: ca, cert and key are for TLS, which mqtt:// has not; name it mqtts://")
    if options.key and not options.cert:
        raise SinkError(f"sink {address}: key is given without cert; give both, or cert alone, which may hold the key")
    if options.cert:
        try:
            read_key_file(Path(options.key or options.cert), check_secret)
        except KeyFileError as error:
            raise SinkError(f"sink {address}: the private key: {error}") from error


def _is_this_machine(host: str) -> bool:
    """Judge by the name alone: a query for the name of a broker can take seconds."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _maker(
    address: Address, options: MqttOptions, broker: tuple[str, int], tls: bool, password: str
) -> Callable[[], "Client"]:
    import_extra("paho.mqtt.client", "mqtt")
    from paho.mqtt.client import Client, MQTTv5, MQTTv311  # noqa: PLC0415 (an extra)
    from paho.mqtt.enums import CallbackAPIVersion  # noqa: PLC0415

    def make() -> Client:
        protocol = MQTTv5 if options.protocol == "5" else MQTTv311
        client = Client(CallbackAPIVersion.VERSION2, client_id=options.client_id, protocol=protocol)
        client.max_inflight_messages_set(WINDOW)
        client.connect_timeout = CONNECT_S
        client.reconnect_delay_set(1, 10)
        if options.username:
            client.username_pw_set(options.username, password or None)
        if tls:
            try:
                # With None, OpenSSL would ask the terminal for a passphrase, and wait.
                client.tls_set(options.ca or None, options.cert or None, options.key or None, keyfile_password="")
            except (OSError, ValueError) as error:
                raise SinkError(
                    f"sink {address}: ca, cert or key cannot be used ({error}); expected PEM, the key "
                    "without a passphrase"
                ) from error
        client.connect_async(*broker, keepalive=_KEEPALIVE_S)
        return client

    return make
