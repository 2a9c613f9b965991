import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks import SINKS, check_address, open_sink
from partsight.runtime.sinks.address import Options, name_of, parse


class Some(Options, frozen=True, kw_only=True):
    count: int = 1
    on: bool = False


def test_scheme_that_is_not_known() -> None:
    with pytest.raises(SinkError, match=r"kafka://x.*jsonl:"):
        open_sink("kafka://x?password=secret")


@pytest.mark.parametrize("scheme", SINKS)
def test_check_without_opening(scheme: str, tmp_path: Path) -> None:
    check_address(f"{scheme}:{tmp_path / 'place'}")
    with pytest.raises(SinkError, match="colour"):
        check_address(f"{scheme}:{tmp_path / 'place'}?colour=red")
    assert not any(tmp_path.iterdir())


def test_check_reads_options_as_opening_does() -> None:
    check_address("sqlite:results.db?busy_s=1")
    for address in ("sqlite:results.db?busy_s=-1", "kafka://x", "results"):
        with pytest.raises(SinkError):
            check_address(address)


def test_no_scheme() -> None:
    with pytest.raises(SinkError, match="SCHEME:PLACE"):
        open_sink("results")


@pytest.mark.parametrize("address", ["images//me:secret@host", "me:secret@host?spool=x", "mqtt//me:secret@host/t"])
def test_an_address_without_a_scheme_shows_no_password(address: str) -> None:
    with pytest.raises(SinkError) as raised:
        open_sink(address)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("scheme", ["csv", "images", "jsonl", "sqlite"])
@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "a" * 5000])
def test_what_no_path_has(scheme: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="character"):
        open_sink(f"{scheme}:{tmp_path}/{name}")
    assert not any(tmp_path.iterdir())


MISSING = {
    "csv": "csv:{folder}/r.csv",
    "images": "images:{folder}/kept",
    "jsonl": "jsonl:{folder}/r.jsonl",
    "sqlite": "sqlite:{folder}/r.db",
    "mqtt": "mqtt://127.0.0.1:1/topic?spool={folder}/spool.db",
}


@pytest.mark.parametrize("form", MISSING.values(), ids=MISSING)
def test_a_folder_that_is_not_there_is_not_made(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "no such" / "disk"
    for use in (check_address, open_sink):
        with pytest.raises(SinkError) as raised:
            use(form.format(folder=folder))
        assert f"mkdir -p '{folder}'" in str(raised.value) or os.name == "nt"
    assert not any(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    file = tmp_path / "disk"
    file.touch()
    with pytest.raises(SinkError, match=re.escape(str(file))) as raised:
        check_address(f"csv:{file}/r.csv")
    assert "mkdir" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("jsonl:r.jsonl?keep=2", "rotate_mb"),
        ("csv:r.csv?keep=2", "rotate_mb"),
        ("images:kept?quality=80", "format=jpg"),
    ],
)
def test_an_option_without_the_one_that_it_is_for(address: str, named: str) -> None:
    with pytest.raises(SinkError, match=named):
        check_address(address)


def test_the_folder_of_pictures_is_made(tmp_path: Path) -> None:
    with open_sink(f"images:{tmp_path}/kept"):
        assert (tmp_path / "kept").is_dir()


def test_path_of_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    with open_sink(f"jsonl:{tmp_path}/a\udcffb.jsonl"):
        assert [path.name for path in tmp_path.iterdir()] == ["a\udcffb.jsonl"]


def test_a_number_that_is_no_text() -> None:
    with pytest.raises(SinkError, match="busy_s"):
        check_address("sqlite:results.db?busy_s=1\udcff")


@pytest.mark.parametrize("option", ["spool=a%00b", "spool_mb=inf", "spool_mb=1e300", "spool=x&client_id=%00"])
def test_options_that_nothing_can_be_made_of(option: str) -> None:
    with pytest.raises(SinkError, match=r"character|1e\+12"):
        check_address(f"mqtt://host/topic?{option}")


@pytest.mark.parametrize("topic", ["t\udcff", "a/+", "#"])
def test_topic_that_is_none(topic: str, tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt.client")
    with pytest.raises(SinkError, match="topic"):
        open_sink(f"mqtt://host/{topic}?spool={tmp_path}/s.db")


@pytest.mark.parametrize("scheme", ["csv", "jsonl", "sqlite"])
def test_no_file(scheme: str) -> None:
    with pytest.raises(SinkError, match=f"{scheme}:PATH"):
        open_sink(f"{scheme}:")


@pytest.mark.parametrize("query", ["x", "a=1&a=2"])
def test_malformed_options(query: str) -> None:
    with pytest.raises(SinkError, match=r"\?name=value|twice"):
        parse(f"jsonl:out?{query}")


def test_options_are_numbers_and_truths() -> None:
    assert parse("x:y?count=7&on=true").read_options(Some) == Some(count=7, on=True)
    with pytest.raises(SinkError, match=r"x:y.*count.*many.*: count, on"):
        parse("x:y?count=many").read_options(Some)


def test_path_with_a_drive() -> None:
    assert parse("jsonl:C:\\out.jsonl?sync_every=2").place == "C:\\out.jsonl"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("", ("127.0.0.1", 99)),
        ("//", ("127.0.0.1", 99)),
        ("//:7", ("127.0.0.1", 7)),
        ("//plc", ("plc", 99)),
        ("//[::1]:8/a/b", ("::1", 8)),
    ],
)
def test_host_and_port(place: str, expected: tuple[str, int]) -> None:
    assert parse(f"x:{place}").host_and_port(99) == expected


@pytest.mark.parametrize(
    "place", ["//plc:many", "//plc:99999", "plc", "//plc:0", "//a..b", f"//{'x' * 64}", "//\udcff"]
)
def test_host_and_port_that_are_none(place: str) -> None:
    with pytest.raises(SinkError, match="expected x://host:port"):
        parse(f"x:{place}").host_and_port(99)


@pytest.mark.parametrize("secret", ["hunter2", "hunter/2"])
def test_password_in_an_address(secret: str) -> None:
    with pytest.raises(SinkError, match="password_file") as caught:
        parse(f"mqtt://user:{secret}@broker/topic")
    assert "hunter" not in str(caught.value)
    with pytest.raises(SinkError, match="password_file") as caught:
        parse(f"a:://:{secret}@broker")  # a colon too many
    assert "hunter" not in str(caught.value)
    assert parse("mqtt://broker/topic@line").topic() == "topic@line"
    assert parse("jsonl:/data//me@home/results.jsonl").place == "/data//me@home/results.jsonl"


@pytest.mark.parametrize(
    "address",
    [
        "mqtt:line:s3cret@broker/line3?spool=s.db",
        "mqtt:/line:s3cret@broker/line3?spool=s.db",
        "mqtt:\\\\line:s3cret@broker/line3?spool=s.db",
        "mqtt://line:s3?cret@broker/line3?spool=s.db",
        "mqtt://line:s3/?cret@broker/line3?spool=s.db",
        "mqtt://line:s3?spool=cret@broker/line3?spool_rows=9",
        "mqtt://line:42/s3?cret@broker/line3",
        "mqtt://line:42?s3=cret@broker/line3?spool=s.db",
        "mqtt://line:42/s3cret@broker/line3/#?spool=s.db",
        "opcua:line:s3cret@broker:4840?idle=4",
        "opcua:line:s3cret@broker:4840?idle_s=many",
        "opcua:line:s3cret@broker:4840?idle",
        "opcua:line:s3cret@broker:4840?idle_s=4&idle_s=4",
        "opcua:line:s3cret@broker\0:4840",
        "mqtt//line:s3?cret@broker/line3",
        f"mqtt:l:s3cret@{'x' * 5000}",
    ],
)
def test_password_in_a_mistyped_address_is_not_shown(address: str) -> None:
    with pytest.raises(SinkError) as caught:
        open_sink(address)
    assert "s3" not in str(caught.value)
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("mqtt://broker/line3?username=me@factory", "mqtt://broker/line3"),
        ("mqtt://broker/line3@hall", "mqtt:***@hall"),
        ("opcua://broker:4840?username=me@factory", "opcua:***"),
        ("opcua://broker:4840?username=me%40factory", "opcua://broker:4840"),
        ("jsonl:/home/me@factory/out.jsonl?sync_every=2", "jsonl:***@factory/out.jsonl"),
    ],
)
def test_what_messages_carry_of_an_address(address: str, expected: str) -> None:
    assert str(parse(address)) == expected


def test_every_sink_opens_lazily() -> None:
    code = "import sys, partsight.runtime.sinks; print({'paho', 'asyncua', 'pymodbus', 'sqlite3'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
    assert set(SINKS) >= {"csv", "jsonl"}


def test_what_a_sink_is_called() -> None:
    """Its address, unless a password may be in it."""
    assert name_of("sqlite:r.db?busy_s=1") == "sqlite:r.db?busy_s=1"
    assert name_of("mqtt://admin:123/s3cret@broker/topic?spool=s.db") == "mqtt:***@broker/topic"
