from pathlib import Path

from partsight.runtime.sinks.password import read_password


def test_byte_order_mark_is_no_part_of_a_password(tmp_path: Path) -> None:
    """Editors on Windows begin a file with it."""
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_bytes("\ufeffhunter2-ä\r\n".encode())
    assert read_password("x", "line", str(file), "") == "hunter2-ä"
