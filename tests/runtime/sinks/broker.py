"""A real MQTT broker (Debian package mosquitto), and a subscriber."""

import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any, Self

import msgspec

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """Keeps sessions on disk at every change, so that a kill loses none."""

    def __init__(self, folder: Path, *lines: str, anonymous: bool = True) -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            "\n".join(
                [
                    f"listener {self.port} 127.0.0.1",
                    f"allow_anonymous {'true' if anonymous else 'false'}",
                    "user root",  # passed over unless started as root, who could not read the test's folder otherwise
                    "persistence true",
                    f"persistence_location {folder}/",
                    "autosave_on_changes true",
                    "autosave_interval 1",
                    "max_inflight_messages 0",
                    "max_queued_messages 0",
                    *lines,
                    "",
                ]
            )
        )
        self.start()

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen([MOSQUITTO, "-c", self._config], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if line.rstrip().endswith("running"):
                break
        else:
            raise RuntimeError("".join(said))
        # It would stop at a full pipe.
        self._reader = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._reader.start()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Subscriber:
    """Takes records, with a session that the broker keeps while it is away."""

    def __init__(self, port: int, topic: str = "line3") -> None:
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self._topic = topic
        self._news = threading.Condition()
        self._subscribed = False
        self.sequences: list[int] = []
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="subscriber", protocol=MQTTv5)
        self._client.on_connect, self._client.on_subscribe = self._on_connect, self._on_subscribe
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", port, clean_start=False, properties=properties)
        self._client.loop_start()
        self.wait(lambda: self._subscribed)

    def wait(self, until: Any, timeout_s: float = 60.0) -> None:
        with self._news:
            assert self._news.wait_for(until, timeout_s), f"{len(self.sequences)} records came"

    def wait_for(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait for so many different sequence numbers."""
        self.wait(lambda: len(set(self.sequences)) >= count, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Any, *_: object) -> None:
        client.subscribe(self._topic, qos=1)  # even if the session is there: a killed broker may have it without this

    def _on_subscribe(self, *_: object) -> None:
        with self._news:
            self._subscribed = True
            self._news.notify_all()

    def _on_message(self, _client: object, _data: object, message: Any) -> None:
        with self._news:
            self.sequences.append(msgspec.json.decode(message.payload)["sequence"])
            self._news.notify_all()
