"""Against mosquitto itself."""

import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks import FrameEvent, open_sink
from tests.processes import running
from tests.runtime.sinks.broker import MOSQUITTO, Broker, Subscriber, free_port
from tests.runtime.sinks.kinds import event, read_spool
from tests.waiting import HANG_S, wait_until

pytest.importorskip("paho.mqtt.client")
debian = [pytest.mark.debian, pytest.mark.skipif(MOSQUITTO is None, reason="needs the Debian package mosquitto")]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as started:
        yield started


def address(port: int, folder: Path, more: str = "") -> str:
    return f"mqtt://127.0.0.1:{port}/line3?spool={folder}/spool.db{more}"


class TestBroker:
    pytestmark = debian

    def test_in_order_and_out_of_the_spool(self, broker: Broker, tmp_path: Path) -> None:
        with Subscriber(broker.port) as subscriber:
            with open_sink(address(broker.port, tmp_path)) as sink:
                for sequence in range(300):  # more than may be on their way at once
                    sink.write(event(sequence))
            subscriber.wait_for(300)
        assert subscriber.sequences == list(range(300))
        assert read_spool(tmp_path / "spool.db") == []

    @pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
    def test_broker_killed_while_publishing(self, broker: Broker, tmp_path: Path, kills: int) -> None:
        """A killed broker may lose the subscriber's session, so the sink requires a subscriber."""
        a_round = 200
        sequence = 0
        with Subscriber(broker.port) as subscriber:
            with open_sink(address(broker.port, tmp_path, "&close_s=60&needs_subscriber=true")) as sink:
                for _ in range(kills):
                    for _ in range(a_round):
                        sink.write(event(sequence))
                        sequence += 1
                    subscriber.wait_for(sequence - a_round // 2)  # in the midst of it
                    broker.kill()
                    broker.start()
                for _ in range(a_round):
                    sink.write(event(sequence))
                    sequence += 1
                wait_until(lambda: not sink.undelivered)  # type: ignore[attr-defined]  # however long it takes
            assert read_spool(tmp_path / "spool.db") == []
            subscriber.wait_for(sequence)
        assert set(subscriber.sequences) == set(range(sequence))
        print(f"{kills} kills, {sequence} results, {len(subscriber.sequences) - sequence} doubles")

    def test_program_that_starts_again(self, tmp_path: Path) -> None:
        with open_sink(address(free_port(), tmp_path, "&close_s=0")) as sink:  # no broker there
            for sequence in range(30):
                sink.write(event(sequence))
        with Broker(tmp_path) as broker, Subscriber(broker.port) as subscriber:
            with open_sink(address(broker.port, tmp_path)) as sink:
                sink.write(event(30))
            subscriber.wait_for(31)
        assert subscriber.sequences == list(range(31))
        assert read_spool(tmp_path / "spool.db") == []

    def test_broker_that_forgot_the_subscriber(
        self, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A broker without the session acknowledges undelivered results, so the sink requires a subscriber."""
        monkeypatch.setattr("partsight.runtime.sinks.mqtt_publisher.PAUSE_S", 0.2)
        with Subscriber(broker.port) as subscriber:
            broker.kill()
            with open_sink(address(broker.port, tmp_path, "&close_s=60&needs_subscriber=true")) as sink:
                sink.write(event(0))
                broker.start()
            subscriber.wait_for(1)

    def test_frozen_broker_holds_up_nothing(self, broker: Broker, tmp_path: Path) -> None:
        with open_sink(address(broker.port, tmp_path, "&close_s=60")) as sink:
            sink.write(event(0))
        sink = open_sink(address(broker.port, tmp_path, "&close_s=0.2"))
        broker.signal(signal.SIGSTOP)
        for sequence in range(1, 50):
            sink.write(event(sequence))
        sink.close()  # ends, though the broker stays frozen until the next line
        broker.signal(signal.SIGCONT)
        left = [record.sequence for record in read_spool(tmp_path / "spool.db")]
        assert left == list(range(50 - len(left), 50))
        assert len(left) >= 49 - 1

    def test_result_that_is_refused_stays(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("partsight.runtime.sinks.mqtt_publisher.PAUSE_S", 0.2)
        acl = tmp_path / "acl"
        acl.write_text("topic write other\n")
        acl.chmod(0o600)
        with Broker(tmp_path, f"acl_file {acl}") as broker:
            with caplog.at_level(logging.WARNING), open_sink(address(broker.port, tmp_path, "&close_s=1")) as sink:
                sink.write(event(0))
            events = [(record.event, "'line3'" in record.getMessage()) for record in caplog.records]  # type: ignore[attr-defined]
            assert events.count(("broker_trouble", True)) == 1  # once, however often the broker refuses it
            assert [record.sequence for record in read_spool(tmp_path / "spool.db")] == [0]
            acl.write_text("topic readwrite line3\n")
            broker.signal(signal.SIGHUP)  # reads its rules again
            with Subscriber(broker.port) as subscriber:
                with open_sink(address(broker.port, tmp_path)):
                    pass
                subscriber.wait_for(1)

    def test_result_without_subscriber_stays_if_asked(self, broker: Broker, tmp_path: Path) -> None:
        with open_sink(address(broker.port, tmp_path, "&close_s=0.5&needs_subscriber=true")) as sink:
            sink.write(event(0))
        assert len(read_spool(tmp_path / "spool.db")) == 1
        with open_sink(address(broker.port, tmp_path)):  # not asked
            pass
        assert read_spool(tmp_path / "spool.db") == []

    @pytest.mark.parametrize("by", ["file", "environment"])
    def test_password(
        self, tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        secret = "hunter2-äö"
        passwords = tmp_path / "passwords"
        command = [shutil.which("mosquitto_passwd") or "mosquitto_passwd", "-b", "-c", passwords, "line", secret]
        subprocess.run(command, check=True)
        passwords.chmod(0o600)
        (tmp_path / "secret").touch(0o600)
        (tmp_path / "secret").write_text(f"{secret}\n", encoding="utf-8")
        monkeypatch.setenv("LINE_PASSWORD", secret)
        more = f"&password_file={tmp_path}/secret" if by == "file" else "&password_env=LINE_PASSWORD"
        with Broker(tmp_path, f"password_file {passwords}", anonymous=False) as broker, caplog.at_level(logging.DEBUG):
            with open_sink(address(broker.port, tmp_path, "&username=line&close_s=0.5")) as sink:  # without
                sink.write(event(0))
                assert len(read_spool(tmp_path / "spool.db")) == 1
            with open_sink(address(broker.port, tmp_path, f"&username=line{more}")):
                pass
        assert read_spool(tmp_path / "spool.db") == []
        events = {getattr(record, "event", "") for record in caplog.records}
        assert "broker_trouble" in events
        assert "password_exposed" not in events  # the broker is on this machine
        assert secret not in caplog.text

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a refused socket open
    def test_tls(self, tmp_path: Path) -> None:
        cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-out", cert, "-keyout", key]
        subprocess.run([*make, *subject], check=True, capture_output=True)
        with Broker(tmp_path, f"certfile {cert}", f"keyfile {key}") as broker:
            safe = address(broker.port, tmp_path).replace("mqtt:", "mqtts:")
            with open_sink(f"{safe}&close_s=0.5") as sink:  # which knows not who signed it
                sink.write(event(0))
            assert len(read_spool(tmp_path / "spool.db")) == 1
            with open_sink(f"{safe}&ca={cert}"):
                pass
            assert read_spool(tmp_path / "spool.db") == []


def test_spool_that_is_full(tmp_path: Path) -> None:
    size = len(event(0).record.to_json())
    for limit in ("&spool_rows=3", f"&spool_mb={size * 3.5 / 1e6}"):
        folder = tmp_path / limit.strip("&").partition("=")[0]
        folder.mkdir()
        with open_sink(address(1, folder, f"&close_s=0{limit}")) as sink:
            for sequence in range(3):
                sink.write(event(sequence))
            with pytest.raises(SinkError, match=r"\b3\b.*spool_rows or spool_mb"):
                sink.write(event(3))
        with (
            open_sink(address(1, folder, f"&close_s=0{limit}")) as sink,
            pytest.raises(SinkError, match="spool_rows or spool_mb"),
        ):
            sink.write(event(3))  # it counts what an earlier run left
        assert [record.sequence for record in read_spool(folder / "spool.db")] == [0, 1, 2]


@pytest.mark.skipif(os.name == "nt", reason="needs flock")
def test_two_programs_on_one_spool(tmp_path: Path) -> None:
    used = address(1, tmp_path, "&close_s=0")
    with open_sink(used), pytest.raises(SinkError, match=r"spool\.db"):
        open_sink(used)
    open_sink(used).close()


def test_a_broker_that_is_never_reached_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_sink(address(1, tmp_path, "&close_s=0")) as sink:
        sink.write(event(0))
        sink.write(event(1))
        wait_until(lambda: any(getattr(record, "event", "") == "broker_trouble" for record in caplog.records))
    assert sink.undelivered == 2  # type: ignore[attr-defined]
    kept = caplog.records[-1]
    assert (kept.event, kept.waiting, kept.sink) == ("spool_kept", 2, "mqtt://127.0.0.1:1")  # type: ignore[attr-defined]
    assert "Connection refused" in kept.message or os.name == "nt"


def test_publisher_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from paho.mqtt.client import Client

    def fails(*_: object) -> None:
        raise RuntimeError("no thread")

    monkeypatch.setattr(Client, "loop_start", fails)
    with open_sink(address(1, tmp_path, "&close_s=10")) as sink:
        wait_until(lambda: failure(sink.write))
        with pytest.raises(SinkError, match=r"RuntimeError\('no thread'\)"):
            sink.write(event(0))


def failure(write: Callable[[FrameEvent], None]) -> bool:
    try:
        write(event(0))
    except SinkError:
        return True
    return False


@pytest.mark.parametrize(
    ("wrong", "datum"),
    [
        ("mqtt://127.0.0.1/?spool=x", "mqtt://host:port/TOPIC"),
        ("mqtt://127.0.0.1/a/%23/#?spool=x", "mqtt://host:port/TOPIC"),
        ("mqtt://127.0.0.1/line3", r"\?spool=PATH"),
        ("mqtt://127.0.0.1/line3?spool=x&protocol=3", "'3'"),
        ("mqtt://127.0.0.1/line3?spool=x&protocol=3.1.1&needs_subscriber=true", "protocol=5"),
        ("mqtt://127.0.0.1/line3?spool=x&username=u&password_file=/nowhere", "/nowhere"),
        ("mqtt://127.0.0.1/line3?spool=x&password_file=/nowhere", "username"),
        ("mqtts://127.0.0.1/line3?spool=x&ca=/nowhere", "PEM"),
        ("mqtts://127.0.0.1/line3?spool=x&cert=/nowhere", "/nowhere"),
        ("mqtts://127.0.0.1/line3?spool=x&key=/nowhere", "cert"),
        ("mqtt://127.0.0.1/line3?spool=x&ca=ca.pem", "mqtts://"),
    ],
)
def test_wrong_addresses(wrong: str, datum: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SinkError, match=datum):
        open_sink(wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "is_logged"),
    [
        ("mqtt://192.0.2.1/line3", True),
        ("mqtt://broker.invalid:1884/line3", True),
        ("mqtts://192.0.2.1/line3", False),
        ("mqtt://localhost/line3", False),
        ("mqtt://127.1.2.3/line3", False),
        ("mqtt://[::1]/line3", False),
    ],
)
def test_password_without_encryption_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str, is_logged: bool
) -> None:
    monkeypatch.setattr("paho.mqtt.client.Client.loop_start", lambda _: None)  # so that nothing is sent
    monkeypatch.setenv("LINE_PASSWORD", "hunter2")
    options = f"spool={tmp_path}/spool.db&close_s=0"
    open_sink(f"{place}?{options}&username=line&password_env=NOT_THERE").close()
    assert caplog.text == ""
    open_sink(f"{place}?{options}&username=line&password_env=LINE_PASSWORD").close()
    exposed = [record for record in caplog.records if getattr(record, "event", "") == "password_exposed"]
    assert [place.startswith(record.sink[: len("mqtt://") + 3]) for record in exposed] == [True] * is_logged  # type: ignore[attr-defined]
    assert "hunter2" not in caplog.text


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_key_with_a_passphrase_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:hunter2", "-subj", "/CN=line"]
    subprocess.run([*make, "-out", "cert", "-keyout", "key"], check=True, capture_output=True, cwd=tmp_path)
    address = f"mqtts://127.0.0.1/line3?spool={tmp_path}/spool.db&cert={tmp_path}/cert&key={tmp_path}/key"
    code = "import sys; from partsight.runtime.sinks import open_sink; open_sink(sys.argv[1])"
    # stdin is open and no terminal, so a program that asks for a passphrase waits.
    with running(
        sys.executable, "-c", code, address, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.wait(HANG_S) == 1
        assert process.stderr is not None
        assert "SinkError" in process.stderr.read()


@pytest.mark.skipif(os.name == "nt", reason="rights are elsewhere on Windows")
@pytest.mark.parametrize(
    "options",
    ["username=line&password_file=FILE", "cert=FILE", "cert=/nowhere&key=FILE"],
    ids=["password", "cert", "key"],
)
def test_secret_that_others_may_read(tmp_path: Path, options: str) -> None:
    (tmp_path / "secret").write_text("hunter2\n", encoding="utf-8")
    (tmp_path / "secret").chmod(0o640)
    address = f"mqtts://127.0.0.1/line3?spool={tmp_path}/spool.db&{options.replace('FILE', f'{tmp_path}/secret')}"
    with pytest.raises(SinkError, match=r"640.*chmod 600"):
        open_sink(address)
    assert not (tmp_path / "spool.db").exists()
