"""Metrics and results of a fleet: the files of examples/fleet, with Prometheus and mosquitto."""

import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import cv2
import msgspec
import pytest

from partsight.runtime import Recognizer
from partsight.runtime.line import Health, Line, Metrics
from partsight.runtime.sinks import FrameEvent, Record, open_sink
from tests.examples.fleet import FLEET, HAS_EXAMPLES, changed, needs
from tests.processes import running
from tests.runtime.line.scripted import ScriptedCamera
from tests.runtime.sinks.broker import MOSQUITTO, free_port
from tests.tiny import ONE_THREAD, solid
from tests.waiting import HANG_S, wait_until

pytestmark = HAS_EXAMPLES


@needs("promtool")
def test_the_files_of_prometheus_are_right() -> None:
    for task, name in (
        (("check", "config"), "prometheus.yml"),
        (("check", "config"), "prometheus-company.yml"),
        (("check", "rules"), "alerts.yml"),
        (("test", "rules"), "alerts_test.yml"),
    ):
        done = subprocess.run(
            ["promtool", *task, FLEET / name], capture_output=True, text=True, check=False, timeout=HANG_S
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_and_federation_name_metrics_that_a_line_has(tiny_package: Path) -> None:
    line = Line(Recognizer(tiny_package, engine=ONE_THREAD), {"c": ScriptedCamera})
    text = Metrics(line, Health(line)).render()[0].decode()
    line.close()
    known = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    used = set(re.findall(r"\bpartsight_[a-z_]+", (FLEET / "alerts.yml").read_text("utf-8")))
    assert used <= known
    tested = set(re.findall(r"alert: (\w+)", (FLEET / "alerts.yml").read_text("utf-8")))
    assert tested == set(re.findall(r'alertname="(\w+)"', (FLEET / "alerts_test.yml").read_text("utf-8")))


class Prometheus:
    """Prometheus with a configuration, on a port of its own."""

    def __init__(self, config: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        options = [f"--storage.tsdb.path={config.with_suffix('.data')}", f"--web.listen-address={self.address}"]
        command = ["prometheus", f"--config.file={config}", *options]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def ask(self, query: str) -> list[Any]:
        """Return the rows that a query gives now."""
        url = f"http://{self.address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=HANG_S) as answer:
                rows: list[Any] = msgspec.json.decode(answer.read())["data"]["result"]
        except OSError:  # it starts
            assert self._process.poll() is None
            return []
        return rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def line_with_metrics(package: Path, photos: Path, port: int) -> Iterator[None]:
    """Run a line with a camera that sends five frames a second."""
    options = ["--camera", f"left=folder:{photos}", "--fps", "5", "--threads", "1", "--sink", f"jsonl:{photos}.{port}"]
    command = [sys.executable, "-m", "partsight.cli", "run", package, *options, "--metrics", f"127.0.0.1:{port}"]
    with running(*command) as process:
        yield
        process.terminate()


@pytest.mark.debian
@needs("prometheus")
def test_prometheus_reads_two_lines_and_the_company_reads_prometheus(tiny_package: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(tmp_path / "frame.png"), solid("red"))
    for index in range(2000):  # more than the test needs
        (photos / f"{index}.png").symlink_to(tmp_path / "frame.png")
    ports = {"line3": free_port(), "line4": free_port()}
    targets = {f"{line}.plant:9100": f"127.0.0.1:{port}" for line, port in ports.items()}
    changed("lines.yml", tmp_path, targets)
    shutil.copy(FLEET / "alerts.yml", tmp_path)
    plant = changed("prometheus.yml", tmp_path, {": 15s": ": 1s"})
    with ExitStack() as stack:
        for port in ports.values():
            stack.enter_context(line_with_metrics(tiny_package, photos, port))
        prometheus = stack.enter_context(Prometheus(plant))
        query = 'partsight_frames_total{camera="left",outcome="recognised"} > 0'
        wait_until(lambda: {row["metric"]["line"] for row in prometheus.ask(query)} == set(ports))
        assert {row["metric"]["job"] for row in prometheus.ask(query)} == {"partsight"}
        assert len(prometheus.ask("count by (package_id) (partsight_package_info)")) == 1
        texts = {"prometheus.north:9090": prometheus.address, ', "prometheus.south:9090"': "", ": 60s": ": 1s"}
        company = stack.enter_context(Prometheus(changed("prometheus-company.yml", tmp_path, texts)))
        wait_until(lambda: len(company.ask(query)) == 2)
        found = {(row["metric"]["plant"], row["metric"]["line"]) for row in company.ask(query)}
        assert found == {("north", line) for line in ports}
        assert company.ask("partsight_latency_seconds_bucket") == []


def certificate(folder: Path) -> None:
    """Make the plant's certificate, which is the broker's, too."""
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-out", folder / "broker.pem", "-keyout", folder / "broker.key"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files, *subject]
    subprocess.run(make, check=True, capture_output=True)
    shutil.copy(folder / "broker.pem", folder / "plant.pem")


@pytest.mark.debian
@pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto")
@needs("openssl", "mosquitto_passwd")
def test_each_line_writes_its_own_topic_and_a_reader_reads_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("paho.mqtt")
    monkeypatch.chdir(tmp_path)
    certificate(tmp_path)
    (tmp_path / "data").mkdir()
    for number, user in enumerate(("line3", "line4", "reader")):
        create = ["-c"] if number == 0 else []
        subprocess.run(
            ["mosquitto_passwd", *create, "-b", "mosquitto.passwords", user, f"secret of {user}"], check=True
        )
    port = free_port()
    shutil.copy(FLEET / "mosquitto.acl", tmp_path)
    config = changed("mosquitto.conf", tmp_path, {"listener 8883": f"user root\nlistener {port} 127.0.0.1"})
    assert MOSQUITTO is not None
    with running(MOSQUITTO, "-c", config, stderr=subprocess.DEVNULL) as broker:
        try:
            with reader_of(port, tmp_path / "plant.pem") as topics:
                for line in ("line3", "line4"):
                    write_results(tmp_path, line, line, port)
                wait_until(lambda: set(topics) == {f"partsight/{line}/results" for line in ("line3", "line4")})
                kept = write_results(tmp_path, "line3", "line4", port)  # one line in another one's name
                assert kept == 1
                assert len(topics) == 2
        finally:
            broker.kill()


def write_results(folder: Path, user: str, topic: str, port: int) -> int:
    """Write a result by the sink of a line's file; return how many results the broker did not take."""
    text = (FLEET / "line3.toml").read_text("utf-8")
    (address,) = re.findall(r'"(mqtts://[^"]+)"', text)
    for old, new in (
        ("broker.plant:8883", f"localhost:{port}"),
        ("username=line3", f"username={user}"),
        ("partsight/line3/", f"partsight/{topic}/"),
        ("results.spool", f"{user}-{topic}.spool"),
    ):
        assert old in address
        address = address.replace(old, new)
    secret = folder / "mqtt.password"
    secret.write_text(f"secret of {user}\n", "utf-8")
    secret.chmod(0o600)
    record = Record(outcome="unknown", camera="left", source="usb:0", sequence=0, run=user, timestamp=1e9)
    with open_sink(address) as sink:
        sink.write(FrameEvent(record))
    undelivered: int = getattr(sink, "undelivered", 0)
    return undelivered


@contextmanager
def reader_of(port: int, ca: Path) -> Iterator[list[str]]:
    """Subscribe to the results of all lines; yield the topics of the messages that come."""
    from paho.mqtt.client import Client, MQTTv5
    from paho.mqtt.enums import CallbackAPIVersion

    topics: list[str] = []
    subscribed: list[Any] = []
    client = Client(CallbackAPIVersion.VERSION2, client_id="reader", protocol=MQTTv5)
    client.username_pw_set("reader", "secret of reader")
    client.tls_set(ca_certs=str(ca))
    client.on_connect = lambda client, *_: client.subscribe("partsight/+/results", qos=1)
    client.on_subscribe = lambda _client, _data, _id, codes, _properties: subscribed.extend(codes)
    client.on_message = lambda _client, _data, message: topics.append(message.topic)
    client.reconnect_delay_set(1, 1)
    client.connect_async("localhost", port)
    client.loop_start()
    try:
        wait_until(lambda: subscribed)
        yield topics
    finally:
        client.disconnect()
        client.loop_stop()
