"""Parts of `faults.py`: cameras and brokers that it kills, and counts of the results that arrive."""

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
Key = tuple[str, int]
"""Key of a frame: name of its camera, and its sequence number."""


def free_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, timeout_s: float = 20.0) -> None:
    """Wait until a process listens on a port."""
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"no process listens on port {port} after {timeout_s:g} s")


class Process:
    """Process next to the line, which a scenario can kill (SIGKILL) and start again on the same port."""

    def __init__(self, command: Sequence[str], port: int) -> None:
        """Start the process."""
        self._command, self._port = command, port
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it listens."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self._port)

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()


def camera_process(port: int, fps: float, images: Iterable[Path]) -> Process:
    """Start a camera."""
    server = Path(__file__).with_name("mjpeg_server.py")
    return Process([sys.executable, str(server), str(port), str(fps), *map(str, images)], port)


def broker_process(port: int, folder: Path) -> Process:
    """Start a broker that keeps sessions on disk, as docs/results.md recommends."""
    config = folder / "mosquitto.conf"
    lines = [
        f"listener {port} 127.0.0.1", "allow_anonymous true", "user root", "persistence true",
        f"persistence_location {folder}/", "autosave_on_changes true", "autosave_interval 1",
        "max_inflight_messages 0", "max_queued_messages 0", "",
    ]  # fmt: skip
    config.write_text("\n".join(lines), "utf-8")
    return Process([str(MOSQUITTO), "-c", str(config)], port)


class BrokerSubscriber:
    """Receives results from a broker, with a persistent session."""

    def __init__(self, port: int, topic: str) -> None:
        """Subscribe."""
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self.keys: list[Key] = []
        self._news = threading.Condition()
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="subscriber", protocol=MQTTv5)
        ready = threading.Event()
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = self._take
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", port, clean_start=False, properties=properties)
        self._client.loop_start()
        if not ready.wait(20):
            raise TimeoutError("the broker took no subscription for 20 s")

    def _take(self, _client: Any, _data: Any, message: Any) -> None:
        record = json.loads(message.payload)
        with self._news:
            self.keys.append((record["camera"], record["sequence"]))
            self._news.notify_all()

    def wait_for(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait for `count` different results, at most `timeout_s` seconds."""
        with self._news:
            self._news.wait_for(lambda: len(set(self.keys)) >= count, timeout_s)

    def close(self) -> None:
        """End it."""
        self._client.disconnect()
        self._client.loop_stop()


def keys_of_lines(path: Path) -> list[Key]:
    """Return the keys of the results in a file of JSON lines."""
    records = (json.loads(line) for line in path.read_text("utf-8").splitlines())
    return [(record["camera"], record["sequence"]) for record in records]


def keys_of_rows(path: Path) -> list[Key]:
    """Return the keys of the results in a database."""
    with sqlite3.connect(path) as database:
        return [(camera, sequence) for camera, sequence in database.execute("SELECT camera, sequence FROM result")]


def doubled(keys: Iterable[Key]) -> int:
    """Return the number of repeated keys."""
    return sum(count - 1 for count in Counter(keys).values())
