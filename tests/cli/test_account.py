"""`partsight account`: the first admin, and help for a person who forgot the password."""

import getpass
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from partsight.runtime.page import Accounts, AuditLog, Database, Role
from partsight.runtime.page.access import passwords
from tests.cli.command import without
from tests.cli.conftest import Ended
from tests.processes import running
from tests.waiting import HANG_S

Call = Callable[..., Ended]
SECRET, OTHER = "a long secret", "another secret"


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "TIME_COST", 1)
    monkeypatch.setattr(passwords, "MEMORY_KIB", 8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    return written(tmp_path / "secret", SECRET + "\nnot this\n")


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    return path


def wait_for_prompt(process: "subprocess.Popen[str]") -> None:
    """Input before the prompt is lost: getpass drops it."""
    assert process.stderr
    prompt = ""
    while not prompt.endswith(": "):
        letter = process.stderr.read(1)
        assert letter, prompt
        prompt += letter


def test_the_first_admin(call: Call, data: Path, secret: Path) -> None:
    ended = call("account", "add", "Ada", "--role", "admin", "--data", data, "--password-file", secret)
    assert (ended.code, ended.err) == (0, "")
    assert SECRET not in ended.out
    database = Database(data)
    account = Accounts(database).check("ada", SECRET)
    assert account
    assert (account.name, account.role) == ("Ada", Role.ADMIN)
    (entry,) = AuditLog(database).entries()
    assert (entry.who, entry.action) == (f"command line ({getpass.getuser()})", "account_added")
    assert (entry.object, entry.after) == ("Ada", "admin")
    database.close()


def test_a_forgotten_password(call: Call, data: Path, secret: Path, tmp_path: Path) -> None:
    database = Database(data)
    accounts = Accounts(database)
    accounts.add("Ada", Role.ADMIN, SECRET)
    other = written(tmp_path / "other", f"\ufeff{OTHER}\r\n")
    ended = call("account", "password", "ADA", "--data", data, "--password-file", other)
    assert (ended.code, ended.err) == (0, "")
    assert accounts.check("ada", OTHER)
    assert accounts.revisions() == {"Ada": 2}  # the page ends the sessions of revision 1
    assert AuditLog(database).entries()[0].action == "account_password"
    database.close()


def test_an_inactive_account_gets_a_warning(call: Call, data: Path, secret: Path) -> None:
    database = Database(data)
    Accounts(database).add("olga", Role.OPERATOR, OTHER)
    Accounts(database).set_active("olga", False)
    database.close()
    ended = call("account", "password", "olga", "--data", data, "--password-file", secret)
    assert ended.code == 0
    assert ended.err.startswith("partsight: warning: ")


def test_the_list(call: Call, data: Path) -> None:
    database = Database(data)
    for name, role in (("olga", Role.OPERATOR), ("Ada", Role.ADMIN)):
        Accounts(database).add(name, role, SECRET)
    Accounts(database).set_active("olga", False)
    database.close()
    ended = call("account", "list", "--data", data)
    assert (ended.code, ended.err) == (0, "")
    assert [line.split("\t") for line in ended.out.splitlines()] == [
        ["Ada", "admin", "active"],
        ["olga", "operator", "inactive"],
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "ada", "--role", "admin"),
        ("add", "--role", "admin", "--data", "x"),
        ("add", "ada", "--data", "x"),
        ("add", "ada", "--data", "x", "--role", "root"),
        ("password", "--data", "x"),
        ("password", "ada", "--data", "x", "--role", "admin"),
        ("list", "ada", "--data", "x"),
        ("list", "--data", "x", "--password-file", "y"),
        ("remove", "ada", "--data", "x"),
        (),
    ],
)
def test_wrong_usage(call: Call, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = call("account", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "\n", "short", "x" * 201])
def test_an_impossible_password(call: Call, data: Path, tmp_path: Path, text: str) -> None:
    file = written(tmp_path / "file", text)
    ended = call("account", "add", "ada", "--role", "admin", "--data", data, "--password-file", file)
    assert (ended.code, ended.out) == (1, "")
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640])
@pytest.mark.skipif(os.name == "nt", reason="rights work differently")
def test_a_password_file_that_others_can_read(call: Call, data: Path, secret: Path, mode: int) -> None:
    secret.chmod(mode)
    ended = call("account", "add", "ada", "--role", "admin", "--data", data, "--password-file", secret)
    assert ended.code == 1
    assert f"chmod 600 {secret}" in ended.err


def test_a_password_file_that_is_no_text(call: Call, data: Path, secret: Path) -> None:
    secret.write_bytes(b"\xff\xfe\x00secret")
    assert call("account", "add", "ada", "--role", "admin", "--data", data, "--password-file", secret).code == 1


@pytest.mark.parametrize("action", ["list", "password"])
def test_a_folder_without_accounts(call: Call, data: Path, secret: Path, action: str) -> None:
    more = () if action == "list" else ("ada", "--password-file", secret)
    ended = call("account", action, *more, "--data", data)
    assert (ended.code, ended.out) == (1, "")
    assert not data.exists()  # it makes none


def test_an_account_that_is_or_is_not_there(call: Call, data: Path, secret: Path) -> None:
    add = ("account", "add", "ada", "--role", "operator", "--data", data, "--password-file", secret)
    assert call(*add).code == 0
    assert call(*add).code == 1
    ended = call("account", "password", "olga", "--data", data, "--password-file", secret)
    assert ended.code == 1
    assert "partsight account list" in ended.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("second", "code"), [(SECRET, 0), (OTHER, 1)])
def test_a_person_types_the_password_twice(data: Path, second: str, code: int) -> None:
    command = [sys.executable, "-m", "partsight.cli", "account", "add", "ada", "--role", "admin", "--data", str(data)]
    person, terminal = pty.openpty()
    streams = {"stdin": terminal, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with running(*command, **streams, start_new_session=True) as process:  # without a terminal of its own
        for text in (SECRET, second):
            wait_for_prompt(process)
            os.write(person, f"{text}\n".encode())
        out, err = process.communicate(timeout=HANG_S)
    os.close(person)
    os.close(terminal)
    assert process.returncode == code, err
    assert SECRET not in out + err
    database = Database(data)
    assert (Accounts(database).find("ada") is not None) is (code == 0)
    database.close()


def test_without_a_terminal_and_a_file(call: Call, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    ended = call("account", "add", "ada", "--role", "admin", "--data", data)
    assert ended.code == 2
    assert "--password-file" in ended.err


@pytest.mark.parametrize("library", ["argon2", "starlette", "uvicorn"])
def test_without_the_extra(data: Path, library: str) -> None:
    done = without(library, "account", "list", "--data", data)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'partsight[page]'" in done.stderr
    assert "Traceback" not in done.stderr
