import sys
from pathlib import Path
from types import ModuleType

import pytest

from partsight.runtime.core import DependencyError, SinkError, import_extra, load_plugin, plugin_names
from tests.plugins import install, site

GROUP = "partsight.test"
OPENS = "def open_address(address):\n    return address\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return site(tmp_path, monkeypatch)


def test_a_plugin_is_a_module_or_an_object(folder: Path) -> None:
    text = f"{OPENS}\nclass Other:\n    open_address = staticmethod(lambda address: address + address)\n"
    install(folder, "one", GROUP, {"b": "plugin_one", "a": "plugin_one:Other"}, {"plugin_one": text})
    assert plugin_names(GROUP) == ["a", "b"]
    assert "plugin_one" not in sys.modules
    module, other = load_plugin(GROUP, "b", (), SinkError), load_plugin(GROUP, "a", (), SinkError)
    assert isinstance(module, ModuleType)
    assert (module.open_address("x"), other.open_address("x")) == ("x", "xx")
    assert load_plugin(GROUP, "c", (), SinkError) is None


@pytest.mark.parametrize(
    ("value", "text", "datum"),
    [
        ("plugin_missing", OPENS, "plugin_missing"),
        ("plugin_two:Other", OPENS, "Other"),
        ("plugin_three", "1 / 0", "ZeroDivisionError"),
        ("plugin_four", "def", "SyntaxError"),
        ("plugin_five", "", "open_address"),
    ],
)
def test_plugins_that_do_not_work(folder: Path, value: str, text: str, datum: str) -> None:
    modules = {} if value == "plugin_missing" else {value.partition(":")[0]: text}
    install(folder, "broken", GROUP, {"x": value}, modules)
    with pytest.raises(SinkError, match=datum) as caught:
        load_plugin(GROUP, "x", (), SinkError)
    assert {"x", "broken"} <= set(str(caught.value).replace(":", " ").split())


def test_a_name_that_is_taken_twice(folder: Path) -> None:
    install(folder, "one", GROUP, {"x": "plugin_six", "y": "plugin_six"}, {"plugin_six": OPENS})
    install(folder, "two", GROUP, {"x": "plugin_six"})
    for name, built_in, datum in (("x", (), "one, two"), ("y", ("y",), "partsight, one")):
        with pytest.raises(SinkError, match=datum):
            load_plugin(GROUP, name, built_in, SinkError)


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(DependencyError, match=r"'partsight\[mqtt\]'"):
        import_extra("paho.mqtt.client", "mqtt")
