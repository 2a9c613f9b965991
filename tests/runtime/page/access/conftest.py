"""A database of a page."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from partsight.runtime.page.access.accounts import Accounts
from partsight.runtime.page.access.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "data")
    yield database
    database.close()


@pytest.fixture
def accounts(database: Database) -> Accounts:
    return Accounts(database)
