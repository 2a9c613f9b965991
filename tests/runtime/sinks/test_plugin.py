"""Sinks of other distributions; docs/results.md has the contract."""

from pathlib import Path

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks import PLUGINS, check_address, check_line, open_sink
from tests.plugins import install, site
from tests.runtime.sinks.kinds import event

PRINTER = """
from partsight.runtime.core import SinkError
from partsight.runtime.sinks import Address, FrameEvent, Options


class PrintOptions(Options, frozen=True, kw_only=True):
    copies: int = 1

    def check_line(self, labels, cameras):
        return [f"{self.copies} of {len(labels)} labels"]


class PrintSink:
    def __init__(self, path, copies):
        self.path, self.copies = path, copies

    def write(self, event):
        with open(self.path, "ab") as file:
            file.write(self.copies * event.record.to_json())

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


OPTIONS = PrintOptions


def check_address(address):
    if not address.place:
        raise SinkError(f"sink {address}: names no file")


def open_address(address):
    check_address(address)
    return PrintSink(address.place, address.read_options(PrintOptions).copies)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return site(tmp_path, monkeypatch)


def test_a_sink_of_another_distribution(folder: Path, tmp_path: Path) -> None:
    install(folder, "printer", PLUGINS, {"print": "partsight_print"}, {"partsight_print": PRINTER})
    address = f"print:{tmp_path}/out?copies=2"
    check_address(address)
    assert check_line(address, ["a", "b"], ["left"]) == ["2 of 2 labels"]
    with open_sink(address) as sink:
        sink.write(event(7))
    assert (tmp_path / "out").read_bytes() == 2 * event(7).record.to_json()
    for wrong, datum in (("print:", "print:"), ("print:x?copies=many", "copies"), ("print:x?colour=red", "colour")):
        with pytest.raises(SinkError, match=datum):
            check_address(wrong)
    with pytest.raises(SinkError, match=r"sqlite:.* print:"):
        check_address("kafka://x")


@pytest.mark.parametrize("use", [open_sink, check_address])
def test_a_built_in_scheme_cannot_be_replaced(use: object, folder: Path, tmp_path: Path) -> None:
    install(folder, "printer", PLUGINS, {"csv": "partsight_print"}, {"partsight_print": PRINTER})
    assert callable(use)
    with pytest.raises(SinkError, match="printer"):
        use(f"csv:{tmp_path}/out.csv")


def test_options_of_another_kind(folder: Path) -> None:
    text = "OPTIONS = dict\ndef open_address(address):\n    raise AssertionError\n"
    install(folder, "odd", PLUGINS, {"odd": "partsight_odd"}, {"partsight_odd": text})
    with pytest.raises(SinkError, match="OPTIONS"):
        check_address("odd:x")
