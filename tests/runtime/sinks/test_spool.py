import sqlite3
from pathlib import Path

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks.spool import Spool


def test_in_order_until_removed(tmp_path: Path) -> None:
    with Spool(tmp_path / "spool.db", 10, 100) as spool:
        rows = [spool.add(payload) for payload in (b"a", b"bc")]
        assert spool.after(0, 9) == list(zip(rows, (b"a", b"bc"), strict=True))
        spool.remove(rows[:1])
        assert (len(spool), spool.after(0, 9)) == (1, [(rows[1], b"bc")])


@pytest.mark.parametrize("payload", ["'text'", "7", "0.5"])
def test_what_is_no_result_is_not_given_out(tmp_path: Path, payload: str) -> None:
    """As a damaged page may show it, or another program wrote it: a broker would be sent a number."""
    path = tmp_path / "spool.db"
    with Spool(path, 10, 100) as spool:
        spool.add(b"a")
    with sqlite3.connect(path) as connection:
        connection.execute(f"INSERT INTO waiting (payload) VALUES ({payload})")
    connection.close()
    with Spool(path, 10, 100) as spool:
        with pytest.raises(SinkError, match=r"sqlite3's \.recover"):
            spool.after(0, 9)
        spool.remove([1, 2])
        assert len(spool) == 0
